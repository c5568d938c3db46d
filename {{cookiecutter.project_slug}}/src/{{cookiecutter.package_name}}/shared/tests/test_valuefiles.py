import logging
import os
import uuid
from pathlib import Path

import pytest
from pydantic import SecretStr

from .. import masking
from ..valuefiles import FileSecret, UnreadableError, named, read, read_all
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


def good(value: SecretStr) -> None:
    """Refuse what is not good."""
    if not value.get_secret_value().startswith("good"):
        raise ValueError("should be good")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "secret"
    made.write_text("good one\n")
    return made


@pytest.fixture
def secret(file: Path, caplog: pytest.LogCaptureFixture) -> FileSecret:
    caplog.set_level(logging.INFO)
    return FileSecret(file, "good one", good)


def replace(file: Path, content: str, *, seconds_ago: float = 0) -> None:
    """Put another file in its place, as the tasks do."""
    temporary = file.with_name("temporary")
    temporary.write_text(content)
    if seconds_ago:
        changed = temporary.stat().st_mtime - seconds_ago
        os.utime(temporary, (changed, changed))
    temporary.replace(file)


def test_the_newest_value_is_given(
    file: Path, secret: FileSecret, caplog: pytest.LogCaptureFixture
) -> None:
    assert secret.get_secret_value() == "good one"
    assert caplog.text == ""
    for value in ("good two", f"good {uuid.uuid4().hex}", "good one"):
        replace(file, f"{value}\n")
        assert secret.get_secret_value() == value
    assert caplog.text.count("using a new value") == 3
    assert "good" not in caplog.text


def test_a_change_in_place_at_the_same_time_is_seen(file: Path, secret: FileSecret) -> None:
    secret.get_secret_value()
    told = file.stat()
    file.write_text("good two\n")
    os.utime(file, ns=(told.st_atime_ns, told.st_mtime_ns))
    assert secret.get_secret_value() == "good two"


def test_a_file_that_did_not_change_is_read_once(
    file: Path, secret: FileSecret, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(file, "good two", seconds_ago=5)
    assert secret.get_secret_value() == "good two"
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it is read again"))
    assert secret.get_secret_value() == "good two"


@pytest.mark.parametrize(
    ("content", "reason"), [("half-a-secret", "should be good"), ("", "should be good")]
)
def test_what_is_not_good_leaves_the_value_before_and_is_said_once(
    file: Path, secret: FileSecret, caplog: pytest.LogCaptureFixture, content: str, reason: str
) -> None:
    replace(file, content)
    assert [secret.get_secret_value() for _ in range(3)] == ["good one"] * 3
    assert caplog.messages == [f"{file}: {reason}; the previous value is still used"]
    replace(file, "good two")
    assert secret.get_secret_value() == "good two"


def test_a_file_that_cannot_be_read_leaves_the_value_before_until_it_can(
    file: Path, secret: FileSecret, caplog: pytest.LogCaptureFixture
) -> None:
    file.unlink()
    assert [secret.get_secret_value() for _ in range(3)] == ["good one"] * 3
    assert caplog.messages == [
        f"{file}: No such file or directory; the previous value is still used"
    ]
    file.mkdir()
    assert secret.get_secret_value() == "good one"
    assert "cannot be read: Is a directory" in caplog.text
    file.rmdir()
    replace(file, "good two")
    assert secret.get_secret_value() == "good two"


def test_a_new_value_is_masked_even_if_it_is_not_good(file: Path, secret: FileSecret) -> None:
    for value in (f"good {uuid.uuid4().hex}", uuid.uuid4().hex):
        replace(file, value)
        secret.get_secret_value()
        assert masking.masked(value) == masking.MASK


def test_it_is_shown_as_any_secret(secret: FileSecret) -> None:
    assert "good" not in f"{secret} {secret!r}"
