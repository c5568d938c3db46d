from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from slipway.core import output
from slipway.core.errors import Refused
from tests.support.scratch import IN_PLACE

if TYPE_CHECKING:
    from pathlib import Path


def test_control_characters_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed may come from a manifest or a file's name."""
    output.say("a\x1b[2Jb\x9b1m\rc\u202ed\x00\ud800\te\nZürich 東京")
    shown = "a\\x1b[2Jb\\x9b1m\\rc\\u202ed\\x00\\ud800\te\nZürich 東京"
    assert capsys.readouterr().out == f"{shown}\n"
    refused = Refused("a\x1b[2J\r\nb", "c\x07")
    assert (refused.what, str(refused)) == ("a\\x1b[2J\nb", "a\\x1b[2J\nb\n  -> c\\x07")


def test_a_table_is_aligned_and_shows_nothing_as_a_dash() -> None:
    rows: list[dict[str, object]] = [{"name": "a", "value": 1.0}, {"name": "longer", "value": None}]
    assert output.format_table(rows) == "NAME    VALUE\na       1.000\nlonger  -"


def test_a_table_has_the_columns_of_all_rows() -> None:
    rows = [{"tier": "a", "rain": 1, "well": "yes"}, {"tier": "b", "carry": 2, "well": "no"}]
    assert output.merged_keys(rows) == ["tier", "rain", "carry", "well"]
    assert output.format_table(rows).splitlines()[2].split() == ["b", "-", "2", "no"]


def test_nested_metadata_fits_a_line() -> None:
    assert output.format_brief({"a": [1, 2], "b": {"c": 0.5}}) == "a: 1, 2, b: c: 0.500"


def test_a_question_without_anyone_to_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(Refused, match="--yes"):
        output.confirm("Drop it?", yes=False)
    output.confirm("Drop it?", yes=True)


@pytest.mark.parametrize(
    ("answer", "goes_on"), [("", False), ("n", False), ("y", True), ("YES", True)]
)
def test_the_default_answer_is_no(
    monkeypatch: pytest.MonkeyPatch, answer: str, *, goes_on: bool
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _question: answer)
    if goes_on:
        output.confirm("Drop it?", yes=False)
    else:
        with pytest.raises(Refused, match="nothing was changed"):
            output.confirm("Drop it?", yes=False)


def test_the_end_of_a_log_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert output.last_lines(log) == ""
    log.write_text("")
    assert "is empty" in output.last_lines(log)
    log.write_text("one\ntwo\nthree\n")
    assert output.last_lines(log, count=2) == f"last lines of {log}:\n  | two\n  | three"


def test_a_reader_that_has_seen_enough_gets_no_traceback() -> None:
    script = "from slipway.core import output\nfor _ in range(100_000): output.say('x' * 100)"
    command = f'{sys.executable} -c "{script}" | head -1'
    done = subprocess.run(
        ["/bin/sh", "-c", command], env=IN_PLACE, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("x" * 100 + "\n", "")
