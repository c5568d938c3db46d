from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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


@pytest.mark.parametrize(("mode", "wanted"), [(0o600, 0o644), (0o700, 0o755), (0o640, 0o644)])
def test_what_is_mounted_is_made_readable_and_no_more(
    tmp_path: Path, mode: int, wanted: int
) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    permissions.make_readable(path)
    assert path.stat().st_mode & 0o777 == wanted
