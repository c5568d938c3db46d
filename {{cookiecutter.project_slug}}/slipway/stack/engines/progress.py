"""How containers are doing: their status, their way to health, and what went wrong on it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from slipway.core import output
from slipway.core.errors import Refused
from slipway.stack.build import images
from slipway.stack.engines.base import ServiceStatus
from slipway.stack.engines.containers import SERVICE, container_state, started_at
from slipway.stack.services import one_shot_services

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from docker.models.containers import Container

    from slipway.stack.engines.containers import StackContainers

REVISION = "org.opencontainers.image.revision"
POLL = 0.5
"""Seconds between two looks at containers that are starting."""


class HealthWatch:
    """Watches the containers of a stack on their way to health."""

    def __init__(self, stack: StackContainers, services: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the containers, and the services as compose resolves them."""
        self.stack = stack
        self.services = services
        self.once = one_shot_services(services.values())
        """The services that run to their end before others start."""

    def status(self) -> list[ServiceStatus]:
        """Look at every service that stays up."""
        found = self.stack.of()
        by_name = {name: [c for c in found if c.labels[SERVICE] == name] for name in self.services}
        return [
            service_status(name, entry, by_name[name])
            for name, entry in self.services.items()
            if name not in self.once
        ]

    def await_health(self, limit: float, shown: StartProgress | None = None) -> None:
        """Wait until every service is healthy, at most `limit` seconds.

        Raises:
            Refused: one is not.
        """
        shown, deadline = shown or StartProgress(self.once), time.monotonic() + limit
        while ill := [item for item in self.status() if item.state != "healthy"]:
            shown.update(self.stack.of())
            if time.monotonic() > deadline or any(item.state == "failed" for item in ill):
                raise Refused("\n".join(self._diagnosis(ill, limit)))
            time.sleep(POLL)
        shown.update(self.stack.of())

    def is_in_vain(self, new: Sequence[Container]) -> bool:
        """Say whether one of the new containers has ended while no other is still starting.

        A database that is creating its files for the first time would not hear that it is to stop.
        """
        under_way = [
            item for item in new if item.status == "running" and container_state(item) == "starting"
        ]
        return not under_way and any(map(self._has_ended, new))

    def why_not_started(self, fallback: str) -> str:
        """Say which container kept the stack from starting, with its last lines."""
        for item in self.stack.of():
            name = item.labels[SERVICE]
            if wrong := self._wrong(item):
                return "\n".join([f"{name} is {wrong}", *self.last_lines(name)])
        return fallback

    def last_lines(self, service: str) -> Iterator[str]:
        """Yield the end of what a container of a service printed."""
        for item in self.stack.of(service)[:1]:
            yield f"last lines of {item.name}:"
            printed = item.logs(tail=15).decode(errors="replace").splitlines()
            yield from (f"  | {line}" for line in printed)

    def _has_ended(self, container: Container) -> bool:
        """Say whether a container has ended that should not have."""
        state, lasting = container_state(container), container.labels[SERVICE] not in self.once
        return state == "failed" or (state == "done" and lasting)

    def _wrong(self, container: Container) -> str:
        """Say what is wrong with a container; nothing if all is well, or may be soon."""
        state, restarts = container_state(container), container.attrs["RestartCount"]
        if restarts and state in ("failed", "starting"):  # starting: between two of its ends
            return f"failed (restarted {restarts} times)"
        if self._has_ended(container):
            return f"{state} (exit code {container.attrs['State']['ExitCode']})"
        return state if state == "unhealthy" else ""

    def _diagnosis(self, ill: Sequence[ServiceStatus], limit: float) -> Iterator[str]:
        ill = sorted(ill, key=lambda item: item.state != "failed")
        for item in ill:
            yield f"{item.service} is {item.state} after at most {limit:.0f} s: {item.detail}"
        yield from self.last_lines(ill[0].service)


class StartProgress:
    """Says once of each container how its start ended, and after how long."""

    def __init__(self, once: set[str]) -> None:
        """Start the clock; `once` are the services that run to their end."""
        self.once = once
        self.start = time.monotonic()
        self.shown: dict[str, str] = {}

    def update(self, containers: Sequence[Container]) -> None:
        """Look at the containers, and say what is new."""
        for item in containers:
            state = container_state(item)
            under_way = state == "starting" or (
                item.labels[SERVICE] in self.once and item.status == "running"
            )
            if not under_way and self.shown.get(item.name) != state:
                self.shown[item.name] = state
                seconds = time.monotonic() - self.start
                output.say(f"  {item.labels[SERVICE]:<12} {state:<12} {seconds:5.1f} s")


def service_status(
    name: str, entry: Mapping[str, Any], containers: Sequence[Container]
) -> ServiceStatus:
    """Describe a service from its containers."""
    states = [container_state(item) for item in containers]
    running = [item for item in containers if item.status == "running"]
    if not running:
        failed = [item for item in containers if container_state(item) == "failed"]
        if failed:
            code = failed[0].attrs["State"]["ExitCode"]
            return ServiceStatus(name, "failed", None, 0, f"ended with exit code {code}")
        for item in containers:
            if item.status == "paused":
                said = f"paused; to continue: docker unpause {item.name}"
                return ServiceStatus(name, "unhealthy", None, 0, said)
        return ServiceStatus(name, "stopped", None, 0, "not running")
    worst = next((one for one in ("failed", "unhealthy", "starting") if one in states), "healthy")
    newest = max(running, key=started_at)
    return ServiceStatus(
        name,
        worst,
        service_url(entry),
        len(running),
        container_summary(newest),
        image=newest.attrs["Config"]["Image"],
        revision=newest.labels.get(REVISION) or None,
        ports=tuple(_ports(newest)),
        uptime=int(_age(newest).total_seconds()),
    )


def container_summary(container: Container) -> str:
    """Say which image runs, since when, and which ports of this machine lead to it."""
    image = container.attrs["Config"]["Image"].rsplit("/", 1)[-1]
    revision = container.labels.get(REVISION)
    built = f"{image} ({images.short_revision(revision)})" if revision else image
    return ", ".join([built, f"up {_age(container)}", *_ports(container)])


def service_url(entry: Mapping[str, Any]) -> str | None:
    """Return where a browser finds a service: its first published port that speaks HTTP."""
    for port in entry.get("ports") or []:
        if port.get("published") and port.get("app_protocol", "http") == "http":
            return f"http://{port.get('host_ip') or '127.0.0.1'}:{port['published']}"
    return None


def _ports(container: Container) -> list[str]:
    bound = container.attrs["NetworkSettings"]["Ports"].items()
    return sorted({f"{held['HostPort']}->{inner}" for inner, all_ in bound for held in all_ or []})


def _age(container: Container) -> timedelta:
    since = datetime.fromisoformat(started_at(container)[:19]).replace(tzinfo=UTC)
    return timedelta(seconds=int((datetime.now(UTC) - since).total_seconds()))
