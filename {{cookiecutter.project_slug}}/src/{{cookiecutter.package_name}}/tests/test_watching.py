"""The thread that watches, and pointers that other processes move."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from .. import reports, serving, watching
from ..answers import Answers
from ..problem import FEATURES
from ..reports import Report, Reporter
from ..serving import Models
from ..settings import ApiSettings
from ..watching import NICENESS, Watcher, beside
from .conftest import PACKAGE, TIER, another, point, served, wait_until


@pytest.fixture
def watcher(settings: ApiSettings) -> Iterator[Watcher]:
    made = Watcher(Models(settings), Answers(), Reporter(settings.serving_dir))
    made.start()
    yield made
    made.stop()


def report(watcher: Watcher) -> Report:
    found = reports.living(watcher.reporter.folder)[watcher.reporter.name]
    assert found
    return found


MOVING = """
import importlib, sys, time
from pathlib import Path
artifacts = importlib.import_module(sys.argv[1] + ".artifacts")
models, files, swaps = Path(sys.argv[2]), sys.argv[3:5], int(sys.argv[5])
described = [artifacts.read(models, file) for file in files]
for number in range(swaps):
    artifacts.point(models, described[number % 2])
    time.sleep(0.15)
artifacts.point(models, described[1])
"""


def test_what_another_process_makes_current_is_served_and_reported(
    settings: ApiSettings, watcher: Watcher
) -> None:
    """The link moves again and again; every forecast is of a model that is whole."""
    old, new = served(settings).file, another(settings).file
    command = [sys.executable, "-c", MOVING, PACKAGE.name, str(settings.models_dir), old, new]
    variables = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    seen, inputs = set(), np.zeros((1, len(FEATURES)), np.float32)
    with subprocess.Popen([*command, "20"], env=variables) as moving:
        while moving.poll() is None:
            model = watcher.models[TIER]
            assert model.predict(inputs)
            seen.add(model.file)
    assert moving.returncode == 0
    wait_until(lambda: report(watcher).tiers[TIER].file == new, "what is current is served")
    assert seen == {old, new}
    assert report(watcher).tiers[TIER].failures == 0


def test_a_change_is_reported_at_once_and_counts_after_a_while(
    settings: ApiSettings, watcher: Watcher
) -> None:
    file = served(settings).file
    watcher.answers.add(file, 0.1, 200)
    wait_until(lambda: file in report(watcher).answers, "it is counted")
    for _ in range(20):
        watcher.answers.add(file, 0.1, 200)
    wait_until(lambda: report(watcher).answers[file].requests == 21, "all are counted")
    point(settings, new := another(settings).file)
    wait_until(lambda: report(watcher).tiers[TIER].file == new, "the change is reported")


def test_counts_alone_are_written_at_most_twice_a_second(
    settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[float] = []
    monkeypatch.setattr(Reporter, "write", lambda *_: written.append(time.monotonic()))
    watcher = Watcher(Models(settings), Answers(), Reporter(settings.serving_dir))
    watcher.start()
    limit = time.monotonic() + 1.2
    while time.monotonic() < limit:
        watcher.answers.add("a", 0.1, 200)
        time.sleep(0.01)
    watcher.stop()
    assert 2 <= len(written) <= 4
    assert all(after - before >= 0.45 for before, after in pairwise(written[1:]))


def test_the_same_is_reported_again_after_a_while(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BEAT", 0.1)
    first = report(watcher).at
    wait_until(lambda: report(watcher).at > first, "a report of the same")


def test_a_load_comes_after_the_requests(settings: ApiSettings) -> None:
    """What loads has a thread of its own, and only that one is less urgent."""
    seen: list[int] = []

    def work() -> None:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    beside(work).result(10)  # type: ignore[arg-type]
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert seen == [max(own, NICENESS) if sys.platform == "linux" else own]
    assert own < NICENESS
    del settings


def test_a_load_that_fails_is_told_by_its_future() -> None:
    def broken() -> None:
        raise SystemExit(3)

    assert isinstance(beside(broken).exception(10), SystemExit)  # type: ignore[arg-type]


def test_a_load_that_never_ends_holds_up_neither_the_links_nor_the_end(
    settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "into", lambda *_: threading.Event().wait())
    watcher = Watcher(Models(settings), Answers(), Reporter(settings.serving_dir))
    watcher.start()
    old, new = served(settings).file, another(settings).file
    point(settings, new)
    wait_until(lambda: report(watcher).tiers[TIER].wanted == new, "the link is seen")
    monkeypatch.undo()
    monkeypatch.setattr(serving, "PATIENCE", 0)
    point(settings, old)
    wait_until(lambda: report(watcher).tiers[TIER].wanted == old, "the link is seen")
    point(settings, newer := another(settings).file)
    wait_until(lambda: report(watcher).tiers[TIER].file == newer, "another is loaded")
    started = time.monotonic()
    watcher.stop()
    assert time.monotonic() - started < 1


def test_whatever_goes_wrong_the_thread_goes_on(
    settings: ApiSettings,
    watcher: Watcher,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(Models, "look", broken)
        wait_until(lambda: "could not be read" in caplog.text, "it is logged")
    point(settings, new := another(settings).file)
    wait_until(lambda: watcher.models[TIER].file == new, "it goes on")


def test_a_folder_that_comes_back_is_reported_to_again(settings: ApiSettings) -> None:
    parent = settings.serving_dir.parent
    parent.write_text("in the way")
    watcher = Watcher(Models(settings), Answers(), Reporter(settings.serving_dir))
    watcher.start()
    try:
        point(settings, new := another(settings).file)
        wait_until(lambda: watcher.models[TIER].file == new, "it is served")
        parent.unlink()
        wait_until(lambda: reports.living(settings.serving_dir), "it is reported")
        wait_until(lambda: report(watcher).tiers[TIER].file == new, "it is reported")
    finally:
        watcher.stop()
    assert list(Path(settings.serving_dir).iterdir()) == []
