"""What every engine can do with a stack, and the shapes it answers in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from slipway.config.service_env import ServiceEnv
    from slipway.stack.engines.exec import ServiceContainer
    from slipway.stack.engines.ownership import StackOwnership


@dataclass(frozen=True)
class ServiceStatus:
    """One service as it is now."""

    service: str
    state: str
    """healthy, unhealthy, starting, failed or stopped."""
    url: str | None
    replicas: int
    """How many are running."""
    detail: str
    image: str | None = None
    """What it runs from; a process has none."""
    revision: str | None = None
    """The commit that the image says it was built from."""
    ports: tuple[str, ...] = ()
    """How this machine's ports lead to it, such as 8000->80/tcp."""
    uptime: int | None = None
    """Seconds since the newest replica started."""

    @property
    def line(self) -> dict[str, object]:
        """The columns for people; `detail` says the rest in words."""
        names = ("service", "state", "url", "replicas", "detail")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Replica:
    """One running copy of a service that serves models."""

    name: str
    """The name people know it by."""
    host: str
    """The host name its processes see."""


@dataclass(frozen=True)
class ReplicaAccess:
    """How to ask one replica something, past the proxy."""

    python: tuple[str, ...]
    """Runs Python where the replica can be reached."""
    base_url: str
    """The replica's address, seen from there."""


class RemovedParts(NamedTuple):
    """What was removed of a stack."""

    ran: bool
    """Whether anything of it was running."""
    volumes: tuple[str, ...] = ()


class Engine(Protocol):
    """What an engine can do with the stack of a project."""

    name: str
    environment: dict[str, str]
    """The variables the stack is run with."""

    @property
    def ownership(self) -> StackOwnership | None:
        """Which clone the stack belongs to; None if no other clone can reach it."""

    @property
    def service_envs(self) -> dict[str, ServiceEnv]:
        """The variables and secrets of each service."""

    def obtain_images(self) -> None:
        """Pull or build the images that the stack runs from, where it runs from any.

        Raises:
            Refused: they cannot be pulled or built.
        """

    def up(self, limit: float) -> bool:
        """Start every service and wait for its health, at most `limit` seconds each.

        Returns whether anything had to be started.

        Raises:
            Refused: a service did not come up; what this call started is stopped again.
        """

    def down(self, *, volumes: bool = False) -> RemovedParts:
        """Stop every service, and keep its data unless told otherwise."""

    def status(self) -> list[ServiceStatus]:
        """Look at every service that stays up."""

    def ports(self) -> dict[str, int]:
        """Return the port of this machine that each service has, or will have."""

    def scale(self, service: str, replicas: int, limit: float) -> None:
        """Run a number of replicas of a service, and wait for their health.

        Raises:
            Refused: this engine, or this service, cannot.
        """

    def run(self, command: Sequence[str], service: str = "") -> None:
        """Run a command of the application, with the variables of a service where one is named.

        Raises:
            Refused: there is no such service, or the command fails.
        """

    def replicas(self) -> list[Replica]:
        """Return the running copies of the services that serve models."""

    def replica_access(self, replica: Replica) -> ReplicaAccess:
        """Say how one replica is asked something directly."""

    def service_container(self, service: str) -> ServiceContainer | None:
        """Return the container of a service, running or not; None if services are processes."""

    def images(self) -> dict[str, str]:
        """Return what each service runs from: an image's digest, or its id where it has none."""

    def trial(self, command: Sequence[str], limit: float) -> Iterator[str]:
        """Run a command beside the service that serves models, with its libraries and limits.

        Yields the lines it prints as they come.

        Raises:
            Refused: it fails, or takes longer than `limit` seconds (code 124).
        """

    def halt(self, needed: str) -> Callable[[float], None]:
        """Stop everything that needs a service, directly or not.

        Returns a function that starts it again, given the seconds each service may take to become
        healthy.
        """

    def restart(self, service: str, limit: float) -> None:
        """Restart each running copy of a service, one after the other, awaiting its health.

        Raises:
            Refused: one is not healthy within `limit` seconds.
        """

    def reads_once(self, service: str) -> bool:
        """Say whether a service reads its secrets only when it starts."""

    def logs(self, service: str, lines: int, *, follow: bool) -> None:
        """Print the end of the logs of one service, or of all."""


def refuse_unknown(service: str, names: Iterable[str]) -> None:
    """Check that a stack has a service.

    Raises:
        Refused: it is none of these names.
    """
    known = [*names]
    if service not in known:
        fix = f"choose one of: {', '.join(known)}"
        raise Refused(f"there is no service {service!r} here", fix, code=2)
