from __future__ import annotations

import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any

import pytest

from slipway.core.errors import Refused
from slipway.models import replicas as models_replicas
from slipway.models.replicas import AnswerCounts, ServingProcess
from slipway.stack.engines.base import Replica

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OLD, NEW = "tier1_v1.0_2026-11-22.onnx", "tier1_v1.1_2026-11-22.onnx"
HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""
API = Replica("api-1", "one")


def report(file: str = OLD, wanted: str = "", wrong: str = "", **more: object) -> dict[str, Any]:
    return {"tiers": {"tier1": {"file": file, "wanted": wanted or file, "wrong": wrong}}, **more}


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Let processes be alive by holding their locks in this one."""
    held: list[IO[str]] = []

    def make(name: str, said: dict[str, Any] | None) -> None:
        if not any(file.name.endswith(f"/{name}.lock") for file in held):
            held.append((tmp_path / f"{name}.lock").open("a"))
            fcntl.flock(held[-1], fcntl.LOCK_EX)
        if said is not None:
            (tmp_path / f"{name}.json").write_text(json.dumps(said))

    yield make
    for file in held:
        file.close()


def test_a_process_lives_as_long_as_it_holds_its_lock(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "one.7.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        (tmp_path / "one.7.json").write_text(json.dumps(report()))
        (found,) = models_replicas.serving_processes(tmp_path)
        assert (found.name, found.host, found.tier("tier1")["file"]) == ("one.7", "one", OLD)
        os.kill(process.pid, signal.SIGKILL)
    assert models_replicas.serving_processes(tmp_path) == []


def test_where_no_lock_is_seen_a_report_is_believed_while_it_is_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    times = {"new.7": now, "none.7": ""}
    times |= {"old.7": now - timedelta(seconds=60), "ahead.7": now + timedelta(seconds=60)}
    for name, at in times.items():
        (tmp_path / f"{name}.lock").touch()
        (tmp_path / f"{name}.json").write_text(json.dumps(report(at=str(at))))
    assert models_replicas.serving_processes(tmp_path) == []
    monkeypatch.setattr(models_replicas, "LOCKS_ARE_SEEN", False)
    assert [item.name for item in models_replicas.serving_processes(tmp_path)] == ["new.7"]


def test_a_process_that_has_not_reported_yet_is_awaited(
    tmp_path: Path, live: Callable[..., None]
) -> None:
    live("one.7", None)
    (found,) = models_replicas.serving_processes(tmp_path)
    assert models_replicas.lagging_processes([found], [API], "tier1", NEW) == {
        "api-1 (process 7)": ""
    }


def test_everyone_who_is_behind_is_named() -> None:
    live = [
        ServingProcess("one.7", report(NEW)),
        ServingProcess("one.8", report()),
        ServingProcess("two.7", report(OLD, NEW, "not a model")),
    ]
    replicas = [API, Replica("api-2", "two"), Replica("api-3", "three")]
    assert models_replicas.lagging_processes(live, replicas, "tier1", NEW) == {
        "api-3": "",
        "api-1 (process 8)": "",
        "api-2 (process 7)": "not a model",
    }
    assert models_replicas.lagging_processes(live[:1], replicas[:1], "tier1", NEW) == {}


def test_who_serves_other_tiers_only_is_not_waited_for(
    tmp_path: Path, live: Callable[..., None]
) -> None:
    (one, two) = (ServingProcess("one.7", report()), ServingProcess("one.8", {}))
    assert models_replicas.lagging_processes([one], [API], "policy", NEW) == {}
    assert models_replicas.lagging_processes([one, two], [API], "policy", NEW) == {
        "api-1 (process 8)": ""
    }
    assert models_replicas.lagging_processes([], [API], "policy", NEW) == {"api-1": ""}
    live("one.7", report())
    assert models_replicas.await_everywhere(tmp_path, lambda: [API], "policy", NEW, 10) == 0


def test_it_waits_until_all_have_come_to_it(tmp_path: Path, live: Callable[..., None]) -> None:
    live("one.7", report())
    later = threading.Timer(0.3, live, ["one.7", report(NEW)])
    later.start()
    assert models_replicas.await_everywhere(tmp_path, lambda: [API], "tier1", NEW, 10) == 1
    later.join()


def test_a_refusal_is_not_waited_out(tmp_path: Path, live: Callable[..., None]) -> None:
    live("one.7", report(OLD, NEW, "it is damaged"))
    start = time.monotonic()
    with pytest.raises(Refused, match=r"api-1 \(process 7\): it is damaged"):
        models_replicas.await_everywhere(tmp_path, lambda: [API], "tier1", NEW, 60)
    assert time.monotonic() - start < 30


def test_who_hangs_is_named_at_the_limit(tmp_path: Path, live: Callable[..., None]) -> None:
    live("one.7", report())
    with pytest.raises(Refused, match=r"not served within 0.2 s by api-1 \(process 7\)"):
        models_replicas.await_everywhere(tmp_path, lambda: [API], "tier1", NEW, 0.2)


def test_a_replica_that_stops_is_not_waited_for(
    tmp_path: Path, live: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models_replicas, "LOOK", 0.1)
    live("one.7", report())
    run = [[API, Replica("api-2", "two")], [API]]
    with pytest.raises(Refused, match="stopped in the meantime: api-2"):
        models_replicas.await_everywhere(tmp_path, lambda: run.pop(0), "tier1", NEW, 30)


def counted(requests: int, errors: int = 0, failures: int = 0) -> dict[str, Any]:
    buckets = [requests - 1, 0, 1]
    said = {"requests": requests, "errors": errors, "failures": failures, "buckets": buckets}
    return {"bounds": [0.1, 0.5], "answers": {NEW: said}}


def test_answers_are_added_up_and_taken_from_each_other() -> None:
    live = [
        ServingProcess("one.7", counted(10)),
        ServingProcess("one.8", counted(20, 1, 2)),
        ServingProcess("x.1", {}),
    ]
    total = models_replicas.count_answers(live, NEW)
    assert total == AnswerCounts(30, 1, 2, (28, 0, 2), (0.1, 0.5))
    assert total - models_replicas.count_answers(live[:1], NEW) == AnswerCounts(
        20, 1, 2, (19, 0, 1), (0.1, 0.5)
    )
    assert total - models_replicas.count_answers(live, OLD) == total


def test_p99_is_the_bound_that_99_of_100_kept() -> None:
    assert AnswerCounts(100, 0, 0, (98, 1, 1), (0.1, 0.5)).p99 == 0.5
    assert AnswerCounts(100, 0, 0, (99, 0, 1), (0.1, 0.5)).p99 == 0.1
    assert AnswerCounts(1, 0, 0, (0, 0, 1), (0.1, 0.5)).p99 == math.inf
    assert AnswerCounts(0, 0, 0, (), ()).p99 == 0.0
