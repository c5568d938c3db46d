from __future__ import annotations

import pytest

from slipway.tasks.options import after_dashes


@pytest.mark.parametrize(
    ("remainder", "typed", "words"),
    [
        ("", ["inv", "pipeline.run"], []),
        ("--note a b", ["inv", "pipeline.run", "--", "--note", "a b"], ["--note", "a b"]),
        ("--note 'a b'", ["something", "else"], ["--note", "a b"]),
    ],
)
def test_words_after_the_dashes_stay_what_they_were(
    remainder: str, typed: list[str], words: list[str]
) -> None:
    assert after_dashes(remainder, typed) == words
