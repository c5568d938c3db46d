"""The parts of the application: its sub-packages, found by the modules that they have."""

import importlib
from pathlib import Path
from types import ModuleType


def having(name: str) -> list[ModuleType]:
    """Import the module of that name of every part that has one, in the order of their names."""
    folders = sorted(path.parent for path in Path(__file__).parent.glob(f"*/{name}.py"))
    return [importlib.import_module(f"{__package__}.{folder.name}.{name}") for folder in folders]
