"""What the container engine says of containers, put into words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from slipway.stack.engines.containers import SERVICE, StackContainers, container_state
from slipway.stack.engines.progress import HealthWatch, service_status, service_url

SERVICES: dict[str, dict[str, Any]] = {
    "migrate": {},
    "web": {"depends_on": {"migrate": {"condition": "service_completed_successfully"}}},
}


@dataclass
class Shown:
    """A container, as the SDK of the container engine shows it."""

    service: str
    status: str = "running"
    code: int = 0
    health: str = ""
    restarts: int = 0
    started: str = "2026-01-01T00:00:00Z"
    ports: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"stack-{self.service}-1"

    @property
    def labels(self) -> dict[str, str]:
        return {SERVICE: self.service}

    @property
    def attrs(self) -> dict[str, Any]:
        health = {"Health": {"Status": self.health}} if self.health else {}
        state = {"Status": self.status, "ExitCode": self.code, "StartedAt": self.started}
        return {
            "State": state | health,
            "RestartCount": self.restarts,
            "Config": {"Image": f"registry.example/team/{self.service}:1"},
            "NetworkSettings": {"Ports": self.ports},
        }

    def logs(self, tail: int) -> bytes:
        return f"the last {tail} lines".encode()


class Stack(StackContainers):
    """A stack of such containers."""

    def __init__(self, *shown: Shown) -> None:
        super().__init__("stack")
        self.shown = shown

    def of(self, service: str = "") -> list[Any]:
        return [item for item in self.shown if service in ("", item.service)]


def watch(*shown: Shown) -> HealthWatch:
    return HealthWatch(Stack(*shown), SERVICES)


@pytest.mark.parametrize(
    ("shown", "state"),
    [
        (Shown("web"), "healthy"),
        (Shown("web", health="starting"), "starting"),
        (Shown("web", health="unhealthy"), "unhealthy"),
        (Shown("web", "created"), "starting"),
        (Shown("web", "paused"), "unhealthy"),
        (Shown("web", "restarting"), "failed"),
        (Shown("web", "exited"), "done"),
        (Shown("web", "exited", code=1), "failed"),
    ],
)
def test_the_state_of_a_container_is_one_word(shown: Shown, state: str) -> None:
    container: Any = shown
    assert container_state(container) == state


def test_a_service_is_as_well_as_its_worst_replica_and_as_old_as_its_newest() -> None:
    ports = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000"}], "81/tcp": None}
    old: Any = Shown("web", health="unhealthy", started="2026-01-01T00:00:00Z")
    new: Any = Shown("web", started="2026-01-02T00:00:00Z", ports=ports)
    status = service_status("web", {}, [new, old])
    assert (status.state, status.replicas, status.ports) == ("unhealthy", 2, ("8000->80/tcp",))
    assert status.detail.startswith("web:1, up ")
    assert status.detail.endswith(", 8000->80/tcp")


@pytest.mark.parametrize(
    ("shown", "state", "detail"),
    [
        ([], "stopped", "not running"),
        ([Shown("web", "exited")], "stopped", "not running"),
        ([Shown("web", "exited", code=3)], "failed", "ended with exit code 3"),
    ],
)
def test_a_service_that_does_not_run_says_why(shown: list[Shown], state: str, detail: str) -> None:
    status = service_status("web", {}, shown)
    assert (status.state, status.replicas, status.detail) == (state, 0, detail)


def test_steps_are_not_services_that_stay_up() -> None:
    found = watch(Shown("migrate", "exited"), Shown("web")).status()
    assert [item.service for item in found] == ["web"]


def test_a_start_is_in_vain_once_something_failed_and_nothing_is_still_starting() -> None:
    failed: Any = Shown("web", "exited", code=1)
    ended: Any = Shown("web", "exited")
    starting: Any = Shown("web", health="starting")
    step: Any = Shown("migrate", "exited")
    assert watch().is_in_vain([failed])
    assert watch().is_in_vain([ended])
    assert not watch().is_in_vain([failed, starting])
    assert not watch().is_in_vain([step])
    assert not watch().is_in_vain([])


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (Shown("migrate", "exited", code=2), "migrate is failed (exit code 2)"),
        (Shown("web", "exited"), "web is done (exit code 0)"),
        (Shown("web", health="unhealthy"), "web is unhealthy"),
        (Shown("web", "restarting", restarts=4), "web is failed (restarted 4 times)"),
        (Shown("web", health="starting", restarts=1), "web is failed (restarted 1 times)"),
    ],
)
def test_what_kept_a_stack_from_starting_is_named_with_its_last_lines(
    shown: Shown, why: str
) -> None:
    said = watch(shown).why_not_started("compose failed")
    assert said == f"{why}\nlast lines of {shown.name}:\n  | the last 15 lines"


@pytest.mark.parametrize(
    "shown", [Shown("web", restarts=2), Shown("web", health="starting"), Shown("migrate", "exited")]
)
def test_what_is_well_or_may_be_soon_is_not_blamed(shown: Shown) -> None:
    assert watch(shown).why_not_started("compose failed") == "compose failed"


def test_a_service_is_opened_at_its_first_port_that_speaks_http() -> None:
    plain = {"published": "5432", "app_protocol": "tcp"}
    web = {"published": "8080", "host_ip": "0.0.0.0"}  # noqa: S104 - as compose says it
    assert service_url({"ports": [plain, {"target": 1}, web]}) == "http://0.0.0.0:8080"
    assert service_url({"ports": [{"published": "80"}]}) == "http://127.0.0.1:80"
    assert service_url({"ports": [plain]}) is None
    assert service_url({}) is None
