from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.core import journal

if TYPE_CHECKING:
    from pathlib import Path


def test_entries_are_appended_with_who_and_when(tmp_path: Path) -> None:
    assert journal.entries(tmp_path) == []
    journal.append(tmp_path, "first", to="v1.0")
    journal.append(tmp_path, "second")
    first, second = journal.entries(tmp_path)
    assert (first["verb"], first["to"], second["verb"]) == ("first", "v1.0", "second")
    assert "@" in first["by"]
    assert first["at"] <= second["at"]


def test_a_torn_line_harms_no_other(tmp_path: Path) -> None:
    journal.append(tmp_path, "first")
    with (tmp_path / journal.NAME).open("a") as file:
        file.write('{"verb": "tor')
    journal.append(tmp_path, "second")
    assert [entry["verb"] for entry in journal.entries(tmp_path)] == ["first", "second"]
