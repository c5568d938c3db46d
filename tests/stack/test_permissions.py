from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from slipway.core.errors import Refused
from slipway.stack.engines import permissions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scratch import Scratch


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


@pytest.mark.parametrize(
    ("user", "mode", "can"),
    [
        ("1000", 0o600, True),
        ("1000", 0o044, False),
        ("1001:100", 0o640, True),
        ("1001", 0o640, False),
        ("postgres", 0o640, False),
        ("", 0o644, True),
        ("1000:100", stat.S_IFDIR | 0o600, False),
        ("1001", stat.S_IFDIR | 0o755, True),
    ],
)
def test_a_container_s_user_reads_what_its_number_is_given(user: str, mode: int, can: bool) -> None:
    found = os.stat_result((mode, 0, 0, 1, 1000, 100, 0, 0, 0, 0))
    assert permissions.can_read(user, found) == can


@pytest.fixture
def private(scratch: Scratch) -> Scratch:
    """Return a repository whose services mount files that only their owner can read."""
    services = """
services:
  mine: {user: "${APP_UID:-10001}", volumes: ["./own:/own:ro"]}
  other: {user: "65534", volumes: ["./seen:/seen:ro", "./kept:/kept", "./gone:/gone:ro"]}
"""
    scratch.write("compose.prod.yaml", services)
    names = ("own/file", "seen/open/file", "seen/shut/file", "seen/key.private.pem", "kept/file")
    for name in names:
        scratch.write(name, "").chmod(0o600)
    for path in (scratch.root / "own", scratch.root / "own/file"):
        os.chown(path, permissions.application_user(), -1)
    (scratch.root / "seen/shut").chmod(0o700)
    (scratch.root / "seen/open").chmod(0o755)
    (scratch.root / "seen").chmod(0o755)
    (scratch.root / "kept").chmod(0o700)
    (scratch.root / "seen/link").symlink_to("shut/file")
    return scratch


def unreadable(scratch: Scratch) -> list[str]:
    found = permissions.unreadable_mounts(scratch.root, "compose.prod.yaml")
    return [f"{mount.service} {path.relative_to(scratch.root)}" for mount, path in found]


def test_what_a_container_mounts_and_cannot_read_is_found_and_mended(private: Scratch) -> None:
    """What it writes to as well is not opened to everybody."""
    assert unreadable(private) == ["other seen/open/file", "other seen/shut", "other kept"]
    permissions.make_mounts_readable(private.root, "compose.prod.yaml")
    assert unreadable(private) == ["other kept"]
    assert (private.root / "seen/shut/file").stat().st_mode & 0o777 == 0o644
    for name in ("own/file", "seen/key.private.pem"):
        assert (private.root / name).stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_mended_is_refused_with_what_to_type(
    private: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path) -> None:
        raise PermissionError(str(path))

    monkeypatch.setattr(permissions, "make_readable", denied)
    with pytest.raises(Refused, match=r"other cannot read .*/seen/open/file, which is not yours"):
        permissions.make_mounts_readable(private.root, "compose.prod.yaml")
