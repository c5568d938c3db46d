from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from slipway.core.errors import Refused
from slipway.core.project import Project
from slipway.harness import plan, report
from slipway.harness.plan import Plan
from slipway.harness.report import Case

PROJECT = Project(Path("/p"), "Weather", "weather", "weather_app")
PLAN = Plan(PROJECT, "staging", "20261122-063000", "ab12")
NAME = "weather-harness-20261122-063000-ab12"
FOUND = [
    Case("tests", "test_a", "passed", 1.5),
    Case("tests", "test_b", "skipped", 0.0, "no engine"),
    Case("verify", "disk", "failed", 0.1, "full\nof models"),
]


def test_everything_goes_by_the_plan_s_own_name() -> None:
    assert PLAN.name == NAME
    assert PLAN.image == f"localhost/weather-test:{NAME}"
    assert PLAN.tester == f"{NAME}-tests"
    assert PLAN.folder == Path(f"/p/run/harness/{NAME}")
    assert PLAN.reports == Path("/p/reports/harness-20261122-063000")
    assert PLAN.log == Path("/p/reports/container-test-harness-20261122-063000.log")


def test_two_plans_of_the_same_second_have_different_names() -> None:
    assert plan.plan(PROJECT, "prod").name != plan.plan(PROJECT, "prod").name


def test_commands() -> None:
    build = [
        "docker", "build", "--target", "test", "--tag", f"localhost/weather-test:{NAME}",
    ]  # fmt: skip
    assert plan.build_command(PLAN, {}) == [*build, "."]
    locked = {"python:3.13": "docker-image://python:3.13@sha256:1"}
    context = "--build-context=python:3.13=docker-image://python:3.13@sha256:1"
    assert plan.build_command(PLAN, locked) == [*build, context, "."]
    assert plan.tests_command(PLAN) == [
        "docker", "run", "--init", "--name", f"{NAME}-tests", f"localhost/weather-test:{NAME}",
        "python", "-m", "pytest", "-p", "no:cacheprovider", "--junit-xml=/tmp/tests.xml",
        "--numprocesses=auto", "--dist=loadfile",
        "--ignore-glob=tests/engine", "--ignore-glob=tests/test_first_run.py",
        "--ignore-glob=tests/test_*local.py", "src", "tests",
    ]  # fmt: skip
    assert plan.fetch_command(PLAN) == [
        "docker", "cp", f"{NAME}-tests:/tmp/tests.xml",
        "/p/reports/harness-20261122-063000/tests.xml",
    ]  # fmt: skip
    assert plan.verify_command(PLAN) == ["python", "-m", "weather_app.verify", "--json"]


def test_what_the_tests_leave_out_is_there_to_be_left_out() -> None:
    root = Path(__file__).parents[1]
    if not (root / "tests" / "scenarios.yaml").is_file():
        pytest.skip("these go with the API, as the scenarios do")
    for pattern in plan.ELSEWHERE:
        assert list(root.glob(pattern)), pattern


@pytest.mark.parametrize(
    ("only", "scenario", "parts"),
    [
        ("", "", ("tests", "verify", "scenarios")),
        ("verify", "", ("verify",)),
        ("", "a cache hit", ("scenarios",)),
    ],
)
def test_parts_are_chosen(only: str, scenario: str, parts: tuple[str, ...]) -> None:
    assert plan.chosen(only, scenario) == parts


def test_unknown_parts_and_profiles_are_refused() -> None:
    with pytest.raises(Refused, match="choose one of: tests, verify, scenarios"):
        plan.chosen("test", "")
    with pytest.raises(Refused, match="choose one of: staging, prod"):
        plan.plan(PROJECT, "dev")


def test_what_the_verification_prints_becomes_cases() -> None:
    said = {"ok": False, "checks": [{"name": "disk", "ok": False, "detail": "full", "seconds": 1}]}
    assert plan.verified(json.dumps(said)) == [Case("verify", "disk", "failed", 1, "full")]


def test_cases_are_read_from_a_junit_report() -> None:
    text = """<testsuites><testsuite>
      <testcase classname="tests.a" name="one" time="0.5"/>
      <testcase classname="tests.a" name="two"><failure message="1 == 2"/></testcase>
      <testcase classname="tests.a" name="three"><error message="no fixture"/></testcase>
      <testcase classname="tests.a" name="four"><skipped message="no engine"/></testcase>
    </testsuite></testsuites>"""
    assert report.from_junit(text, "tests") == [
        Case("tests", "tests.a::one", "passed", 0.5),
        Case("tests", "tests.a::two", "failed", 0.0, "1 == 2"),
        Case("tests", "tests.a::three", "failed", 0.0, "no fixture"),
        Case("tests", "tests.a::four", "skipped", 0.0, "no engine"),
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
    said = plan.summary(PLAN, FOUND, 12.34, "")
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
    found: list[Case], ended: str, ok: bool
) -> None:
    assert plan.summary(PLAN, found, 1.0, ended)["ok"] is ok


def test_a_part_of_which_nothing_ran_is_not_called_well() -> None:
    (row,) = report.totals([Case("tests", "a", "skipped")])
    assert row["outcome"] == "skipped"


def test_the_log_for_people_starts_with_what_matters() -> None:
    said = plan.summary(PLAN, FOUND, 12.34, "")
    text = plan.readable(said, FOUND, {"logs/api.log": "listening\n"})
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
    said = plan.summary(PLAN, FOUND, 12.34, "")
    assert plan.closing(PLAN, said)[-4:] == [
        "  verify: disk: full",
        "",
        "Read reports/container-test-harness-20261122-063000.log",
        "All of it: reports/harness-20261122-063000/",
    ]
    kept = plan.closing(replace(PLAN, keep=True), said)
    assert kept[-1] == f"  docker compose --project-name {NAME} down --volumes"
