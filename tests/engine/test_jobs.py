"""Jobs in containers: a worker is killed, workers are scaled, and restarted one after the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support import bakes, queues
from tests.support.queues import SERVICE, Asking

if TYPE_CHECKING:
    from tests.engine.conftest import MakeStack, Stack


@pytest.fixture
def asked(make_stack: MakeStack) -> tuple[Stack, Asking]:
    """Return a stack with a worker that is up."""
    made = make_stack(of=bakes.workers())
    queues.install(made)
    made.up()
    return made, Asking(made)


def test_no_job_is_lost_when_workers_are_killed_scaled_and_restarted(
    asked: tuple[Stack, Asking],
) -> None:
    stack, asking = asked
    # Without a limit it would be killed when it is full.
    assert asking.overview()["memory"]["limit_bytes"] > 0
    asking.submit(20, seconds=0.5)
    asking.submit(2, seconds=5)
    while not asking.running():
        time.sleep(0.1)
    before = asking.workers()
    (container,) = stack.containers(SERVICE)
    container.kill("SIGKILL")
    container.start()
    asking.await_workers(1, before)
    stack.inv("deploy.scale", f"{SERVICE}=2")
    asking.await_workers(2, before)
    asking.submit(20, seconds=1)
    for container in stack.containers(SERVICE):
        before = asking.workers()
        container.restart(timeout=30)
        asking.await_workers(1, before)
    (redis,) = stack.containers("redis")
    redis.restart(timeout=10)
    asking.submit(5, seconds=0.1)
    asking.await_end()
    assert {item["state"] for item in stack.status().values()} == {"healthy"}
    code, said = stack.containers(SERVICE)[0].exec_run(
        ["sh", "-c", "python -m $(ls src | head -n 1).jobs.healthy tests"]
    )
    assert (code, said.decode().strip()) == (0, "at no job")
