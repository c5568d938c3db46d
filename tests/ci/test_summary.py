"""The summary at the end of `nox -s ci`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.ci import summary
from slipway.ci.summary import SessionResult

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NOXFILE = """
import nox

@nox.session
def good(session):
    session.install("a package that is nowhere")
    session.run("only-there", *session.posargs)

@nox.session(python=False)
def bad(session):
    session.error("it is broken")
"""
REPORT = """<testsuites><testsuite>
<testcase name="a"><skipped message="no engine"/></testcase>
<testcase name="b"><skipped message="no engine"/></testcase>
<testcase name="c"><skipped message="no browser"/></testcase>
<testcase name="d"/>
</testsuite></testsuites>"""


def test_a_session_that_fails_is_named_and_hides_no_other(tmp_path: Path) -> None:
    noxfile, installed = tmp_path / "noxfile.py", tmp_path / "only-there"
    noxfile.write_text(NOXFILE)
    installed.write_text('#!/bin/sh\ntest "$1" = told\n')
    installed.chmod(0o755)
    paths = [str(tmp_path)]
    rows = [summary.run_session(noxfile, name, paths, "told") for name in ("bad", "good")]
    assert [(row.name, row.outcome) for row in rows] == [("bad", "failed"), ("good", "ok")]
    assert all(row.seconds.endswith(" s") for row in rows)
    assert summary.failed_names(rows) == ["bad"]


def test_skipped_tests_are_counted_by_reason(tmp_path: Path) -> None:
    report = tmp_path / "tests.xml"
    assert summary.skipped_tests(report) == []
    report.write_text(REPORT)
    assert summary.skipped_tests(report) == [
        summary.left_out("2 of tests", "no engine"),
        summary.left_out("1 of tests", "no browser"),
    ]


def test_results_stand_in_columns() -> None:
    rows = [SessionResult("lint", "ok", "12 s"), summary.left_out("harness", "no engine")]
    assert summary.format_results(rows).splitlines() == [
        "  lint     ok        12 s",
        "  harness  left out        no engine",
    ]


def test_a_required_engine_is_never_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("REQUIRE_ENGINE", raising=False)
    assert "docker info" in summary.missing_engine()
    monkeypatch.setenv("REQUIRE_ENGINE", "1")
    assert summary.missing_engine() == ""
