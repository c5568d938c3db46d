"""Alembic runs this file by its path, outside any package: the work is in migrating.py."""

from importlib import import_module
from pathlib import Path

import_module(f"{Path(__file__).absolute().parents[1].name}.migrating").run()
