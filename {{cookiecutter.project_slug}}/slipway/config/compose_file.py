"""Compose files, read without an engine: services put together as compose does it.

Nothing is filled in: a value still holds its `${NAME}`.
"""

from __future__ import annotations

import json
import re
from string import Formatter
from typing import TYPE_CHECKING, Any

import yaml

from slipway.config.schema import PROFILES
from slipway.core.errors import Refused
from slipway.core.files import DEPTH_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The quick one where PyYAML was built with it: a stack is a dozen files, read several times."""
FIRST, *OTHERS = PROFILES
PROFILE_FILES = {FIRST: "compose.yaml"} | {name: f"compose.{name}.yaml" for name in OTHERS}
"""The compose file of each profile."""
VARIABLE = r"\$(?:\$|\{(\w+)|([A-Za-z_]\w*))"
"""What compose fills in; `$$` is how a `$` is written."""
SUPPLIED = {"ROOT"}
"""What `x-local` may name and is no variable."""
REPLACED = {"command", "entrypoint", "test"}
"""What a file put on top replaces; compose puts other lists together."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one file as it stands: nothing is filled in or put together.

    Raises:
        Refused: it is missing, is not YAML, or is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_deep(text)
        content = yaml.load(text, LOADER) or {}  # noqa: S506 - a safe one, whichever it is
    except OSError as error:
        fix = "each `include` line of compose.yaml names a folder of services/"
        raise Refused(f"{path}: {error}", fix) from error
    except (yaml.YAMLError, ValueError) as error:  # a date such as 2026-99-99, or no UTF-8
        raise Refused(f"{path}: {error}", f"edit {path}") from error
    if not isinstance(content, dict):
        raise Refused(f"{path}: its top level is not a mapping", f"edit {path}")
    return content


def _refuse_deep(text: str) -> None:
    """Count the levels before the loader, which ends the whole process, follows them."""
    depth = 0
    for event in yaml.parse(text, LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_LIMIT:
            raise ValueError("it is nested too deeply")


def read_services(root: Path, file: str = PROFILE_FILES[FIRST]) -> dict[str, dict[str, Any]]:
    """Return the services of a compose file and of what it includes, by name.

    Each has the `folder` that it comes from, as a path.

    Raises:
        Refused: a file is missing or is not a compose file, or a name is defined twice.
    """
    top = read_yaml(root / file)
    found = {
        name: {"folder": root, **(entry or {})}
        for name, entry in (top.get("services") or {}).items()
    }
    for included in top.get("include") or []:
        paths = [root / path for path in _included_paths(included)]
        for name, entry in _put_together(paths).items():
            if name in found:
                raise Refused(
                    f"{paths[0]}: the service {name} is defined in another file too",
                    "rename one of the two",
                )
            found[name] = entry
    return found


def read_profiles(root: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the services of each profile that has a compose file.

    Raises:
        Refused: a file is missing or is not a compose file, or a name is defined twice.
    """
    there = {name: file for name, file in PROFILE_FILES.items() if (root / file).is_file()}
    return {name: read_services(root, file) for name, file in there.items()}


def _included_paths(entry: str | Mapping[str, Any]) -> list[str]:
    """Return the file that defines a service, and those that change it for a profile."""
    paths = entry if isinstance(entry, str) else entry["path"]
    return [paths] if isinstance(paths, str) else [*paths]


def _put_together(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Read the services of one folder, each file on top of those before it."""
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        for name, entry in (read_yaml(path).get("services") or {}).items():
            own = {"folder": paths[0].parent} | extended_entry(path, entry or {})
            found[name] = merged_entries(found.get(name, {}), own)
    return found


def extended_entry(path: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Put a service on top of the one in another file that it extends.

    Raises:
        Refused: the file is missing or is not a compose file, or has no such service.
    """
    base = entry.get("extends")
    if not isinstance(base, dict) or "file" not in base:
        return dict(entry)
    other = path.parent / base["file"]
    services = read_yaml(other).get("services") or {}
    if base["service"] not in services:
        raise Refused(f"{path}: {other} has no service {base['service']!r}", f"edit {path}")
    return merged_entries(services[base["service"]], entry)


def merged_entries(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Put one mapping on top of another, as compose does."""
    result = dict(below)
    for key, value in above.items():
        held = result.get(key)
        if isinstance(held, dict) and isinstance(value, dict):
            result[key] = merged_entries(held, value)
        elif isinstance(held, list) and isinstance(value, list) and key not in REPLACED:
            result[key] = held + [item for item in value if item not in held]
        else:
            result[key] = value
    return result


def needed_services(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return what a service needs, with the condition on each (compose allows a plain list too)."""
    needs = entry.get("depends_on") or {}
    if isinstance(needs, list):
        return dict.fromkeys(needs, "service_started")
    return {name: how["condition"] for name, how in needs.items()}


def compose_variables(entry: Mapping[str, Any]) -> list[str]:
    """Return the variables that compose fills in for a service."""
    found = re.finditer(VARIABLE, json.dumps({**entry, "folder": ""}, default=str))
    return sorted({match[1] or match[2] for match in found} - {None})


def filled_variables(entry: Mapping[str, Any]) -> set[str]:
    """Return the variables that compose or `x-local` fill in for a service."""
    local = entry.get("x-local") or {}
    fields = (Formatter().parse(str(text)) for text in local.values())
    found = {name for parsed in fields for _, name, _, _ in parsed if name}
    return {*compose_variables(entry)} | found - SUPPLIED


def environment_names(entry: Mapping[str, Any]) -> list[str]:
    """Return the variables that a compose file sets in a container by name."""
    given: Mapping[str, Any] | Sequence[str] = entry.get("environment") or {}
    return [item.partition("=")[0] for item in given]
