"""The key that models are signed with: every model that it has signed is signed anew.

Both signatures stay beside a model until the next renewal, and whoever knows one of the two public
keys accepts it: also what still runs from an image with the one before.
"""

from __future__ import annotations

import base64
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

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
from slipway.secret.rotation import SIGNING
from slipway.secret.rotation.base import ACCEPT, CHECK, RETIRE, Renewal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slipway.models.registry import Model

PUBLIC = "MODELS_PUBLIC_KEY"
SETTINGS = "config/settings.yaml"
PAIR, SIGN, REPLACE = "pair", "sign", "replace"
NEW = ".new"
"""What the name of the new private key ends with, until it takes the place of the one before."""
BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----\n?", re.DOTALL)


class Signing(Renewal):
    """A renewal of the key that MODELS_SIGNING_KEY names, and of its public half."""

    steps: ClassVar[tuple[str, ...]] = (PAIR, ACCEPT, SIGN, REPLACE, CHECK, RETIRE)
    doing: ClassVar[Mapping[str, str]] = {}

    def refuse(self) -> None:
        """Find what stands against it."""
        self.private = named(SIGNING, os.environ.get(SIGNING, ""), self.project.root)
        said = os.environ.get(PUBLIC, "") or _setting(self.project.root, self.session.profile)
        self.public = named(PUBLIC, said, self.project.root)
        self.coming = self.private.with_name(self.private.name + NEW)
        self.old = private_key(self.private)
        self.kept: dict[Path, bytes | None] = {}
        """What each file held that was changed; None where there was none."""
        known = public_keys(self.public)
        if written(self.old.public_key()) not in known:
            what = f"{self.public} is not the other half of {self.private}"
            raise Refused(what, f"name the files that belong together: {SIGNING} and {PUBLIC}")

    def plan(self) -> Iterator[tuple[str, str]]:
        """Yield each step, and what it will do."""
        yield PAIR, f"a new Ed25519 pair; its private half is {self.coming}"
        yield ACCEPT, f"{self.public} holds both public keys"
        yield SIGN, f"{len(self._models())} models get a signature more"
        yield REPLACE, f"{self.coming.name} takes the place of {self.private.name}"
        yield CHECK, "each of them is verified with the new key alone"
        yield RETIRE, f"{self.public.name} holds the new one alone{self._images()}"

    def _images(self) -> str:
        """Say who goes on with the key before: images keep the public one they were built with."""
        inside = self.public.is_relative_to(self.project.root)
        return "; images built before trust the old one" if inside else ""

    def pair(self) -> str:
        """Make the new private key, or take the one that a try before has left."""
        if not self.coming.exists():
            self._keep(self.coming)
            key = Ed25519PrivateKey.generate()
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            files.replaced_privately(self.coming, pem)
        self.next = private_key(self.coming)
        return str(self.coming)

    def accept(self) -> str:
        """Have both public keys in the one file."""
        held = [written(self.next.public_key()), written(self.old.public_key())]
        self._replace(self.public, b"".join(held))
        return f"{self.public} holds both"

    def sign(self) -> str:
        """Sign what the key before has signed, after a look at that."""
        models = self._models()
        for model in models:
            said = model.file.with_suffix(".json").read_bytes()
            lines = [base64.b64encode(key.sign(said)) for key in (self.next, self.old)]
            self._replace(model.file.with_suffix(".sig"), b"".join(line + b"\n" for line in lines))
        left = len(registry.models(self.project.models)) - len(models)
        also = f"; {left} that it had not signed are as they were" if left else ""
        return f"{len(models)} models{also}"

    def replace(self) -> str:
        """Let the new private key be the one that training signs with."""
        self._keep(self.private)
        self.coming.replace(self.private)
        files.flush(self.private.parent)
        return str(self.private)

    def check(self) -> str:
        """Verify every model with the new key alone."""
        key = private_key(self.private).public_key()
        bad = [f"{one.tier} {one.version}" for one in self._signed_by(self.old.public_key())
               if not signed(one, key)]  # fmt: skip
        if bad:
            raise Refused(f"not signed with the new key: {', '.join(bad)}")
        return f"{len(self._signed_by(key))} models are"

    def retire(self) -> str:
        """Take the public key before out of the file."""
        self._replace(self.public, written(private_key(self.private).public_key()))
        return f"{self.public} holds the new one alone"

    def told(self) -> str:
        """Say what holds in the end."""
        return f"Models are signed with a new key.{self._next()}"

    def _next(self) -> str:
        return " Next: inv deploy.up" if self._images() else ""

    @property
    def resumed(self) -> bool:
        """Whether only the end is left: each step before finds by itself what is done already."""
        return False

    def _models(self) -> list[Model]:
        return self._signed_by(self.old.public_key())

    def _signed_by(self, key: Ed25519PublicKey) -> list[Model]:
        return [item for item in registry.models(self.project.models) if signed(item, key)]

    def _keep(self, path: Path) -> None:
        self.kept.setdefault(path, path.read_bytes() if path.exists() else None)

    def _replace(self, path: Path, content: bytes) -> None:
        """Write a file that others read, over what is there; it stays its owner's."""
        self._keep(path)
        with files.moved_to(path) as temporary:
            temporary.write_bytes(content)
            temporary.chmod(0o644)
        files.handed_over(path)

    def _undo(self) -> None:
        """Put back every file; a new one goes."""
        for path, content in reversed(self.kept.items()):
            if content is None:
                path.unlink(missing_ok=True)
            elif path == self.private:
                files.replaced_privately(path, content)
            else:
                self._replace(path, content)


def named(name: str, path: str, root: Path) -> Path:
    """Return the file that a variable names.

    Raises:
        Refused: it names none.
    """
    if not path:
        what = f"{name} is not set: it names the file of a key"
        raise Refused(what, f"{name}=... inv env.rotate {SIGNING}: docs/models.md", code=2)
    file = root / Path(path).expanduser()
    if not file.is_file():
        raise Refused(f"{name} names {path}, which is no file", f"set {name} right", code=2)
    return file


def _setting(root: Path, profile: str) -> str:
    """Return what the application's settings say of the public key."""
    sections = read_yaml(root / SETTINGS)
    held = [(sections.get(name) or {}).get("models_public_key") for name in (profile, "default")]
    return str(next(filter(None, held), ""))


def private_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        Refused: it is none of this kind.
    """
    with suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = load_pem_private_key(path.read_bytes(), None)
        if isinstance(key, Ed25519PrivateKey):
            return key
    raise Refused(f"{path} is no Ed25519 private key in PEM", "docs/models.md says how to make one")


def public_keys(path: Path) -> list[bytes]:
    """Read the public keys of a file, each as it is written."""
    found = []
    for block in BLOCK.findall(path.read_bytes()):
        with suppress(ValueError, UnsupportedAlgorithm):
            key = load_pem_public_key(block)
            if isinstance(key, Ed25519PublicKey):
                found.append(written(key))
    return found


def written(key: Ed25519PublicKey) -> bytes:
    """Write a public key."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signed(model: Model, key: Ed25519PublicKey) -> bool:
    """Tell whether one of the signatures beside a model is that of a key."""
    said, signatures = (model.file.with_suffix(suffix) for suffix in (".json", ".sig"))
    if not signatures.is_file():
        return False
    for line in signatures.read_bytes().splitlines():
        with suppress(InvalidSignature, ValueError):
            key.verify(base64.b64decode(line, validate=True), said.read_bytes())
            return True
    return False
