from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from slipway.core.errors import Refused
from slipway.stack.build import compose_cli

if TYPE_CHECKING:
    from pathlib import Path


def test_a_key_is_handed_on_as_a_file_that_nobody_writes(tmp_path: Path) -> None:
    key = tmp_path / "public.pem"
    key.touch()
    assert compose_cli.key_options({}) == []
    assert compose_cli.key_options({"MODELS_PUBLIC_KEY": str(key), "OTHER_KEY": str(key)}) == [
        f"--volume={key}:/run/keys/models_public_key.pem:ro",
        "--env=MODELS_PUBLIC_KEY=/run/keys/models_public_key.pem",
    ]


def test_a_key_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"MODELS_SIGNING_KEY names .*, which is not a file"):
        compose_cli.key_options({"MODELS_SIGNING_KEY": str(tmp_path / "gone.pem")})
