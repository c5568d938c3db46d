"""What you type: one module for each namespace.

A module that is only of use with some service says so (`NEEDS`: any one of them is enough). A
repository without it is made without the module, and does not offer its tasks once its folder in
services/ is gone. A module that adds to another one's namespace names it (`NAMESPACE`);
one that has to look further than folders has a function `is_wanted`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.collection import Collection

from slipway.ci.command_line import read_strictly
from slipway.core.project import find_root
from slipway.core.pty import MaskingRunner
from slipway.tasks.checks import ci, list_
from slipway.tasks.doctor import doctor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

MODULES = (
    "deploy", "verification", "build", "models", "data", "db", "backup", "env", "rotation", "deps",
    "stack", "harness", "pipeline",
)  # fmt: skip


def namespace(root: Path | None = None) -> Collection:
    """Return the template's tasks, for tasks.py to extend."""
    collection = Collection(ci, doctor, list_)
    collection.configure({"runners": {"local": MaskingRunner}})
    for module in offered(root or find_root()):
        tasks = Collection.from_module(module)
        if name := getattr(module, "NAMESPACE", ""):
            for task in tasks.tasks.values():
                collection.collections[name].add_task(task)
        else:
            collection.add_collection(tasks)
    return read_strictly(collection)


def offered(root: Path) -> Iterator[ModuleType]:
    """Return the modules that are here, and of use with the services of a repository."""
    for name in MODULES:
        if (Path(__file__).parent / f"{name}.py").is_file():
            module = import_module(f"{__name__}.{name}")
            if is_wanted(module, root):
                yield module


def is_wanted(module: ModuleType, root: Path) -> bool:
    """Say whether a repository has a service that a module is about, or anything it works on."""
    if hasattr(module, "is_wanted"):
        return bool(module.is_wanted(root))
    needs = getattr(module, "NEEDS", ())
    return not needs or any((root / "services" / service).is_dir() for service in needs)
