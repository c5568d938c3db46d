"""No job is lost and none has two results, whatever is killed."""

import random
import time
from collections import Counter
from pathlib import Path

from ..store import FINAL, Store
from .conftest import Lasting, Start, lines
from .kinds import NAMED, Work

JOBS = 300
WORKERS = 3


def test_killed_workers_and_a_restart_of_redis_lose_nothing(
    start: Start, lasting: Lasting, tmp_path: Path
) -> None:
    """Workers are killed at random, about one a second; the server is restarted once."""
    store, chance = Store(lasting.url), random.Random(1)  # noqa: S311 - no secret
    ids = []
    for number in range(JOBS):
        kind = NAMED["hopeless" if number % 50 == 0 else "work"]
        asked = Work(
            seconds=chance.uniform(0, 0.1), failures=int(number % 20 == 1), file=tmp_path / "log"
        )
        ids.append(store.submit(kind, asked.model_dump_json(), f"key-{number}")[0])
    url = lasting.url.get_secret_value()
    workers = [start(threads=4, REDIS_URL=url) for _ in range(WORKERS)]
    time.sleep(3)
    for kill in range(5):
        place = chance.randrange(WORKERS)
        workers[place].kill()
        workers[place] = start(threads=4, REDIS_URL=url)
        if kill == 2:
            lasting.restart()
        time.sleep(chance.uniform(0.5, 1.5))
    limit = time.monotonic() + 40
    while (states := Counter(state(store, number) for number in ids)).keys() - FINAL:
        assert time.monotonic() < limit, states
        time.sleep(0.2)
    assert states["done"] + states["dead"] == JOBS
    assert states["dead"] >= JOBS // 50
    counts = store.load("tests").counts
    assert counts["done"] == states["done"]  # each was ended once
    assert counts["dead"] == states["dead"]
    assert [*store.workers()]
    print(states, counts, Counter(line.split()[0] for line in lines(tmp_path / "log")))
    store.close()


def state(store: Store, number: str) -> str:
    told = store.get(number)
    return told["state"] if told else "lost"
