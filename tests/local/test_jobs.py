"""Jobs in a stack of processes: workers are killed and restarted, and Redis too."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from slipway.stack import processes
from tests.support import bakes, queues
from tests.support.copies import Copy
from tests.support.queues import Asking

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psutil


@pytest.fixture
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """Bring up a copy of the repository with a worker, and end it whatever happens."""
    copy = Copy(
        tmp_path_factory.mktemp("jobs") / "repository",
        of=bakes.workers(),
        models=True,
        SLIPWAY_ENGINE="local",
    )
    queues.install(copy)
    try:
        copy.inv("deploy.up")
        yield Asking(copy)
    finally:
        copy.inv("deploy.down")


def process(copy: Copy, words: str) -> psutil.Process:
    """Return the process of a service."""
    (found,) = [
        one for one in processes.marked_processes(copy.root) if words in " ".join(one.cmdline())
    ]
    return found


def test_no_job_is_lost_when_processes_are_killed_and_started_anew(asking: Asking) -> None:
    copy = asking.copy
    assert copy.status()[queues.SERVICE]["state"] == "healthy"
    asking.submit(10, seconds=0.5)
    asking.submit(1, seconds=4)
    while not asking.running():
        time.sleep(0.1)
    before = asking.workers()
    process(copy, "jobs.worker tests").kill()  # supervisord starts another
    asking.await_workers(1, before)
    asking.submit(10, seconds=0.2)
    process(copy, "valkey-server").kill()
    asking.submit(5, seconds=0.2)
    process(copy, "jobs.worker tests").terminate()
    asking.await_end()
    asking.submit(5, seconds=1)
    copy.inv("deploy.down")
    copy.inv("deploy.up")
    asking.await_end()
