from __future__ import annotations

import io
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slipway.core.errors import Refused
from slipway.secret import age as secret_age
from slipway.secret.age import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = bytes(range(256)) * 1000
WHAT = "the.tar.age"
AGE = shutil.which("age")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    secret_age.make_key(tmp_path / "key")
    return tmp_path / "key"


def recipient(key: Path) -> str:
    return key.read_text().splitlines()[1].removeprefix("# public key: ")


@pytest.fixture
def sealed(key: Path) -> bytes:
    file = io.BytesIO()
    secret_age.encrypt_blocks([TEXT[:5], TEXT[5:]], file, recipient(key))
    return file.getvalue()


def opened(content: bytes, identity: Path | None) -> bytes:
    file = io.BytesIO()
    secret_age.decrypt_blocks([content[:100], content[100:]], file, identity, WHAT)
    return file.getvalue()


def test_what_is_sealed_comes_out_as_it_went_in(key: Path, sealed: bytes) -> None:
    assert sealed.startswith(secret_age.BEGIN)
    assert TEXT[:100] not in sealed
    assert opened(sealed, key) == TEXT
    assert opened(TEXT, None) == TEXT


def test_the_measure_is_of_what_was_written(key: Path) -> None:
    for to in ("", recipient(key)):
        file = io.BytesIO()
        measure = secret_age.encrypt_blocks([TEXT], file, to)
        assert measure == secret_age.measure_blocks([file.getvalue()])


@pytest.mark.skipif(not AGE, reason="age is not installed")
def test_age_itself_opens_it_and_is_opened(key: Path, sealed: bytes) -> None:
    def age(given: bytes, *command: str) -> bytes:
        whole = [AGE or "age", *command]
        return subprocess.run(whole, input=given, capture_output=True, check=True).stdout

    assert age(sealed, "--decrypt", "--identity", str(key)) == TEXT
    assert opened(age(TEXT, "--recipient", recipient(key)), key) == TEXT


def test_a_key_is_private_and_never_written_over(key: Path) -> None:
    before = key.read_text()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert recipient(key).startswith("age1")
    with pytest.raises(Refused, match="exists; without its key"):
        secret_age.make_key(key)
    assert key.read_text() == before
    with pytest.raises(Refused, match="No such file"):
        secret_age.make_key(key.parent / "nowhere" / "key")


def test_without_its_key_it_stays_closed(tmp_path: Path, sealed: bytes) -> None:
    with pytest.raises(Refused, match=f"{WHAT} is encrypted.*\n  -> --identity FILE"):
        opened(sealed, None)
    secret_age.make_key(tmp_path / "other")
    with pytest.raises(Refused, match=f"other holds no key that decrypts {WHAT}"):
        opened(sealed, tmp_path / "other")
    with pytest.raises(Refused, match="gone: No such file"):
        opened(sealed, tmp_path / "gone")
    for text in ("", "hello", "AGE-SECRET-KEY-1xyz"):
        (tmp_path / "none").write_text(text)
        with pytest.raises(Refused, match="none holds no age secret key"):
            opened(sealed, tmp_path / "none")


def test_the_key_may_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(secret_age.IDENTITY, raising=False)
    assert secret_age.identity_file("") is None
    monkeypatch.setenv(secret_age.IDENTITY, "~/key")
    assert secret_age.identity_file("") == Path.home() / "key"
    assert secret_age.identity_file("other") == Path("other")


def test_a_text_can_be_encrypted_for_several(tmp_path: Path, key: Path) -> None:
    secret_age.make_key(tmp_path / "other")
    keys = [key, tmp_path / "other"]
    text = secret_age.encrypt_text(
        "V=é\n", [secret_age.parse_recipient(recipient(one)) for one in keys]
    )
    assert text.encode().startswith(secret_age.ARMOR)
    assert [opened(text.encode(), one).decode() for one in keys] == ["V=é\n"] * 2


def test_one_of_several_keys_is_enough(tmp_path: Path, key: Path, sealed: bytes) -> None:
    secret_age.make_key(tmp_path / "other")
    (tmp_path / "both").write_text((tmp_path / "other").read_text() + key.read_text())
    assert opened(sealed, tmp_path / "both") == TEXT


def test_damaged_anywhere_it_is_refused(key: Path, sealed: bytes) -> None:
    for size in (30, 150, 1000, 65_000, 70_000, len(sealed) - 1):
        with pytest.raises(Refused, match=f"{WHAT} is damaged"):
            opened(sealed[:size], key)
    for at in (300, 70_000, len(sealed) - 1):
        flipped = bytearray(sealed)
        flipped[at] ^= 1
        with pytest.raises(Refused, match=f"{WHAT} is damaged"):
            opened(bytes(flipped), key)
    with pytest.raises(Refused, match=f"{WHAT} is damaged"):
        opened(sealed + b"more", key)


class Full(io.BytesIO):
    """A disk that is full."""

    def write(self, _: object) -> int:
        raise OSError(28, "No space left on device")


def test_what_goes_wrong_at_either_end_is_told_as_it_was(key: Path, sealed: bytes) -> None:
    def interrupted() -> Iterator[bytes]:
        yield TEXT
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        secret_age.encrypt_blocks(interrupted(), io.BytesIO(), recipient(key))
    with pytest.raises(OSError, match="No space left"):
        secret_age.encrypt_blocks([TEXT], Full(), recipient(key))
    with pytest.raises(OSError, match="No space left"):
        secret_age.decrypt_blocks([sealed], Full(), key, WHAT)


@pytest.mark.parametrize("text", ["age1xyz", "hello", "ssh-ed25519 AAAA"])
def test_what_is_no_recipient_is_refused(text: str) -> None:
    with pytest.raises(Refused, match=f"is not an age recipient: '{text}'"):
        secret_age.parse_recipient(text)


def test_a_secret_key_in_place_of_a_recipient_is_not_printed(key: Path) -> None:
    secret = key.read_text().splitlines()[-1]
    with pytest.raises(Refused, match="holds a secret key, not a recipient") as caught:
        secret_age.parse_recipient(secret)
    assert secret not in str(caught.value)


def test_files_are_read_piece_by_piece(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(BLOCK + 1))
    assert [len(block) for block in secret_age.file_blocks(tmp_path / "x")] == [BLOCK, 1]
