from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from slipway.core import files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_what_root_makes_goes_to_the_owner_of_its_folder(tmp_path: Path) -> None:
    inside, other = tmp_path / "made" / "here", tmp_path / "other"
    inside.parent.mkdir()
    inside.touch()
    other.touch()
    os.chown(tmp_path, 12345, 23456)
    files.give_to_owner(inside.parent)
    owners = [(path.stat().st_uid, path.stat().st_gid) for path in (inside.parent, inside, other)]
    assert owners == [(12345, 23456), (12345, 23456), (0, 0)]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for text in ("first", "second"):
        files.replace_file(path, text)
        assert path.read_text() == text
    assert [item.name for item in tmp_path.iterdir()] == ["a"]


def write_half(path: Path) -> None:
    with files.replacing_file(path) as temporary:
        temporary.write_text("half")
        raise OSError("no room")


def test_what_was_there_stays_when_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("first")
    with pytest.raises(OSError, match="no room"):
        write_half(path)
    assert path.read_text() == "first"
    assert [item.name for item in tmp_path.iterdir()] == ["a"]


def test_a_link_is_moved_over_the_one_before(tmp_path: Path) -> None:
    link = tmp_path / "current"
    for target in ("one", "two"):
        files.replace_link(link, target)
        assert link.readlink().name == target
