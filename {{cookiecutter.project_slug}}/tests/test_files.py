from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ops import files

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for text in ("first", "second"):
        files.replaced(path, text)
        assert path.read_text() == text
    assert [item.name for item in tmp_path.iterdir()] == ["a"]


def write_half(path: Path) -> None:
    with files.moved_to(path) as temporary:
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
        files.linked(link, target)
        assert link.readlink().name == target
