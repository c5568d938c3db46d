from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ops import journal

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


@pytest.mark.parametrize(
    ("error", "outcome"), [(KeyboardInterrupt, "interrupted"), (ValueError, "failed")]
)
def test_how_a_change_ended_is_recorded(
    tmp_path: Path, error: type[BaseException], outcome: str
) -> None:
    with pytest.raises(error), journal.recorded(tmp_path, "change"):
        raise error
    with journal.recorded(tmp_path, "change"):
        pass
    assert [entry["outcome"] for entry in journal.entries(tmp_path)] == [outcome, "done"]
