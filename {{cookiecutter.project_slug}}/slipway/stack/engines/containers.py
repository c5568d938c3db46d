"""The containers of a stack: finding them, and reading what the container engine says of them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    import docker
    from docker.models.containers import Container

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
ONE_OFF = "com.docker.compose.oneoff"
SERVES = "serves=models"
"""The label of a service that loads models, and loads others when they are promoted."""
ANSWER_LIMIT = 30
"""Seconds that one answer of the container engine may take."""


def connect_engine() -> docker.DockerClient:
    """Connect to the container engine.

    Raises:
        Refused: none answers.
    """
    import docker  # noqa: PLC0415 - speed: it is slow to import, and most tasks need no container
    from docker.errors import DockerException  # noqa: PLC0415 - speed: see above

    try:
        return docker.from_env(timeout=ANSWER_LIMIT)
    except DockerException as error:
        fix = "start Docker, or: inv deploy.up --engine local"
        raise Refused(f"no container engine answers: {error}", fix) from error


class StackContainers:
    """The containers of the stack that goes by a name."""

    def __init__(
        self, name: str, connect: Callable[[], docker.DockerClient] = connect_engine
    ) -> None:
        """Take the name of the compose project; the container engine is not asked yet."""
        self.name = name
        self.connect = connect

    @cached_property
    def client(self) -> docker.DockerClient:
        """The connection to the container engine."""
        return self.connect()

    def of(self, service: str = "") -> list[Container]:
        """Return the containers of a service, or of all, running or not, without one-offs."""
        labels = [f"{ONE_OFF}=False", *([f"{SERVICE}={service}"] if service else [])]
        return self._labelled(labels, stopped=True)

    def running(self, service: str = "") -> list[Container]:
        """Return those of a service, or of all, that are running."""
        return [item for item in self.of(service) if item.status == "running"]

    def serving(self) -> list[Container]:
        """Return the running containers that serve models."""
        return self._labelled([f"{ONE_OFF}=False", SERVES], stopped=False)

    def one_off(self) -> list[Container]:
        """Return the containers of single commands."""
        return self._labelled([f"{ONE_OFF}=True"], stopped=True)

    def _labelled(self, labels: list[str], *, stopped: bool) -> list[Container]:
        found: list[Container] = self.client.containers.list(
            all=stopped,
            filters={"label": [f"{PROJECT}={self.name}", *labels]},
            ignore_removed=True,
        )
        return found

    def addresses(self) -> dict[str, str]:
        """Return the service at each address of the stack's network."""
        return {
            network["IPAddress"]: item.labels[SERVICE]
            for item in self.running()
            for network in item.attrs["NetworkSettings"]["Networks"].values()
            if network["IPAddress"]
        }

    def remove(self, name: str) -> None:
        """Remove a container, running or not, if it is still there."""
        from docker.errors import APIError, NotFound  # noqa: PLC0415 - speed: as in connect()

        try:
            self.client.containers.get(name).remove(force=True)
        except (NotFound, APIError):  # APIError: it is being removed already
            return

    def image_digest(self, container: Container) -> str:
        """Return the digest of a container's image in its registry, or the image's id."""
        from docker.errors import NotFound  # noqa: PLC0415 - speed: as in connect()

        id_ = str(container.attrs["Image"])
        try:
            known = self.client.images.get(id_).attrs["RepoDigests"]
        except NotFound:  # removed, or built again under the same name
            known = []
        return str((known or [id_])[0])


def container_state(container: Container) -> str:
    """Return healthy, unhealthy, starting, failed or done."""
    state = container.attrs["State"]
    if state["Status"] == "exited":
        return "failed" if state["ExitCode"] else "done"
    if state["Status"] != "running":
        return {"created": "starting", "paused": "unhealthy"}.get(state["Status"], "failed")
    health: str = state.get("Health", {}).get("Status", "healthy")
    return health


def started_at(container: Container) -> str:
    """Return when a container was last started."""
    return str(container.attrs["State"]["StartedAt"])
