from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from invoke.exceptions import Exit

from slipway.core import journal, transaction
from slipway.core.errors import Refused
from slipway.core.transaction import change
from tests.support.scratch import IN_PLACE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KILLED = """
import os, signal, sys
from pathlib import Path
from slipway.core.transaction import change
with change(Path(sys.argv[1]), "models.promote", tier="tier1") as made:
    made.note(step="watch")
    if sys.argv[2] == "committed":
        made.commit()
    os.kill(os.getpid(), signal.SIGKILL)
"""
STEADY = """
import os, signal, sys
from pathlib import Path
from slipway.core import transaction
def handlers():
    return [signal.getsignal(number) for number in transaction.ENDING]
before = handlers()
with transaction.change(Path(sys.argv[1]), "deploy.up"):
    os.kill(os.getpid(), signal.SIGHUP)
    print("steady")
    with transaction.uninterrupted():
        for number in transaction.ENDING:
            os.kill(os.getpid(), number)
    print("put back")
assert handlers() == before
"""
WAITING = """
import sys, time
from pathlib import Path
from slipway.core.transaction import change
with change(Path(sys.argv[1]), "data.collect"):
    print("in it", flush=True)
    time.sleep(60)
"""


def run(script: str, *arguments: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, "-c", script, *arguments],
        env=IN_PLACE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def failing(root: Path, error: BaseException) -> None:
    with change(root, "models.train", tier="tier1") as made:
        made.note(trained=["v1.1"])
        raise error


def committing(root: Path) -> None:
    with change(root, "models.promote") as made:
        made.commit(to="v1.1")
        raise Refused("too late")


def outcomes(root: Path) -> list[object]:
    return [entry["outcome"] for entry in journal.entries(root)]


@pytest.mark.parametrize(
    ("error", "raised", "outcome"),
    [
        (KeyboardInterrupt(), Exit, "interrupted"),
        (ValueError(), ValueError, "failed"),
        (Refused("no\nmore"), Refused, "failed"),
        (OSError(28, "No space left on device", "models/x"), Refused, "failed"),
    ],
)
def test_how_a_change_ended_is_recorded(
    tmp_path: Path, error: BaseException, raised: type[BaseException], outcome: str
) -> None:
    with pytest.raises(raised):
        failing(tmp_path, error)
    (entry,) = journal.entries(tmp_path)
    assert (entry["outcome"], entry["tier"], entry["trained"]) == (outcome, "tier1", ["v1.1"])
    assert transaction.killed_change(tmp_path) is None


def test_what_is_committed_is_done_whatever_comes_after(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        committing(tmp_path)
    (entry,) = journal.entries(tmp_path)
    assert (entry["outcome"], entry["to"]) == ("done", "v1.1")


def test_a_killed_change_is_known_and_recorded_by_the_next(tmp_path: Path) -> None:
    process = run(KILLED, str(tmp_path), "")
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert journal.entries(tmp_path) == []
    left = transaction.killed_change(tmp_path)
    assert left
    assert (left["verb"], left["tier"], left["step"]) == ("models.promote", "tier1", "watch")
    with change(tmp_path, "models.rollback"):
        assert transaction.killed_change(tmp_path) is None
    assert outcomes(tmp_path) == ["killed", "done"]
    assert transaction.killed_change(tmp_path) is None


def test_a_change_killed_after_it_was_committed_is_done(tmp_path: Path) -> None:
    run(KILLED, str(tmp_path), "committed").communicate(timeout=30)
    assert transaction.killed_change(tmp_path) is None
    with change(tmp_path, "models.rollback"):
        pass
    assert outcomes(tmp_path) == ["done", "done"]


def test_the_second_of_two_is_refused_and_told_who_is_at_it(tmp_path: Path) -> None:
    process = run(WAITING, str(tmp_path))
    assert process.stdout
    process.stdout.readline()
    try:
        with pytest.raises(Refused) as refused, change(tmp_path, "models.promote"):
            pytest.fail("both were let in")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    said = rf"data\.collect of \S+@\S+ \(process {process.pid}\) is under way for \d s"
    assert re.match(said, refused.value.what)
    assert refused.value.what.endswith(": no models.promote at the same time")
    assert outcomes(tmp_path) == ["interrupted"]


def test_nothing_is_begun_where_it_cannot_be_noted(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "change.json").mkdir()
    begun = []
    with pytest.raises(Refused, match="Is a directory"), change(tmp_path, "models.promote"):
        begun.append(True)
    assert not begun


def test_a_request_to_end_is_an_interruption(tmp_path: Path) -> None:
    with pytest.raises(Exit) as ended, change(tmp_path, "deploy.up"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == 130
    assert json.loads((tmp_path / "journal.jsonl").read_text())["outcome"] == "interrupted"


def test_the_end_of_the_terminal_is_an_interruption(tmp_path: Path) -> None:
    process = run(STEADY, str(tmp_path))
    said, errors = process.communicate(timeout=30)
    assert (said, errors.splitlines()[-1]) == ("", "invoke.exceptions.Exit: ('interrupted', 130)")
    assert outcomes(tmp_path) == ["interrupted"]


def test_under_nohup_the_end_of_the_terminal_changes_nothing(tmp_path: Path) -> None:
    process = run(STEADY, str(tmp_path), before=["nohup"])
    said, errors = process.communicate(timeout=30)
    assert (said, process.returncode) == ("steady\nput back\n", 0), errors
    assert outcomes(tmp_path) == ["done"]


def test_observers_are_called_after_each_change_and_cannot_spoil_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "_observers", [])
    called = []

    @transaction.on_change
    def count(root: Path) -> None:
        called.append((root, len(outcomes(root))))
        raise OSError("the disk is full")

    with change(tmp_path, "models.promote"):
        assert called == []
    with pytest.raises(Refused):
        failing(tmp_path, Refused("no"))
    assert called == [(tmp_path, 1), (tmp_path, 2)]
    assert outcomes(tmp_path) == ["done", "failed"]


def test_handlers_that_others_install_are_replaced_by_those_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with transaction.kept_handlers():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) == before


def test_all_ways_of_being_told_to_end_do_the_same() -> None:
    before = signal.getsignal(signal.SIGTERM)
    for number in transaction.ENDING:
        with pytest.raises(KeyboardInterrupt), transaction.interruptible():
            signal.raise_signal(number)
    with transaction.uninterrupted():
        for number in transaction.ENDING:
            signal.raise_signal(number)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    "said",
    [
        "[" * 100_000,
        "[1]",
        "{}",
        '{"verb": "x", "owner": "me", "since": "yesterday"}',
        '{"verb": "x", "owner": "me", "since": "2026-11-01"}',
    ],
)
def test_notes_of_a_change_that_cannot_be_read_are_none(tmp_path: Path, said: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "change.json").write_text(said)
    assert transaction.noted_change(tmp_path) is None
    with transaction.change(tmp_path, "test"):
        pass
    assert [entry["verb"] for entry in journal.entries(tmp_path)] == ["test"]
