from __future__ import annotations

from typing import TYPE_CHECKING

from devtools.link_swaps import swaps

if TYPE_CHECKING:
    from pathlib import Path


def test_nobody_finds_a_link_missing_dangling_or_to_a_part(tmp_path: Path) -> None:
    seen = swaps(tmp_path, 500)
    assert seen["reads"] > 100
    assert (seen["missing"], seen["dangling"], seen["partial"]) == (0, 0, 0)
