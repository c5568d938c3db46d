"""What loading slipway/ does by itself."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from devtools.bake import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.scratch import Scratch


@pytest.mark.parametrize(("unwanted", "kept"), [("", True), ("1", False)])
def test_what_a_command_compiles_is_kept_for_the_next_one_if_python_keeps_any(
    make_scratch: Callable[[Path], Scratch], tmp_path: Path, unwanted: str, *, kept: bool
) -> None:
    scratch = make_scratch(tmp_path)
    (scratch.root / "slipway").unlink()
    caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(TEMPLATE / "slipway", scratch.root / "slipway", ignore=caches)
    variables = os.environ | {"PYTHONDONTWRITEBYTECODE": unwanted, "PYTHONPYCACHEPREFIX": ""}
    assert scratch.inv("--list", env=variables).returncode == 0
    assert (scratch.root / "slipway" / "tasks" / "__pycache__").is_dir() is kept
