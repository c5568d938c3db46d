import os
from pathlib import Path

import pytest

from ..valuefiles import UnreadableError, named, read, read_all
from .conftest import refused


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("value", "value"),
        ("value\n", "value"),
        ("value\n\n", "value\n"),
        ("value\r\n", "value\r"),
        (" a b ", " a b "),
        ("Zürich $x # 'y'\n", "Zürich $x # 'y'"),
        ("", ""),
        ("\n", ""),
        (" \n\n", ""),
    ],
)
def test_a_value_is_the_content_without_its_last_newline(
    tmp_path: Path, content: str, value: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content.encode())
    assert read(file) == value


def test_a_file_that_is_no_text_is_refused_without_its_content(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"hush\xff")
    with pytest.raises(UnreadableError) as caught:
        read(file)
    assert str(caught.value) == "cannot be read: it is not UTF-8"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refused(lambda: read(tmp_path)) == "cannot be read: Is a directory"


def test_only_files_of_keys_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"A_FILE": "a", "b_file": "b", "C_FILE": " ", "D_FILE": "d"})
    assert named(["a", "b", "c"]) == {"a": Path("a"), "b": Path("b")}


def test_what_was_read_and_what_was_not_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, content in {"a": "one\n", "b": "\n"}.items():
        (tmp_path / key).write_text(content)
    for key in "abc":
        monkeypatch.setenv(f"{key.upper()}_FILE", str(tmp_path / key))
    files = read_all("abcd")
    assert files.values == {"a": "one"}
    assert files.wrong == {"c": "cannot be read: No such file or directory"}
    assert files.place("b") == f"{tmp_path}/b (B_FILE)"
