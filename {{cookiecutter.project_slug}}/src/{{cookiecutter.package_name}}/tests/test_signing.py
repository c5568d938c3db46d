import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from .. import artifacts, signing
from ..shared.tests.conftest import refused
from ..signing import SignatureError
from .conftest import module
from .test_artifacts import metadata


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return signing.make_keys(tmp_path / "keys")


@pytest.fixture
def signature(keys: tuple[Path, Path], tmp_path: Path) -> Path:
    file = tmp_path / "m.sig"
    file.write_bytes(signing.sign(b"said", keys[0]))
    return file


def test_what_was_signed_is_verified(keys: tuple[Path, Path], signature: Path) -> None:
    signing.verify(b"said", signature, keys[1])


def test_the_private_key_is_its_owner_s_alone(keys: tuple[Path, Path]) -> None:
    assert stat.S_IMODE(keys[0].stat().st_mode) == 0o600


def test_what_was_changed_is_refused(keys: tuple[Path, Path], signature: Path) -> None:
    message = refused(lambda: signing.verify(b"other", signature, keys[1]), SignatureError)
    assert message.startswith(f"{signature} is not a signature by {keys[1]} of the metadata")


@pytest.mark.parametrize("content", [b"", b"no base64!", b"AAAA"])
def test_what_is_no_signature_is_refused(
    keys: tuple[Path, Path], signature: Path, content: bytes
) -> None:
    signature.write_bytes(content)
    message = refused(lambda: signing.verify(b"said", signature, keys[1]), SignatureError)
    assert "is not a signature" in message


def test_while_a_key_is_renewed_either_signature_is_enough_for_either_key(
    keys: tuple[Path, Path], signature: Path, tmp_path: Path
) -> None:
    new = signing.make_keys(tmp_path / "new")
    both = tmp_path / "both.pem"
    both.write_bytes(new[1].read_bytes() + keys[1].read_bytes())
    signing.verify(b"said", signature, both)
    assert "another key" in refused(lambda: signing.verify(b"said", signature, new[1]))
    signature.write_bytes(signing.sign(b"said", new[0]) + signature.read_bytes())
    for public in (both, keys[1], new[1]):
        signing.verify(b"said", signature, public)
    both.write_bytes(both.read_bytes().replace(b"MCow", b"MCxw", 1))
    assert "in PEM" in refused(lambda: signing.verify(b"said", signature, both))


def test_a_missing_signature_is_said_with_what_to_do(
    keys: tuple[Path, Path], signature: Path
) -> None:
    signature.unlink()
    message = refused(lambda: signing.verify(b"said", signature, keys[1]), SignatureError)
    assert message.startswith(f"{signature} is missing, and models_public_key requires it: train")


def test_a_key_that_is_none_is_said(keys: tuple[Path, Path], signature: Path) -> None:
    other = generate_private_key(SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    keys[0].write_bytes(pem)
    assert "is not an Ed25519 key" in refused(lambda: signing.sign(b"said", keys[0]))
    keys[1].write_bytes(
        other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    assert "is not an Ed25519 key" in refused(lambda: signing.verify(b"said", signature, keys[1]))
    for key in keys:
        key.write_bytes(b"no key")
    assert "is not a private key in PEM" in refused(lambda: signing.sign(b"said", keys[0]))
    message = refused(lambda: signing.verify(b"said", signature, keys[1]), SignatureError)
    assert "is not a public key in PEM" in message
    for key in keys:
        key.unlink()
    assert "No such file" in refused(lambda: signing.sign(b"said", keys[0]))
    assert "No such file" in refused(lambda: signing.verify(b"said", signature, keys[1]))


def test_the_command_makes_a_pair_once(tmp_path: Path) -> None:
    done = module("signing", "keys", str(tmp_path / "keys"))
    assert done.returncode == 0, done.stderr
    private = tmp_path / "keys" / signing.PRIVATE
    assert f"MODELS_SIGNING_KEY={private}" in done.stdout
    before = private.read_bytes()
    again = module("signing", "keys", str(tmp_path / "keys"))
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith(f"error: {private} already exists")
    private.unlink()
    assert module("signing", "keys", str(tmp_path / "keys")).returncode == 1
    assert not private.exists()
    assert before


def test_the_command_signs_what_was_trained_without_a_key(
    keys: tuple[Path, Path], tmp_path: Path
) -> None:
    described, (private, public) = metadata(), keys
    artifacts.write(tmp_path, described, b"one")
    said = tmp_path / f"{Path(described.file).stem}.json"
    message = refused(lambda: artifacts.read(tmp_path, described.file, public))
    assert f"{signing.COMMAND} sign {said}" in message
    unset = module("signing", "sign", str(said), MODELS_SIGNING_KEY="")
    assert (unset.returncode, unset.stdout) == (1, "")
    assert "MODELS_SIGNING_KEY names no private key" in unset.stderr
    done = module("signing", "sign", str(said), MODELS_SIGNING_KEY=str(private))
    assert (done.returncode, done.stdout) == (0, "tier1 v1.0 is signed\n"), done.stderr
    assert artifacts.read(tmp_path, described.file, public) == described


def test_a_model_named_in_place_of_its_metadata_keeps_its_signature(
    keys: tuple[Path, Path], tmp_path: Path
) -> None:
    described, (private, public) = metadata(), keys
    artifacts.write(tmp_path, described, b"one", private)
    model = tmp_path / described.file
    message = refused(lambda: signing.sign_models([model], private), SignatureError)
    assert message == f"{model} contains no metadata: pass models/<name>.json"
    assert artifacts.read(tmp_path, described.file, public) == described


@pytest.mark.parametrize("lost", ["changed", "gone"])
def test_what_is_not_as_it_was_written_is_not_signed(
    keys: tuple[Path, Path], tmp_path: Path, lost: str
) -> None:
    described = metadata()
    artifacts.write(tmp_path, described, b"one")
    model = tmp_path / described.file
    model.write_bytes(b"two") if lost == "changed" else model.unlink()
    said = model.with_suffix(".json")
    refused(lambda: signing.sign_models([said], keys[0]), artifacts.ArtifactError)
    assert not model.with_suffix(artifacts.SIGNATURE).exists()
