from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
    assert journal.unreadable_lines(tmp_path) == [2]


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        "[1]",
        '{"verb": "x"}',
        '{"verb": ["x"], "at": "2026-11-01T00:00:00+00:00", "by": "me"}',
        '{"verb": "x", "at": "yesterday", "by": "me"}',
        f'{{"verb": "x", "at": {10**30}, "by": "me"}}',
    ],
)
def test_a_line_that_is_no_entry_is_passed_over(tmp_path: Path, line: str) -> None:
    journal.append(tmp_path, "first")
    with (tmp_path / journal.NAME).open("a") as file:
        file.write(f"{line}\n")
    journal.append(tmp_path, "second")
    assert [entry["verb"] for entry in journal.entries(tmp_path)] == ["first", "second"]
    assert journal.unreadable_lines(tmp_path) == [2]
