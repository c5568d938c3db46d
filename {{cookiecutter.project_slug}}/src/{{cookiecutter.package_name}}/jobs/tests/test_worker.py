"""Workers, as processes: what they do with jobs, and what is left when they end or are killed."""

import json
import time
from pathlib import Path

import pytest

from ...tests.conftest import wait_until
from ..kinds import Kind
from ..store import Store
from .conftest import Start, await_end, lines, project, terminate
from .kinds import NAMED, QUEUE, Work


def submit(store: Store, kind: str = "work", key: str = "", priority: str = "normal", **work: object) -> str:
    payload = Work(**work).model_dump_json()
    return store.submit(NAMED[kind], payload, key, priority)[0]


def test_a_job_is_done_and_its_result_kept(store: Store, start: Start) -> None:
    start()
    [told] = await_end(store, submit(store, name="a"))
    assert told["state"] == "done"
    assert json.loads(told["result"]) == {"name": "a", "attempt": 1}
    assert told["progress"] == "1"


def test_what_fails_is_tried_again_and_then_dead(store: Store, start: Start) -> None:
    start()
    good, bad, never = (
        submit(store, name="good", failures=1),
        submit(store, name="bad", failures=9),
        submit(store, "hopeless", name="never"),
    )
    done, dead, hopeless = await_end(store, good, bad, never, seconds=30)
    assert (done["state"], done["attempts"]) == ("done", "2")
    assert (dead["state"], dead["attempts"]) == ("dead", "3")
    assert dead["error"] == "RuntimeError: failure 3"
    assert (hopeless["state"], hopeless["attempts"]) == ("dead", "1")
    assert {one["id"] for one in store.dead(QUEUE)} == {bad, never}


def test_a_killed_workers_job_is_taken_up_again(store: Store, start: Start, tmp_path: Path) -> None:
    file = tmp_path / "log"
    first = start()
    number = submit(store, seconds=2, file=file)
    wait_until(lambda: lines(file), 10, "it is begun")
    time.sleep(0.5)
    first.kill()
    killed = time.monotonic()
    start()
    wait_until(lambda: len(lines(file)) == 2, 15, "it is begun again")
    took = time.monotonic() - killed
    assert 4 < took < 12, took
    [told] = await_end(store, number)
    assert (told["state"], told["losses"], told["attempts"]) == ("done", "1", "2")
    print("taken up after", took)
