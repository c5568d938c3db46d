"""What you type: one module a namespace.

A module that is about one service says so (`NEEDS`), and is left out where its folder is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.collection import Collection

from slipway.core.project import find_root
from slipway.pipeline import stages
from slipway.tasks import backup, build, data, db, deploy, deps, doctor, env, harness, models, stack

if TYPE_CHECKING:
    from pathlib import Path

SPACES = (deploy, build, models, data, db, backup, env, deps, stack, harness)


def namespace(root: Path | None = None) -> Collection:
    """Return the template's tasks, for tasks.py to extend."""
    root = root or find_root()
    spaces = [module for module in SPACES if _is_there(root, getattr(module, "NEEDS", ""))]
    if stages.there(root):
        from slipway.tasks import pipeline  # noqa: PLC0415 - most repositories have no stages

        spaces.append(pipeline)
    collection = Collection(doctor.doctor)
    for module in spaces:
        collection.add_collection(Collection.from_module(module))
    if backup not in spaces:
        collection.add_collection(Collection("backup", backup.keygen))
    return collection


def _is_there(root: Path, service: str) -> bool:
    """Say whether a repository has a service, or none is needed."""
    return not service or (root / "services" / service).is_dir()
