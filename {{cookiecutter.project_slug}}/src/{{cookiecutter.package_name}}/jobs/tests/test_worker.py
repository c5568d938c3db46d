"""Workers, as processes: what they do with jobs, and what is left when they end or are killed."""

import json
import os
import time
from pathlib import Path

import pytest

from ...shared.tests.conftest import refused
from ...tests.conftest import module, wait_until
from .. import healthy
from ..store import Priority, Store
from ..worker import concurrency
from .conftest import Start, await_end, lines, terminate
from .kinds import NAMED, QUEUE, Work


def submit(store: Store, kind: str = "work", priority: Priority = "normal", **work: object) -> str:
    payload = Work.model_validate(work).model_dump_json()
    return store.submit(NAMED[kind], payload, "", priority)[0]


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
    done, dead, hopeless = await_end(store, good, bad, never)
    assert (done["state"], done["attempts"]) == ("done", "2")
    assert (dead["state"], dead["attempts"]) == ("dead", "3")
    assert dead["error"] == "RuntimeError: failure 3"
    assert (hopeless["state"], hopeless["attempts"]) == ("dead", "1")
    assert {one["id"] for one in store.dead(QUEUE)} == {bad, never}


def test_a_killed_workers_job_is_taken_up_again(store: Store, start: Start, tmp_path: Path) -> None:
    file = tmp_path / "log"
    workers = {str(one.pid): one for one in (start(), start())}
    number = submit(store, seconds=60, file=file)
    wait_until(lambda: lines(file), "it is begun")
    time.sleep(1)
    told = store.get(number)
    assert told
    workers[told["worker"].split(":")[1]].kill()
    killed = time.monotonic()
    wait_until(lambda: len(lines(file)) == 2, "it is begun again")
    assert time.monotonic() - killed > 4, "nobody takes a job while its worker may live"
    [told] = await_end(store, number)
    assert (told["state"], told["losses"], told["attempts"]) == ("done", "1", "2")


def test_a_priority_counts_across_a_backlog(store: Store, start: Start, tmp_path: Path) -> None:
    file = tmp_path / "log"
    ids = [
        submit(store, priority=priority, name=priority, file=file)
        for priority in ("low", "normal", "high")
        for _ in range(8)
    ]
    start(threads=1)
    await_end(store, *ids)
    order = [line.split()[1] for line in lines(file) if line.startswith("begun")]
    assert order == ["high"] * 8 + ["normal"] * 8 + ["low"] * 8


def test_an_urgent_job_is_the_next_one(store: Store, start: Start, tmp_path: Path) -> None:
    file = tmp_path / "log"
    ids = [submit(store, priority="low", name=f"low-{n}", file=file, seconds=0.2) for n in range(9)]
    start(threads=2)
    wait_until(lambda: lines(file), "the first is begun")
    ids.append(submit(store, priority="high", name="high", file=file))
    before = len([line for line in lines(file) if line.startswith("begun")])
    await_end(store, *ids)
    order = [line.split()[1] for line in lines(file) if line.startswith("begun")]
    assert order.index("high") <= before + 2, order


def test_what_takes_too_long_is_interrupted(store: Store, start: Start) -> None:
    start()
    [told] = await_end(store, submit(store, "short", seconds=30))
    assert (told["state"], told["error"]) == ("dead", "it took longer than 0.5 s")


def test_what_cannot_be_interrupted_ends_with_its_process(
    store: Store, start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "log"
    worker = start(threads=2)
    asleep = submit(store, "asleep", name="asleep", seconds=300, file=file)
    wait_until(lambda: lines(file), "it is begun")
    others = [submit(store, seconds=seconds, name="other") for seconds in (9, 0.1)]
    [dead, *done] = await_end(store, asleep, *others)
    assert (dead["state"], dead["error"]) == ("dead", "it took longer than 0.5 s")
    assert (dead["attempts"], dead["losses"]) == ("2", "")
    assert [(one["state"], one["attempts"]) for one in done] == [("done", "1")] * 2
    assert worker.poll() is None
    terminate(worker)


def test_a_worker_without_a_thread_is_unwell(tmp_path: Path) -> None:
    beat, job = tmp_path / "beat", {"id": "1", "kind": "work", "stuck": True}
    said = {"threads": 2, "jobs": [job, job | {"stuck": False}]}
    beat.write_text(json.dumps(said))
    assert healthy.look(beat)[0]
    beat.write_text(json.dumps(said | {"jobs": [job, job]}))
    well, what = healthy.look(beat)
    assert (well, what.startswith("no thread is left: none of work 1")) == (False, True)


def test_an_ending_worker_ends_its_jobs_and_takes_no_more(
    store: Store, start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "log"
    worker = start(threads=1)
    first, second = (submit(store, seconds=1, file=file, name=name) for name in "ab")
    wait_until(lambda: lines(file), "the first is begun")
    terminate(worker)
    states = [told["state"] for number in (first, second) if (told := store.get(number))]
    assert states == ["done", "queued"]
    assert store.workers() == {}
    assert not (tmp_path / "project" / "run" / "worker-tests" / "beat").exists()


def test_what_does_not_end_in_time_is_given_back(
    store: Store, start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "log"
    worker = start("--grace", "0.5")
    hears = submit(store, seconds=3, file=file, name="hears")
    deaf = submit(store, "stubborn", seconds=4.5, file=file, name="deaf")
    wait_until(lambda: len(lines(file)) == 2, "both are begun")
    terminate(worker)
    assert "stopped hears 1" in lines(file)
    for number in (hears, deaf):
        told = store.get(number)
        assert told
        assert (told["state"], told["attempts"]) == ("queued", "0")
    start()
    for told in await_end(store, hears, deaf):
        assert (told["state"], told["attempts"]) == ("done", "1")
    assert sorted(line for line in lines(file) if line.startswith("ended")) == [
        "ended deaf 1",
        "ended hears 1",
    ]


def test_a_worker_says_what_it_is_at(store: Store, start: Start, tmp_path: Path) -> None:
    start()
    number = submit(store, seconds=3)
    beat = tmp_path / "project" / "run" / "worker-tests" / "beat"
    wait_until(lambda: number in store_text(store), "the worker says so")
    wait_until(lambda: number in "".join(lines(beat)), "the file says so")
    assert healthy.look(beat) == (True, f"at work {number}")
    long_ago = time.time() - healthy.SILENT - 1
    old = tmp_path / "old"
    old.write_text(beat.read_text())
    os.utime(old, (long_ago, long_ago))
    well, what = healthy.look(old)
    assert not well
    assert "it was running work" in what
    assert not healthy.look(tmp_path / "none")[0]


def store_text(store: Store) -> str:
    return json.dumps(store.workers())


def test_a_queue_that_no_kind_goes_to_is_refused(variables: dict[str, str]) -> None:
    said = module("jobs.tests.working", "other", **variables)
    assert (said.returncode, said.stderr) == (
        1,
        "error: no kind of job uses the queue 'other'; the queues are: tests\n",
    )
    with pytest.MonkeyPatch.context() as patch:
        assert concurrency("tests") == 2
        for wrong in ("many", "0", "-1", "1001"):
            patch.setenv("TESTS_WORKER_CONCURRENCY", wrong)
            assert "should be 1 to 1000" in refused(lambda: concurrency("tests"))
