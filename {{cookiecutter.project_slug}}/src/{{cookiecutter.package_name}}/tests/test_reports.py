"""Reports of processes, and of processes that are no more."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .. import reports
from ..answers import BOUNDS, Answers
from ..problem import TIERS
from ..reports import Lag, Report, Reporter, TierReport
from ..serving import Models
from ..settings import ApiSettings
from .conftest import PACKAGE, TIER, served


def reporter(settings: ApiSettings) -> Reporter:
    """Return one that has reported what it serves."""
    made, models = Reporter(settings.serving_dir), Models(settings)
    assert made.write(made.report(models, Answers()))
    return made


def names(settings: ApiSettings) -> set[str]:
    return {path.name for path in settings.serving_dir.iterdir()}


def test_a_report_says_what_is_served(settings: ApiSettings) -> None:
    made = reporter(settings)
    said = json.loads((settings.serving_dir / f"{made.name}.json").read_text())
    metadata = served(settings)
    assert said.keys() == Report.model_fields.keys()
    assert (said["host"], said["pid"]) == (made.host, os.getpid())
    assert said["started_at"] <= said["at"]
    assert said["bounds"] == list(BOUNDS)
    assert said["tiers"].keys() == TIERS.keys()
    tier = said["tiers"][TIER]
    assert tier.pop("loaded_at") >= said["started_at"]
    assert 0 < tier.pop("load_seconds") < 10
    assert tier == {
        "file": metadata.file,
        "version": metadata.version,
        "sha256": metadata.sha256,
        "wanted": metadata.file,
        "wrong": "",
        "failures": 0,
    }
    made.close()


def test_a_tier_that_is_not_served_says_why(settings: ApiSettings) -> None:
    (settings.models_dir / f"{TIER}_current.onnx").unlink()
    made = reporter(settings)
    said = reports.living(settings.serving_dir)[made.name]
    assert said
    assert (said.tiers[TIER].file, said.tiers[TIER].loaded_at) == ("", None)
    assert "train one" in said.tiers[TIER].wrong
    made.close()


def test_who_ends_leaves_nothing(settings: ApiSettings) -> None:
    made = reporter(settings)
    assert names(settings) == {f"{made.name}.lock", f"{made.name}.json"}
    made.close()
    assert names(settings) == set()


DYING = """
import importlib, os, signal, sys
reports = importlib.import_module(sys.argv[1] + ".reports")
from pathlib import Path
reporter = reports.Reporter(Path(sys.argv[2]))
reporter.lock.with_suffix(".json").write_text("{}")
reporter.lock.with_name("." + reporter.name + ".json").write_text("half")
print(reporter.name, flush=True)
signal.pause()
"""


@contextmanager
def process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a process that lives, and says nothing that could be read."""
    command = [sys.executable, "-c", DYING, PACKAGE.name, str(folder)]
    variables = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as made:
        try:
            assert made.stdout
            yield made, made.stdout.readline().strip()
        finally:
            made.kill()


def test_what_a_killed_process_left_is_removed(settings: ApiSettings) -> None:
    own = reporter(settings)
    with process(settings.serving_dir) as (other, name):
        assert reports.living(settings.serving_dir).keys() == {own.name, name}
        assert reports.living(settings.serving_dir)[name] is None
        other.send_signal(signal.SIGKILL)
        other.wait(10)
        assert reports.living(settings.serving_dir).keys() == {own.name}
    assert names(settings) == {f"{own.name}.lock", f"{own.name}.json"}
    own.close()


def test_a_name_that_a_dead_process_had_is_taken_over(tmp_path: Path) -> None:
    """A container that is started again has the same name and often the same number."""
    folder = tmp_path / "reports"
    made = Reporter(folder)
    made.close()
    made.lock.touch()
    made.lock.with_suffix(".json").write_text("{}")
    again = Reporter(folder)
    assert not again.wrong
    assert reports.living(folder) == {again.name: None}
    again.close()


def test_a_lock_that_another_holds_is_said_and_taken_later(
    settings: ApiSettings, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Reporter(settings.serving_dir), Reporter(settings.serving_dir)
    assert "cannot be reported" in second.wrong
    models = Models(settings)
    assert not second.write(second.report(models, Answers()))
    assert not (settings.serving_dir / f"{second.name}.json").exists()
    first.close()
    assert second.write(second.report(models, Answers()))
    assert len([one for one in caplog.messages if "cannot be reported" in one]) == 1
    second.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into every folder")
def test_a_folder_that_may_not_be_written_is_said(settings: ApiSettings) -> None:
    settings.serving_dir.mkdir(parents=True, mode=0o500)
    made = Reporter(settings.serving_dir)
    assert "Permission denied" in made.wrong


def test_a_touch_is_newer_than_the_one_before(tmp_path: Path) -> None:
    folder, seen = tmp_path / "reports", set()
    for _ in range(20):
        reports.touch(folder)
        seen.add((folder / "reload").stat().st_mtime_ns)
    assert len(seen) == 20
    assert [path.name for path in folder.iterdir()] == ["reload"]


def test_looking_and_starting_beside_each_other_loses_nobody(tmp_path: Path) -> None:
    """Others look, and remove what is dead, all the while one starts and ends again."""
    folder = tmp_path / "reports"
    looking = """
import importlib, sys
from pathlib import Path
reports = importlib.import_module(sys.argv[1] + ".reports")
print("looks", flush=True)
while not Path(sys.argv[2], "stop").exists():
    reports.living(Path(sys.argv[2]))
"""
    command = [sys.executable, "-c", looking, PACKAGE.name, str(folder)]
    variables = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    others = [
        subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for other in others:
        assert other.stdout
        other.stdout.readline()
    try:
        for _ in range(200):
            made = Reporter(folder)
            assert not made.wrong
            assert made.lock.exists()
            assert made.name in reports.living(folder)
            if made._lock is not None:  # noqa: SLF001 - as the kernel does for who is killed
                os.close(made._lock)  # noqa: SLF001
    finally:
        (folder / "stop").touch()
        for other in others:
            assert other.wait(10) == 0
            other.communicate()


def said(**changes: object) -> Report:
    tier = TierReport.model_validate(
        {
            "file": "a",
            "version": "v1.0",
            "sha256": "",
            "loaded_at": None,
            "load_seconds": 0,
            "wanted": "a",
            "wrong": "",
            "failures": 0,
            **changes,
        }
    )
    return Report.model_validate(
        {
            "host": "h",
            "pid": 7,
            "at": "2026-11-22T08:00:00Z",
            "started_at": "2026-11-22T08:00:00Z",
            "available_bytes": None,
            "touched": 5,
            "tiers": {"t": tier},
            "bounds": [],
            "answers": {},
        }
    )


@pytest.mark.parametrize(
    ("report", "file", "touched", "expected"),
    [
        (said(), "a", 5, []),
        (None, "a", 5, [Lag("process h.7 has not checked yet", waits=True)]),
        (said(), "a", 6, [Lag("process h.7 has not checked yet", waits=True)]),
        (said(), "b", 5, [Lag("process h.7 is still loading b", waits=True)]),
        (said(wanted="b"), "b", 5, [Lag("process h.7 is still loading b", waits=True)]),
        (
            said(wanted="b", wrong="why"),
            "b",
            5,
            [Lag("process h.7 serves a: why", waits=False)],
        ),
        (
            said(file="", wanted="", wrong="why"),
            "",
            5,
            [Lag("process h.7 serves nothing: why", waits=False)],
        ),
        (said(wanted="b", wrong="why"), "a", 5, []),
    ],
)
def test_what_a_process_lacks(
    report: Report | None, file: str, touched: int, expected: list[Lag]
) -> None:
    assert reports.lags("h.7", report, {"t": file}, touched) == expected
