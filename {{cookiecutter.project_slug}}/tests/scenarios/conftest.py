"""What the scenarios share. They need a stack, so that only `inv harness.run` runs them.

It provides three more fixtures (slipway/harness/scenarios.py):

client   a client of the stack, outside it: httpx.Client, each request on a connection of its own
stack    run() a command in a service's container; its services, variables, url and package
disturb  stop(), pause(), kill(), crash(), restart() or scale() a service, hide() files; undone at
         the end of the scenario or by undo_all()
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from slipway.harness.http import within

if TYPE_CHECKING:
    from slipway.harness.chaos import HarnessStack
    from slipway.harness.http import ScenarioClient

FLUSH = "REDISCLI_AUTH=$(cat $REDIS_PASSWORD_FILE) redis-cli flushall"


Predict = Callable[..., list[dict[str, Any]]]


def pytest_collection_modifyitems(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin("slipway-harness"):
        raise pytest.UsageError("scenarios need a stack; run: inv harness.run --only scenarios")


@pytest.fixture(autouse=True)
def healthy(stack: HarnessStack, client: ScenarioClient) -> None:
    """Wait for every service; start each scenario with an empty cache and no request counted."""
    stack.await_health()
    assert "OK" in stack.run("redis", "sh", "-c", FLUSH)
    for attempt in within(15):
        with attempt:
            for _ in range(4):
                answer = client.get("/health")
                assert answer.status_code == 200
                assert answer.json()["status"] == "ok"


@pytest.fixture
def predict(client: ScenarioClient) -> Predict:
    """Return what asks for forecasts, each of which has to be answered with a status."""

    def ask(status: int = 200, *, times: int = 1) -> list[dict[str, Any]]:
        answers = [client.post("/predict", json={}) for _ in range(times)]
        assert [answer.status_code for answer in answers] == [status] * times
        return [answer.json() for answer in answers]

    return ask
