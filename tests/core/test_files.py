from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import pytest

from devtools.bake import TEMPLATE
from slipway.core import files

if TYPE_CHECKING:
    from pathlib import Path

SLIPWAY = TEMPLATE / "slipway"


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


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        (f'{{"a": {"[" * 100}{"]" * 100}}}', "nested too deeply"),
        ('{"a": 1e999}', "out of range"),
        ('{"a": [NaN]}', "out of range"),
        ('{"a": -Infinity}', "out of range"),
        (f'{{"a": {10**30}}}', "out of range"),
        (f'{{"a": {"9" * 5000}}}', "integer string conversion"),
        ("[1]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("", "Expecting value"),
        (b"\xff\xff", "decode"),
    ],
)
def test_json_that_nobody_here_writes_is_an_error_like_any_other(
    tmp_path: Path, text: str | bytes, wrong: str
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ValueError, match=wrong):
        files.read_json(path)


def test_json_that_is_written_here_is_read(tmp_path: Path) -> None:
    said = {"a": [{"b": [-(2**63), 1.5e300, True, None, "x"]}], "c": {}}
    (tmp_path / "a.json").write_text(json.dumps(said))
    assert files.read_json(tmp_path / "a.json") == said


def test_files_are_read_in_one_way_only() -> None:
    """JSON has one reader that trusts nothing; a value in JSON is masked whatever it holds."""
    elsewhere = {
        path.relative_to(SLIPWAY).as_posix()
        for path in SLIPWAY.rglob("*.py")
        if re.search(r"\bjson\.loads?\(|\byaml\.(safe_)?load\(", path.read_text(encoding="utf-8"))
    }
    known = {"core/files.py", "core/redaction.py", "config/compose_file.py"}
    assert elsewhere == known | {"secret/rotation/probe.py"}  # in a container, of its own task
