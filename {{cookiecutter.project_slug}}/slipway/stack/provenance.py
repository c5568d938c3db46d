"""What data is used by: to find that again with it, never to hold a secret.

From inside a container nothing of that can be seen, so whoever brings the stack up leaves a note.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from dotenv import dotenv_values

from slipway.config.schema import COMPOSE
from slipway.core import files
from slipway.stack.build import images

if TYPE_CHECKING:
    from pathlib import Path

    from slipway.core.project import Project
    from slipway.stack.engines.base import Engine
    from slipway.stack.session import Session


def current_provenance(project: Project, profile: str, engine: Engine) -> dict[str, Any]:
    """Look at what runs, at the code that is there, and at which variables have been given."""
    env_file = project.env_file(profile)
    text = env_file.read_bytes() if env_file.is_file() else b""
    names = sorted(dotenv_values(env_file, interpolate=False)) if text else []
    return {
        "profile": profile,
        "engine": engine.name,
        "images": engine.images(),
        "revision": images.image_origin(project.root).revision,
        "env": {"names": names, "fingerprint": hashlib.sha256(text).hexdigest() if text else ""},
    }


def publish_provenance(session: Session) -> None:
    """Leave word of them where services run in containers; a process can look itself."""
    if session.engine.name == COMPOSE:
        write_provenance(session.project, session.describe_provenance())


def write_provenance(project: Project, said: dict[str, Any]) -> None:
    """Write them down for who cannot look."""
    path = _note(project)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace_file(path, json.dumps(said, indent=2) + "\n")
    files.give_to_owner(path)


def read_provenance(project: Project, profile: str, engine: str) -> dict[str, Any]:
    """Return what was left of this profile and engine; little, where nothing was."""
    known: dict[str, Any] = {"profile": profile, "engine": engine}
    try:
        said = files.read_json(_note(project))
        same = all(said[name] == value for name, value in known.items())
    except (OSError, ValueError, TypeError, KeyError):
        same = False
    nothing = {"images": {}, "revision": "", "env": {"names": [], "fingerprint": ""}}
    return dict(said) if same else known | nothing


def _note(project: Project) -> Path:
    return project.run / "scheduler" / "provenance.json"
