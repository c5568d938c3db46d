"""Removing a stack of containers that is known by its name alone."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import psutil
from docker.errors import APIError, DockerException, NotFound

from slipway.core.errors import Refused
from slipway.stack import processes
from slipway.stack.engines.containers import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import docker

LIMIT = 120.0
"""Seconds until all of it must be gone."""
PATIENCE = 10.0
"""Seconds that a command has to end by itself."""
POLL = 0.2


def remove_stack(engine: docker.DockerClient, name: str) -> None:
    """Remove a stack's containers, networks, volumes and images, and end commands that make more.

    Raises:
        Refused: something could not be removed.
    """
    processes.end_processes(compose_processes(name), PATIENCE)
    deadline = time.monotonic() + LIMIT
    while found := _once(engine, name):
        if time.monotonic() > deadline:
            raise Refused(f"could not be removed: {', '.join(found)}", "docker ps --all")
        time.sleep(POLL)


def _once(engine: docker.DockerClient, name: str) -> list[str]:
    """Remove all there is; return what that was."""
    try:
        found = dict(stack_parts(engine, name))
        for remove in found.values():
            with suppress(NotFound, APIError):  # it is being removed already, or is still in use
                remove()
    except DockerException as error:
        raise Refused(f"the container engine: {error}", "inv doctor") from error
    return [*found]


def compose_processes(name: str) -> list[psutil.Process]:
    """Return the `docker compose` processes at work on a stack: one may outlive its caller."""
    wanted = ["--project-name", name]
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            if any(words[at : at + 2] == wanted for at in range(len(words))):
                found.append(process)
    return found


def stack_parts(
    client: docker.DockerClient, name: str
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the parts of a stack, each with what removes it; a part comes before those it needs."""
    ours = {"label": f"{PROJECT}={name}"}
    for container in client.containers.list(all=True, filters=ours, ignore_removed=True):
        yield f"container {container.name}", partial(container.remove, force=True, v=True)
    for network in client.networks.list(filters=ours):
        yield f"network {network.name}", network.remove
    for volume in client.volumes.list(filters=ours):
        yield f"volume {volume.name}", partial(volume.remove, force=True)
    for tag in version_tags(client, name):
        yield f"image {tag}", partial(client.images.remove, tag)


def version_tags(client: docker.DockerClient, version: str) -> list[str]:
    """Return the names of all images with a version as their tag."""
    named = (tag for image in client.api.images() for tag in image["RepoTags"] or ())
    return [tag for tag in named if tag.endswith(f":{version}")]
