"""The services of compose.yaml, and how each runs as a process of this machine."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from slipway.config.compose_file import FIRST, PROFILE_FILES, needed_services, read_services
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

COMPLETED = "service_completed_successfully"
READS_ONCE = "reads=once"
"""The label of a service that reads its secrets only when it starts."""
RUNS_ONCE = "runs=once"
"""The label of a service of which two would do the same work."""


@dataclass(frozen=True)
class LocalService:
    """A service that can run as a process: the `x-local` part of its compose.yaml.

    There, variables are written `{NAME}`, and the repository's folder `{ROOT}`: compose would fill
    in `$NAME` itself.
    """

    name: str
    command: tuple[str, ...]
    health: str = ""
    """`http://host:port/path` answers 200, `tcp://host:port` accepts a connection, or the file of
    `file://` is touched again and again; empty for a one-shot."""
    needs: tuple[str, ...] = ()
    serves: str = ""
    """`models` for a service that loads models, and loads others when they are promoted."""
    signal: str = "TERM"
    """The signal that asks it to end."""
    once: bool = False
    """Whether it runs to its end before the services that need it start, and does not stay up."""

    @property
    def port(self) -> int | None:
        """The port that the health check asks."""
        return urlsplit(self.health).port

    @property
    def url(self) -> str | None:
        """Where a browser finds the service; None for what does not speak HTTP."""
        parts = urlsplit(self.health)
        return f"{parts.scheme}://{parts.netloc}" if parts.scheme == "http" else None


class BindMount(NamedTuple):
    """A file or folder of this machine that a service mounts."""

    service: str
    user: str
    """Who reads it, as the compose file says it; empty where the image says it."""
    path: Path
    read_only: bool


def bind_mounts(root: Path, file: str = PROFILE_FILES[FIRST]) -> Iterator[BindMount]:
    """Yield what the services of a compose file mount of this machine."""
    for name, entry in read_services(root, file).items():
        for volume in entry.get("volumes") or ():
            if isinstance(volume, str):
                mounted, _, mode = volume.rpartition(":")  # with no colon it is a volume alone
                source = mounted.partition(":")[0]
            else:
                source, mode = volume.get("source", ""), "ro" if volume.get("read_only") else ""
            if source.startswith((".", "/")):
                path = Path(os.path.normpath(entry["folder"] / source))
                yield BindMount(name, str(entry.get("user", "")), path, "ro" in mode.split(","))


def shared_run_folders(root: Path) -> list[Path]:
    """Return the folders of run/ that services mount."""
    run = root / "run"
    found = {mount.path for mount in bind_mounts(root)}
    return sorted(path for path in found if path.is_relative_to(run) and path != run)


def container_only_services(root: Path) -> list[str]:
    """Name the services that run in containers only: as processes, a stack goes without them.

    Raises:
        Refused: a file is missing or is not a compose file, or a name is defined twice.
    """
    return [name for name, entry in deployed_services(root).items() if "x-local" not in entry]


def local_services(root: Path, values: Mapping[str, str]) -> list[LocalService]:
    """Return the services that run as processes, each after those it needs.

    A service without `x-local` runs in containers only, and is left out even where others need it.
    So is one with a compose profile, which runs on request.

    Raises:
        Refused: a variable of an `x-local` has no value, or services form a cycle.
    """
    values = {"ROOT": str(root), **values}
    known = {name: entry for name, entry in deployed_services(root).items() if "x-local" in entry}
    once = one_shot_services(known.values())
    built = {
        name: _service(
            name, entry["x-local"], values, filter(known.__contains__, needed_services(entry)), once
        )
        for name, entry in known.items()
    }
    try:
        order = TopologicalSorter({name: item.needs for name, item in built.items()}).static_order()
        return [built[name] for name in order]
    except CycleError as error:
        raise Refused(
            f"services depend on each other in a cycle: {' -> '.join(error.args[1])}"
        ) from error


def deployed_services(root: Path) -> dict[str, dict[str, Any]]:
    """Return the services that a deployment starts: those without a compose profile.

    Raises:
        Refused: a file is missing or is not a compose file, or a name is defined twice.
    """
    return {name: entry for name, entry in read_services(root).items() if not entry.get("profiles")}


def one_shot_services(entries: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the services that run to their end before others start."""
    needs = (need for entry in entries for need in needed_services(entry).items())
    return {name for name, how in needs if how == COMPLETED}


def services_needing(services: Mapping[str, Mapping[str, Any]], needed: str) -> list[str]:
    """Return the services that need a certain one, directly or not."""
    found: list[str] = []
    while new := [
        name
        for name, entry in services.items()
        if name not in found and {needed, *found} & {*needed_services(entry)}
    ]:
        found += new
    return found


def why_single(entry: Mapping[str, Any]) -> str:
    """Say why a service cannot have two replicas; nothing where it can.

    The entry is as compose resolves it.
    """
    if entry.get("ports"):
        return "has a port of this machine"
    if RUNS_ONCE in labels_of(entry):
        return f"says {RUNS_ONCE}"
    kept = [
        mount
        for mount in entry.get("volumes") or ()
        if mount["type"] == "volume" and not mount.get("read_only")
    ]
    return "keeps its data in a volume" if kept else ""


def labels_of(entry: Mapping[str, Any]) -> set[str]:
    """Return the labels of a service, as compose resolves it, as key=value."""
    return {f"{key}={value}" for key, value in (entry.get("labels") or {}).items()}


def _service(
    name: str,
    local: Mapping[str, str],
    values: Mapping[str, str],
    needs: Iterable[str],
    once: set[str],
) -> LocalService:
    try:
        command = [word.format_map(values) for word in shlex.split(local["command"])]
        health = local.get("health", "").format_map(values)
    except KeyError as error:
        fix = "describe it in env/schema.toml"
        raise Refused(f"service {name}: x-local has or names no {error.args[0]}", fix) from error
    signal = local.get("signal", "TERM")
    serves = local.get("serves", "")
    return LocalService(name, tuple(command), health, tuple(needs), serves, signal, name in once)
