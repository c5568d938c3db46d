"""Signatures of models: Ed25519 over the bytes of a model's metadata.

The metadata contains the model's checksum, so the signature covers both. Run
`python -m <package>.signing keys FOLDER` to create a key pair.
"""

import argparse
import base64
import binascii
import os
import re
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from .shared.console import AppError, explain, run

COMMAND = f"PYTHONPATH=src python -m {__package__}.signing"
PRIVATE, PUBLIC = "models.private.pem", "models.public.pem"
BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


class SignatureError(AppError):
    """A key cannot be used, or a signature is missing or not by it."""


def sign(said: bytes, key_file: Path) -> bytes:
    """Return the signature of some bytes, as the text of a file."""
    try:
        key = load_pem_private_key(read(key_file), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SignatureError(f"{key_file} is not a private key in PEM format: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{key_file} is not an Ed25519 key; {advice()}")
    return base64.b64encode(key.sign(said)) + b"\n"


def verify(said: bytes, signature_file: Path, key_file: Path) -> None:
    """Raise SignatureError unless the bytes were signed with a key of a file.

    While the key is rotated, both files have a line or a block for the one before too: one
    signature by one key is enough.

    Raises SignatureError if there is no signature, or those of other keys or another text.
    """
    keys = public_keys(key_file)
    if not signature_file.exists():
        raise SignatureError(
            f"{signature_file} is missing, and models_public_key requires it: train the model with"
            " MODELS_SIGNING_KEY set to the file of the private key, or sign it where that is:"
            f" {COMMAND} sign {signature_file.with_suffix('.json')}"
        )
    signatures = read(signature_file).splitlines()
    if not any(is_signed(said, signature, key) for signature in signatures for key in keys):
        raise SignatureError(
            f"{signature_file} is not a signature by {key_file} of the metadata next to it:"
            " the metadata was changed, or signed with another key"
        )


def public_keys(key_file: Path) -> list[Ed25519PublicKey]:
    """Return the keys of a file of public keys; raises SignatureError if one cannot be used."""
    content = read(key_file)
    keys = []
    for block in BLOCK.findall(content) or [content]:
        try:
            key = load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SignatureError(
                f"{key_file} is not a public key in PEM format: {error}"
            ) from error
        if not isinstance(key, Ed25519PublicKey):
            raise SignatureError(f"{key_file} is not an Ed25519 key; {advice()}")
        keys.append(key)
    return keys


def is_signed(said: bytes, signature: bytes, key: Ed25519PublicKey) -> bool:
    """Return whether a line is a signature of these bytes."""
    try:
        key.verify(base64.b64decode(signature.strip(), validate=True), said)
    except (InvalidSignature, binascii.Error):
        return False
    return True


def read(file: Path) -> bytes:
    """Return what a file holds; raises SignatureError."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise SignatureError(f"cannot read {explain(error)}") from error


def make_keys(folder: Path) -> tuple[Path, Path]:
    """Create a key pair, the private key readable only by its owner; return the files.

    Raises SignatureError if one of them is there already.
    """
    private, public = folder / PRIVATE, folder / PUBLIC
    folder.mkdir(parents=True, exist_ok=True)
    for file in (private, public):
        if file.exists():
            raise SignatureError(
                f"{file} already exists, and models it signed need it: choose another folder"
            )
    key = Ed25519PrivateKey.generate()
    write(private, 0o600, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write(public, 0o644, pem)
    return private, public


def write(file: Path, mode: int, content: bytes) -> None:
    """Write a new file that is never readable to more than it should be."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
        opened.write(content)


def advice() -> str:
    return f"to create a key pair, run: {COMMAND} keys FOLDER"


def sign_models(metadata: list[Path], key_file: Path) -> None:
    """Sign models that were trained without the key, named by their metadata files.

    Raises ArtifactError if a model is not what its metadata say, SignatureError if a file
    is none of metadata, or cannot be read.
    """
    from . import artifacts  # noqa: PLC0415 - which verifies what is signed here

    for file in metadata:
        if file.suffix != ".json":
            raise SignatureError(f"{file} contains no metadata: pass models/<name>.json")
        known = artifacts.read(file.parent, next(iter(artifacts.beside(file)), file.name))
        artifacts.check(file.parent, known)
        artifacts.replace(file.with_suffix(artifacts.SIGNATURE), sign(read(file), key_file))
        artifacts.keep_names(file.parent)
        print(f"{known.tier} {known.version} is signed")


def main() -> None:
    parser = argparse.ArgumentParser(description="Create signing keys for models, and sign models.")
    commands = parser.add_subparsers(required=True, metavar="keys|sign")
    keys = commands.add_parser("keys", help="create a key pair")
    keys.add_argument("folder", type=Path, help="folder to create them in")
    models = commands.add_parser(
        "sign", help="sign a model that was trained without MODELS_SIGNING_KEY"
    )
    models.add_argument("metadata", type=Path, nargs="+", help="models/<name>.json")
    told = parser.parse_args()
    if "metadata" in told:
        named = os.environ.get("MODELS_SIGNING_KEY")
        if not named:
            raise SignatureError(f"MODELS_SIGNING_KEY names no private key; {advice()}")
        sign_models(told.metadata, Path(named).expanduser())
    else:
        private, public = make_keys(told.folder)
        print(f"{private}: keep it where models are trained: MODELS_SIGNING_KEY={private}")
        print(
            f"{public}: where they are served, models_public_key in config/settings.yaml names it"
        )


if __name__ == "__main__":
    run(main)
