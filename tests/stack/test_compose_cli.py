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
    assert compose_cli.keys({}) == []
    assert compose_cli.keys({"MODELS_PUBLIC_KEY": str(key), "OTHER_KEY": str(key)}) == [
        f"--volume={key}:/run/keys/models_public_key.pem:ro",
        "--env=MODELS_PUBLIC_KEY=/run/keys/models_public_key.pem",
    ]


def test_a_key_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"MODELS_SIGNING_KEY names .*, which is no file"):
        compose_cli.keys({"MODELS_SIGNING_KEY": str(tmp_path / "gone.pem")})


def test_compose_is_told_who_runs_it_and_nobodys_own_file_is_touched(tmp_path: Path) -> None:
    path = tmp_path / compose_cli.DOTENV
    compose_cli.user_known(tmp_path)
    told = path.read_text(encoding="utf-8")
    assert f"APP_UID={compose_cli.application_user()}\n" in told
    assert f"APP_GID={compose_cli.application_group()}\n" in told
    path.write_text(f"{compose_cli.DOTENV_HEAD}\nAPP_UID=1\n", encoding="utf-8")
    compose_cli.user_known(tmp_path)
    assert path.read_text(encoding="utf-8") == told
    path.write_text("MINE=1\n", encoding="utf-8")
    compose_cli.user_known(tmp_path)
    assert path.read_text(encoding="utf-8") == "MINE=1\n"
