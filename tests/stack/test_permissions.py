from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.stack.engines import permissions

if TYPE_CHECKING:
    from pathlib import Path


def test_compose_is_told_who_runs_it_and_nobodys_own_file_is_touched(tmp_path: Path) -> None:
    path = tmp_path / permissions.DOTENV
    permissions.write_dotenv(tmp_path)
    told = path.read_text(encoding="utf-8")
    assert f"APP_UID={permissions.application_user()}\n" in told
    assert f"APP_GID={permissions.application_group()}\n" in told
    path.write_text(f"{permissions.DOTENV_HEAD}\nAPP_UID=1\n", encoding="utf-8")
    permissions.write_dotenv(tmp_path)
    assert path.read_text(encoding="utf-8") == told
    path.write_text("MINE=1\n", encoding="utf-8")
    permissions.write_dotenv(tmp_path)
    assert path.read_text(encoding="utf-8") == "MINE=1\n"
