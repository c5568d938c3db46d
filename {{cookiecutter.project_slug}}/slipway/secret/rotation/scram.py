"""What PostgreSQL keeps of a password (RFC 5803): it never has to be told the password itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

ITERATIONS = 4096
"""As many as PostgreSQL makes itself; the password is random, so more would add nothing."""


def verifier(password: str, salt: bytes = b"") -> str:
    """Return the SCRAM-SHA-256 secret of a password of ASCII signs, which need no preparation."""
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    stored = hashlib.sha256(_signed(salted, b"Client Key")).digest()
    server = _signed(salted, b"Server Key")
    return f"SCRAM-SHA-256${ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def _signed(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
