"""What runs: the services of compose.yaml, and how each runs as a process on this machine."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The quick one where PyYAML was built with it: a stack is a dozen files, read several times."""
COMPLETED = "service_completed_successfully"


@dataclass(frozen=True)
class Service:
    """A service that can run as a process: the `x-local` part of its compose.yaml.

    Variables stand there as `{NAME}`, the repository's folder as `{ROOT}`; compose would read
    `$NAME` as one of its own.
    """

    name: str
    command: tuple[str, ...]
    health: str = ""
    """`http://host:port/path` answers 200, `tcp://host:port` accepts, the file of `file://` is
    touched time and again; empty for a one-shot."""
    needs: tuple[str, ...] = ()
    serves: str = ""
    """`models` for what loads models, and loads others when they become current."""
    signal: str = "TERM"
    """What asks it to end."""
    once: bool = False
    """Runs to its end before what needs it starts, instead of staying up."""

    @property
    def port(self) -> int | None:
        """The port that the health check asks."""
        return urlsplit(self.health).port

    @property
    def url(self) -> str | None:
        """Where a browser finds the service; None for what does not speak HTTP."""
        parts = urlsplit(self.health)
        return f"{parts.scheme}://{parts.netloc}" if parts.scheme == "http" else None


def definitions(root: Path) -> dict[str, dict[str, Any]]:
    """Read the services of compose.yaml and of the files that it includes.

    Raises:
        Refused: a file is missing or is not a compose file, or a name is defined twice.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in _files(root):
        for name, service in (read(path).get("services") or {}).items():
            if name in found:
                raise Refused(f"{path}: the service {name} is defined in another file too")
            found[name] = service or {}
    return found


def _files(root: Path) -> list[Path]:
    top = root / "compose.yaml"
    return [top, *(root / _path(entry) for entry in read(top).get("include") or [])]


def _path(entry: str | Mapping[str, Any]) -> str:
    """Return the file that defines a service, without those that change it for a profile."""
    paths = entry if isinstance(entry, str) else entry["path"]
    return paths if isinstance(paths, str) else str(paths[0])


def shared(root: Path) -> list[Path]:
    """Return the folders of run/ that services mount, each once."""
    run = root / "run"
    return sorted(path for path in _mounted(root) if path.is_relative_to(run) and path != run)


def configured(root: Path) -> list[Path]:
    """Return what services mount of services/, each file and folder once."""
    folder = root / "services"
    found = {path for path in _mounted(root) if path.is_relative_to(folder) and path.exists()}
    return sorted(found | {inside for path in found for inside in path.rglob("*")})


def _mounted(root: Path) -> set[Path]:
    """Return what services mount of the repository."""
    return {
        Path(os.path.normpath(path.parent / volume.partition(":")[0]))
        for path in _files(root)
        for service in (read(path).get("services") or {}).values()
        for volume in (service or {}).get("volumes") or ()
        if isinstance(volume, str) and volume.startswith(".")
    }


def in_containers_only(root: Path) -> list[str]:
    """Name the services that stay up and are left out where services run as processes.

    Raises:
        Refused: a file is missing or is not a compose file, or a name is defined twice.
    """
    return [name for name, entry in brought_up(root).items() if "x-local" not in entry]


def read(path: Path) -> dict[str, Any]:
    """Read one compose file as it stands: nothing is filled in or put together.

    Raises:
        Refused: it is missing or is not a compose file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, LOADER) or {}  # noqa: S506 - a safe one, whichever it is
    except (OSError, yaml.YAMLError) as error:
        fix = "each `include` line of compose.yaml names a folder of services/"
        raise Refused(f"{path}: {error}", fix) from error
    if not isinstance(content, dict):
        raise Refused(f"{path}: not a compose file: its top level is no mapping")
    return content


def local_services(root: Path, values: Mapping[str, str]) -> list[Service]:
    """Return the services that run as processes, each after what it needs.

    What has no `x-local` runs in containers only: here it is left out, also where it is needed.
    So is what has a compose profile: it runs when it is asked for.

    Raises:
        Refused: a variable of an `x-local` has no value, or services need each other in a circle.
    """
    values = {"ROOT": str(root), **values}
    known = {name: entry for name, entry in brought_up(root).items() if "x-local" in entry}
    once = awaited_to_end(known.values())
    built = {
        name: _service(
            name, entry["x-local"], values, filter(known.__contains__, conditions(entry)), once
        )
        for name, entry in known.items()
    }
    try:
        order = TopologicalSorter({name: item.needs for name, item in built.items()}).static_order()
        return [built[name] for name in order]
    except CycleError as error:
        raise Refused(
            f"services need each other in a circle: {' -> '.join(error.args[1])}"
        ) from error


def brought_up(root: Path) -> dict[str, dict[str, Any]]:
    """Read the services that a deployment is of: what has a compose profile runs when asked for.

    Raises:
        Refused: a file is missing or is not a compose file, or a name is defined twice.
    """
    return {name: entry for name, entry in definitions(root).items() if not entry.get("profiles")}


def awaited_to_end(entries: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the services that others wait for to complete: steps that run once."""
    needs = (need for entry in entries for need in conditions(entry).items())
    return {name for name, how in needs if how == COMPLETED}


def conditions(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return what a service needs, with the condition on each (compose allows a plain list too)."""
    needs = entry.get("depends_on") or {}
    if isinstance(needs, list):
        return dict.fromkeys(needs, "service_started")
    return {name: how["condition"] for name, how in needs.items()}


def _service(
    name: str,
    local: Mapping[str, str],
    values: Mapping[str, str],
    needs: Iterable[str],
    once: set[str],
) -> Service:
    try:
        command = [word.format_map(values) for word in shlex.split(local["command"])]
        health = local.get("health", "").format_map(values)
    except KeyError as error:
        fix = "describe it in env/schema.toml"
        raise Refused(f"service {name}: x-local has or names no {error.args[0]}", fix) from error
    signal = local.get("signal", "TERM")
    serves = local.get("serves", "")
    return Service(name, tuple(command), health, tuple(needs), serves, signal, name in once)
