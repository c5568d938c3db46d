"""Promotions of a stack as on a server: three replicas of the API behind the proxy."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, ClassVar

import pytest

from tests.support import promotions
from tests.support.copies import lift_limits
from tests.support.promotions import TIER, Promotions, Stand, up_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.conftest import MakeStack, Stack

REPLICAS = 3


@pytest.fixture(scope="module")
def servers(make_stack: MakeStack) -> Iterator[Stack]:
    """Bring up a stack as on a server, whose API answers whoever asks as often as they like."""
    key = secrets.token_hex()
    made = make_stack(models=False, APP_ENV="staging", API_WORKERS=str(REPLICAS), API_KEY=key)
    lift_limits(made.root)
    with promotions.own_disk(made.root / "models"):
        try:
            made.add_models()
            made.up()
            yield made
        finally:
            made.inv("deploy.down")


@pytest.fixture(scope="module")
def stand(servers: Stack) -> Iterator[Stand]:
    """Ask the stack all the time."""
    with promotions.asked(servers) as found:
        yield found


class TestContainers(Promotions):
    """On a container engine."""

    processes: ClassVar[int] = REPLICAS
    patience: ClassVar[int] = 30

    @pytest.fixture(autouse=True)
    def no_trial_is_left(self, servers: Stack) -> Iterator[None]:
        """See each container that checked a version removed, soon even after a kill."""
        yield
        which = {"label": f"com.docker.compose.project={servers.name}", "name": "trial"}
        deadline = time.monotonic() + 30
        while servers.client.containers.list(all=True, filters=which, ignore_removed=True):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    @pytest.fixture(autouse=True)
    def _stack(self, servers: Stack) -> None:
        self.stack = servers

    def hanging(self, stand: Stand) -> tuple[str, str, str]:
        del stand
        container = self.stack.containers("api")[0]
        name = rf"{container.name} \(process \d+\)"
        return name, f"docker pause {container.id}", f"docker unpause {container.id}"

    def test_a_replica_that_starts_in_the_middle_serves_what_is_current_at_the_end(
        self, stand: Stand
    ) -> None:
        old, new = stand.served, stand.make()
        replica = self.stack.containers("api")[-1]
        replica.stop()
        with (
            stand.traffic.only(old, new),
            stand.start("models.promote", TIER, new, "--watch=5") as process,
        ):
            up_to(process, "5 metrics")
            replica.start()
            said, _ = process.communicate(timeout=60)
        assert (process.returncode, stand.served) == (0, new), said
        deadline = time.monotonic() + 30
        while (len(stand.processes()), stand.versions()) != (REPLICAS, {new}):
            assert time.monotonic() < deadline
            time.sleep(0.1)
