from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from slipway.harness import report
from slipway.harness.report import HarnessCase
from tests.harness.test_plan import NAME, PLAN

FOUND = [
    HarnessCase("tests", "test_a", "passed", 1.5),
    HarnessCase("tests", "test_b", "skipped", 0.0, "no engine"),
    HarnessCase("verify", "disk", "failed", 0.1, "full\nof models"),
]


def test_cases_are_read_from_a_junit_report() -> None:
    text = """<testsuites><testsuite>
      <testcase classname="tests.a" name="one" time="0.5"/>
      <testcase classname="tests.a" name="two"><failure message="1 == 2"/></testcase>
      <testcase classname="tests.a" name="three"><error message="no fixture"/></testcase>
      <testcase classname="tests.a" name="four"><skipped message="no engine"/></testcase>
    </testsuite></testsuites>"""
    assert report.from_junit(text, "tests") == [
        HarnessCase("tests", "tests.a::one", "passed", 0.5),
        HarnessCase("tests", "tests.a::two", "failed", 0.0, "1 == 2"),
        HarnessCase("tests", "tests.a::three", "failed", 0.0, "no fixture"),
        HarnessCase("tests", "tests.a::four", "skipped", 0.0, "no engine"),
    ]


def test_cases_are_written_as_a_junit_report() -> None:
    root = ET.fromstring(report.junit("verify", FOUND))  # noqa: S314 - written above
    (suite,) = root
    assert suite.attrib == {
        "name": "verify", "time": "1.600", "tests": "3", "failures": "1", "skipped": "1",
    }  # fmt: skip
    assert [[child.tag for child in case] for case in suite] == [[], ["skipped"], ["failure"]]
    assert suite[2][0].get("message") == "full\nof models"


def test_the_summary_counts_and_keeps_every_case() -> None:
    said = report.summary(PLAN, FOUND, 12.34, "")
    assert said["cases"][2]["detail"] == "full\nof models"
    assert {key: value for key, value in said.items() if key != "cases"} == {
        "ok": False,
        "ended": "complete",
        "project": "weather",
        "profile": "staging",
        "started": "20261122-063000",
        "seconds": 12.3,
        "failed": 1,
        "parts": [
            {"part": "tests", "outcome": "ok", "passed": 1, "failed": 0, "skipped": 1},
            {"part": "verify", "outcome": "failed", "passed": 0, "failed": 1, "skipped": 0},
        ],
    }


@pytest.mark.parametrize(
    ("found", "ended", "ok"),
    [(FOUND[:2], "", True), (FOUND, "", False), (FOUND[:2], "interrupted", False), ([], "", False)],
)
def test_it_is_well_when_all_ran_and_nothing_failed(
    found: list[HarnessCase], ended: str, ok: bool
) -> None:
    assert report.summary(PLAN, found, 1.0, ended)["ok"] is ok


def test_a_part_of_which_nothing_ran_is_not_called_well() -> None:
    (row,) = report.totals([HarnessCase("tests", "a", "skipped")])
    assert row["outcome"] == "skipped"


def test_the_log_for_people_starts_with_what_matters() -> None:
    said = report.summary(PLAN, FOUND, 12.34, "")
    text = report.readable(said, FOUND, {"logs/api.log": "listening\n"})
    assert text.splitlines() == [
        "Container test harness 20261122-063000: weather, profile staging",
        "FAILED after 12.3 s (complete)",
        "",
        "PART    OUTCOME  PASSED  FAILED  SKIPPED",
        "tests   ok       1       0       1",
        "verify  failed   0       1       0",
        "",
        "== failed: 1",
        "verify: disk (0.1 s) full",
        "of models",
        "",
        "== skipped: 1",
        "tests: test_b (0.0 s) no engine",
        "",
        "== passed: 1",
        "tests: test_a (1.5 s)",
        "",
        "== logs/api.log",
        "listening",
    ]


def test_the_last_lines_say_what_failed_and_where_more_is() -> None:
    said = report.summary(PLAN, FOUND, 12.34, "")
    assert report.closing(PLAN, said)[-4:] == [
        "  verify: disk: full",
        "",
        "Read reports/container-test-harness-20261122-063000.log",
        "All reports and logs: reports/harness-20261122-063000/",
    ]
    kept = report.closing(replace(PLAN, keep=True), said)
    assert kept[-1] == f"  docker compose --project-name {NAME} down --volumes"
