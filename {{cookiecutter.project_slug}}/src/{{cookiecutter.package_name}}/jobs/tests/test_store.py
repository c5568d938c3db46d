"""What is done with jobs, on a real server, by attempts that no worker makes."""

import json
import time

import pytest
from pydantic import SecretStr

from .. import store as module
from ..broker import Broker, lines
from ..store import Claim, Store, TakenError
from .kinds import NAMED, QUEUE

KIND = NAMED["work"]


def submit(store: Store, key: str = "", payload: str = "{}", **options: str) -> str:
    number, _ = store.submit(KIND, payload, key, **options)  # type: ignore[arg-type]  # a priority
    return number


def claim(store: Store, number: str, token: str = "mine") -> Claim:  # noqa: S107 - no password
    found = store.claim(number, token, "worker")
    assert found
    return found


def state(store: Store, number: str) -> str:
    told = store.get(number)
    assert told
    return told["state"]


def test_a_key_is_of_one_job(store: Store) -> None:
    first = submit(store, "report", '{"a": 1}')
    assert store.submit(KIND, '{"a": 1}', "report") == (first, False)
    with pytest.raises(TakenError):
        submit(store, "report", '{"a": 2}')
    assert store.submit(NAMED["stubborn"], '{"a": 2}', "report")[1]
    assert submit(store) != submit(store)
    assert store.load(QUEUE).waiting == {"high": 0, "normal": 4, "low": 0}


def test_a_message_is_as_dramatiq_writes_it(store: Store, variables: dict[str, str]) -> None:
    number = submit(store, priority="high")
    broker = Broker(SecretStr(variables["REDIS_URL"]), 1)
    broker.declare_queue(QUEUE)
    taken = next(broker.consume(QUEUE))
    assert taken is not None
    assert (taken.args, taken.kwargs, taken.queue_name) == ((number,), {}, QUEUE)
    assert broker.held == {f"{number}:1": lines(QUEUE)[0]}
    broker.close()


def test_one_attempt_holds_a_job(store: Store) -> None:
    number = submit(store)
    held = claim(store, number)
    assert (held.attempt, held.payload, held.kind) == (1, "{}", "work")
    assert store.claim(number, "other", "worker") is None
    assert claim(store, number) == held  # asked again because the answer was lost
    assert state(store, number) == "running"


def test_the_first_result_counts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEASE", 0.05)
    number = submit(store)
    slow = claim(store, number, "slow")
    time.sleep(0.1)
    assert store.sweep(QUEUE) == 1
    quick = claim(store, number, "quick")
    store.progress(slow, 0.9, "late")
    assert not store.finish(slow, "done", '{"by": "slow"}')
    assert not store.fail(slow, "late", 1, 1)
    assert not store.give_back(slow)
    assert store.finish(quick, "done", '{"by": "quick"}')
    assert not store.finish(slow, "done", '{"by": "slow"}')
    assert store.finish(quick, "done", '{"by": "quick"}')  # its answer was lost
    told = store.get(number)
    assert told
    assert (told["state"], json.loads(told["result"])) == ("done", {"by": "quick"})
    assert (told["losses"], told["said"]) == ("1", "")
    assert store.load(QUEUE).counts == {"done": 1, "lost": 1}


def test_nobody_is_given_up_until_those_who_live_are_heard(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE", 0.0)
    monkeypatch.setattr(module, "CALM", 0.3)
    submitted = submit(store)
    claim(store, submitted)
    store.beat("another", {}, [])
    assert store.sweep(QUEUE) == 0
    time.sleep(0.2)
    store.beat("another", {}, [])
    time.sleep(0.2)
    assert store.sweep(QUEUE) == 1


def test_a_result_and_its_key_expire(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 1)
    number = submit(store, "key")
    assert store.client.ttl(f"jobs:job:{number}") == -1
    store.finish(claim(store, number), "done", "{}")
    time.sleep(1.1)
    assert store.get(number) is None
    assert submit(store, "key") != number


def test_what_kills_its_workers_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEASE", 0.0)
    number = submit(store)
    for loss in range(module.LOSSES + 1):
        claim(store, number, str(loss))
        store.sweep(QUEUE)
    assert state(store, number) == "dead"
    [dead] = store.dead(QUEUE)
    assert dead["error"] == f"its worker was lost {module.LOSSES + 1} times"


def test_a_failure_waits_and_the_last_one_is_dead_until_it_is_queued_again(store: Store) -> None:
    number = submit(store, "key")
    assert store.fail(claim(store, number, "1"), "why", 0.2, 2)
    assert state(store, number) == "queued"
    assert store.claim(number, "early", "worker") is None
    assert (store.load(QUEUE).delayed, store.sweep(QUEUE)) == (1, 0)
    time.sleep(0.25)
    assert store.sweep(QUEUE) == 1
    assert store.fail(claim(store, number, "2"), "why", 0.2, 2)
    assert (state(store, number), store.load(QUEUE).dead) == ("dead", 1)
    assert not store.again(submit(store))
    assert store.again(number)
    assert not store.again(number)
    assert store.finish(claim(store, number, "3"), "done", "{}")
    assert (store.load(QUEUE).dead, store.dead(QUEUE)) == (0, [])


def test_what_is_given_back_is_next_and_was_not_tried(store: Store) -> None:
    first, _ = submit(store), submit(store)
    assert store.give_back(claim(store, first))
    newest = store.client.lindex(f"dramatiq:{lines(QUEUE)[1]}", 0)
    assert newest == f"{first}:2"
    assert claim(store, first, "again").attempt == 1


def test_cancelling_ends_what_waits_and_tells_what_runs(store: Store) -> None:
    waiting, running, delayed = submit(store), submit(store), submit(store)
    held = claim(store, running)
    store.fail(claim(store, delayed, "d"), "why", 60, 3)
    assert store.cancel(waiting) == store.cancel(delayed) == "cancelled"
    assert store.cancel("0" * 32) is None
    assert store.claim(waiting, "late", "worker") is None
    assert store.beat("worker", {}, [held]) == [""]
    assert store.cancel(running) == "running"
    assert store.beat("worker", {}, [held]) == ["cancelled"]
    assert store.finish(held, "cancelled")
    assert store.cancel(running) == "cancelled"
    load = store.load(QUEUE)
    assert (load.counts["cancelled"], load.running, load.delayed) == (3, 0, 0)


def test_what_was_cancelled_is_not_done_again(store: Store) -> None:
    failed, given = submit(store), submit(store)
    held = [claim(store, failed), claim(store, given, "b")]
    assert [store.cancel(failed), store.cancel(given)] == ["running", "running"]
    assert store.fail(held[0], "why", 60, 3)
    assert store.give_back(held[1])
    assert [store.cancel(failed), store.cancel(given)] == ["cancelled", "cancelled"]


def test_depth_and_age_are_of_what_waits(store: Store) -> None:
    assert store.load(QUEUE).oldest_seconds == 0
    old = submit(store, priority="low")
    time.sleep(0.3)
    submit(store, priority="high")
    load = store.load(QUEUE)
    assert load.waiting == {"high": 1, "normal": 0, "low": 1}
    assert 0.3 <= load.oldest_seconds < 5
    claim(store, old)
    load = store.load(QUEUE)
    assert (load.running, sum(load.waiting.values())) == (1, 1)
    assert load.oldest_seconds < 0.3


def test_a_worker_that_says_nothing_is_gone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.beat("worker", {"queue": QUEUE}, [])
    assert [*store.workers()] == ["worker"]
    monkeypatch.setattr(module, "GONE", 0.05)
    time.sleep(0.1)
    assert store.workers() == {}
    assert store.client.hlen("jobs:workers") == 0
