"""The key that signs models: every model that it has signed is signed again.

Both signatures stay beside a model until the next rotation, and either public key accepts it. So
what still runs from an image with the previous key goes on.
"""

from __future__ import annotations

import base64
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

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

from slipway.config.compose_file import read_yaml
from slipway.core import files
from slipway.core.errors import Refused
from slipway.models import registry
from slipway.secret.rotation.base import RotationStep, SecretRotation, count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway.models.registry import Model
    from slipway.secret.rotation.base import RotationRequest

SIGNING, PUBLIC = "MODELS_SIGNING_KEY", "MODELS_PUBLIC_KEY"
SETTINGS = "config/settings.yaml"
NEW = ".new"
"""The suffix of the new private key until it replaces the previous one."""
BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----\n?", re.DOTALL)


class SigningKeyRotation(SecretRotation):
    """Rotates the key that MODELS_SIGNING_KEY names, and its public half.

    No step is left out when an interrupted rotation is resumed: each finds what is done already.
    """

    def __init__(self, request: RotationRequest) -> None:
        """Check that the rotation is possible."""
        super().__init__(request)
        root = self.project.root
        self.private = key_file(SIGNING, os.environ.get(SIGNING, ""), root)
        public = os.environ.get(PUBLIC, "") or _public_setting(root, self.session.profile)
        self.public = key_file(PUBLIC, public, root)
        self.coming = self.private.with_name(self.private.name + NEW)
        self.old = self.new = read_private_key(self.private)
        """The new key is another one from the first step on."""
        self.replaced: dict[Path, bytes | None] = {}
        """What each changed file held before; None for a new one."""
        if public_pem(self.old.public_key()) not in read_public_keys(self.public):
            what = f"{self.public} does not belong to {self.private}"
            raise Refused(what, f"name the files of one pair: {SIGNING} and {PUBLIC}")

    def plan_steps(self) -> Iterator[RotationStep]:
        """Yield the steps in order."""
        signed = count_of(len(self._signed_by(self.old.public_key())), "model")
        coming, public = self.coming, self.public
        yield RotationStep("pair", f"a new Ed25519 pair; its private key: {coming}", self.make_pair)
        yield RotationStep(
            "accept", f"{public} holds both public keys", self.accept_both, changes=True
        )
        yield RotationStep("sign", f"a second signature for {signed}", self.sign_models)
        yield RotationStep(
            "replace", f"{coming.name} replaces {self.private.name}", self.replace_key
        )
        yield RotationStep("check", "the new key alone verifies each", self.check_models)
        yield RotationStep(
            "retire", f"{public.name} holds only the new key{self._image_note()}", self.retire_key
        )

    def _image_note(self) -> str:
        """Say that images keep the public key they were built with."""
        inside = self.public.is_relative_to(self.project.root)
        return "; images built before trust the old one" if inside else ""

    def make_pair(self) -> str:
        """Make the new private key, or take the one that an interrupted rotation left."""
        if not self.coming.exists():
            self._remember(self.coming)
            pem = Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            )
            files.replace_private_file(self.coming, pem)
        self.new = read_private_key(self.coming)
        return str(self.coming)

    def accept_both(self) -> str:
        """Put both public keys into the one file."""
        keys = [public_pem(key.public_key()) for key in (self.new, self.old)]
        self._replace_public(self.public, b"".join(keys))
        return f"{self.public} holds both"

    def sign_models(self) -> str:
        """Sign what the previous key has signed, once its signature is verified."""
        models = self._signed_by(self.old.public_key())
        for model in models:
            metadata = model.file.with_suffix(".json").read_bytes()
            lines = [base64.b64encode(key.sign(metadata)) + b"\n" for key in (self.new, self.old)]
            self._replace_public(model.file.with_suffix(".sig"), b"".join(lines))
        left = len(registry.list_models(self.project.models)) - len(models)
        more = f"; {left} that it had not signed are unchanged" if left else ""
        return f"{count_of(len(models), 'model')}{more}"

    def replace_key(self) -> str:
        """Let training sign with the new private key."""
        self._remember(self.private)
        self.coming.replace(self.private)
        files.flush_to_disk(self.private.parent)
        return str(self.private)

    def check_models(self) -> str:
        """Verify every model with the new key alone."""
        key = read_private_key(self.private).public_key()
        signed = self._signed_by(self.old.public_key())
        if bad := [f"{one.tier} {one.version}" for one in signed if not is_signed_by(one, key)]:
            raise Refused(f"not signed with the new key: {', '.join(bad)}")
        return f"{count_of(len(self._signed_by(key)), 'model')} verified"

    def retire_key(self) -> str:
        """Take the previous public key out of the file."""
        key = read_private_key(self.private).public_key()
        self._replace_public(self.public, public_pem(key))
        return f"{self.public} holds only the new one"

    @property
    def outcome(self) -> str:
        """What to print once the rotation is done."""
        then = " Next: inv deploy.up" if self._image_note() else ""
        return f"Models are signed with a new key.{then}"

    def _signed_by(self, key: Ed25519PublicKey) -> list[Model]:
        return [
            item for item in registry.list_models(self.project.models) if is_signed_by(item, key)
        ]

    def _remember(self, path: Path) -> None:
        self.replaced.setdefault(path, path.read_bytes() if path.exists() else None)

    def _replace_public(self, path: Path, content: bytes) -> None:
        """Replace a file that others read; its owner stays the same."""
        self._remember(path)
        with files.replacing_file(path) as temporary:
            temporary.write_bytes(content)
            temporary.chmod(0o644)
        files.give_to_owner(path)

    def undo(self) -> None:
        """Put back every file; a new one is removed."""
        for path, content in reversed(self.replaced.items()):
            if content is None:
                path.unlink(missing_ok=True)
            elif path == self.private:
                files.replace_private_file(path, content)
            else:
                self._replace_public(path, content)


def key_file(name: str, path: str, root: Path) -> Path:
    """Return the file that a variable names.

    Raises:
        Refused: it names none.
    """
    if not path:
        how = f"{name}=... inv env.rotate {SIGNING} (see services/api/models.md)"
        raise Refused(f"{name} is not set; it names the file of a key", how, code=2)
    file = root / Path(path).expanduser()
    if not file.is_file():
        raise Refused(f"{name} names {path}, which is not a file", f"correct {name}", code=2)
    return file


def _public_setting(root: Path, profile: str) -> str:
    """Return the public key's file by the application's settings."""
    sections = read_yaml(root / SETTINGS)
    held = [(sections.get(name) or {}).get("models_public_key") for name in (profile, "default")]
    return str(next(filter(None, held), ""))


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        Refused: the file holds none.
    """
    with suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = load_pem_private_key(path.read_bytes(), None)
        if isinstance(key, Ed25519PrivateKey):
            return key
    what = f"{path} is not an Ed25519 private key in PEM"
    raise Refused(what, "make one as services/api/models.md describes")


def read_public_keys(path: Path) -> list[bytes]:
    """Read the public keys of a file, each as PEM."""
    found = []
    for block in BLOCK.findall(path.read_bytes()):
        with suppress(ValueError, UnsupportedAlgorithm):
            key = load_pem_public_key(block)
            if isinstance(key, Ed25519PublicKey):
                found.append(public_pem(key))
    return found


def public_pem(key: Ed25519PublicKey) -> bytes:
    """Write a public key as PEM."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def is_signed_by(model: Model, key: Ed25519PublicKey) -> bool:
    """Tell whether one of the signatures beside a model is by a key."""
    metadata, signatures = (model.file.with_suffix(suffix) for suffix in (".json", ".sig"))
    if not signatures.is_file():
        return False
    for line in signatures.read_bytes().splitlines():
        with suppress(InvalidSignature, ValueError):
            key.verify(base64.b64decode(line, validate=True), metadata.read_bytes())
            return True
    return False
