"""Env files that git may keep, encrypted for the recipients in env/recipients.txt.

Any one of their secret keys decrypts them, so a clone and a key are enough to deploy. Encrypting
the same content again gives a different file: without a key nobody can tell whether it changed.
"""

from __future__ import annotations

import os
from io import BytesIO
from typing import TYPE_CHECKING, Any

from slipway.config import envfile, schema
from slipway.config import values as config_values
from slipway.core import files, redaction
from slipway.core.errors import Finding, Refused
from slipway.secret import age

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slipway.core.project import Project

RECIPIENTS = "env/recipients.txt"


def encrypted_path(project: Project, profile: str) -> Path:
    """Return the path of a profile's encrypted env file."""
    return project.encrypted_env_file(profile)


def encrypted_name(profile: str) -> str:
    """Return that path as people type it."""
    return f"env/{profile}.env{age.SUFFIX}"


def read_recipients(project: Project) -> list[Any]:
    """Return the recipients of env files, as the library's objects.

    Raises:
        Refused: there is none, or a line is not a recipient.
    """
    try:
        text = (project.root / RECIPIENTS).read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{RECIPIENTS}: cannot be read ({error})", f"edit {RECIPIENTS}") from error
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    named = {line: number for number, line in reversed([*enumerate(lines, 1)]) if line}
    if not named:
        fix = (
            f"inv env.keygen --to FILE, then add its age1... to {RECIPIENTS}, on a line of its own"
        )
        raise Refused(f"{RECIPIENTS} lists no one who could decrypt it", fix, code=2)
    return [age.parse_recipient(line, f"{RECIPIENTS}:{at}") for line, at in sorted(named.items())]


def decrypt_env(project: Project, profile: str, identity: Path | None) -> str:
    """Return the text of a profile's env file, decrypted.

    Raises:
        Refused: it is not there, not encrypted or damaged, or the key does not open it.
    """
    path, name = encrypted_path(project, profile), encrypted_name(profile)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise Refused(f"there is no {name}", f"inv env.encrypt --profile {profile}") from None
    except OSError as error:
        raise Refused(f"{name}: {error.strerror}", f"make {name} readable") from error
    if not content.startswith((age.ARMOR, age.BEGIN)):
        raise Refused(f"{name} is not encrypted", f"git log -- {name} lists its earlier versions")
    text = BytesIO()
    age.decrypt_blocks([content], text, identity, name)
    try:
        found = text.getvalue().decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"{name} is not UTF-8 text ({error})", "encrypt it again") from None
    secret = {variable.name for variable in schema.read(project) if variable.is_secret}
    values = envfile.parsed(found).values
    redaction.remember_secrets(value for variable, value in values.items() if variable in secret)
    return found


def write_encrypted(project: Project, profile: str, text: str) -> int:
    """Encrypt a text as a profile's env file for git; return the number of recipients.

    Raises:
        Refused: there is no recipient.
        OSError: it cannot be written; the previous file is unchanged.
    """
    known, path = read_recipients(project), encrypted_path(project, profile)
    files.replace_file(path, age.encrypt_text(text, known))
    files.give_to_owner(path)
    return len(known)


def encrypt_env(project: Project, profile: str) -> int:
    """Encrypt a profile's env file for git, with the same time; return the number of recipients.

    Raises:
        Refused: it does not exist, or there is no recipient.
        OSError: it cannot be written; the previous file is unchanged.
    """
    path = project.env_file(profile)
    at = (
        path.stat().st_mtime_ns if path.exists() else 0
    )  # before it is read, as it may change meanwhile
    count = write_encrypted(project, profile, read_plain(project, profile))
    os.utime(encrypted_path(project, profile), ns=(at, at))
    return count


def renew_encrypted(project: Project, profile: str) -> bool:
    """Encrypt a profile's env file again if git keeps it; tell whether it does.

    Raises:
        Refused: there is no recipient.
        OSError: it cannot be written; the previous file is unchanged.
    """
    if not encrypted_path(project, profile).exists():
        return False
    encrypt_env(project, profile)
    return True


def read_plain(project: Project, profile: str) -> str:
    """Return the text of a profile's env file.

    Raises:
        Refused: it does not exist, or cannot be read.
    """
    path = project.env_file(profile)
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise Refused(f"there is no {path.name}", f"inv env.init --profile {profile}") from None
    except (OSError, UnicodeDecodeError) as error:
        what = f"{path.name}: cannot be read as UTF-8 text ({error})"
        raise Refused(what, f"edit {path.name}") from error


def write_plain(project: Project, profile: str, text: str) -> None:
    """Write a profile's env file as it was encrypted, with the same time.

    Raises:
        OSError: it cannot be written; the previous file is unchanged.
    """
    path, at = project.env_file(profile), encrypted_path(project, profile).stat().st_mtime_ns
    files.replace_private_file(path, text.encode("utf-8"))
    os.utime(path, ns=(at, at))


def age_difference(project: Project, profile: str) -> int:
    """Return by how many nanoseconds the env file is newer than the encrypted one.

    It is negative if the env file is older, and 0 if one of them is missing. Only their times are
    compared, as it takes a key to read the encrypted one.
    """
    try:
        path, encrypted = project.env_file(profile), encrypted_path(project, profile)
        return path.stat().st_mtime_ns - encrypted.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def find_difference(project: Project, profile: str) -> tuple[str, str] | None:
    """Say which of the two is newer, and what to type; None if neither is."""
    name, by = project.env_file(profile).name, age_difference(project, profile)
    if by > 0:
        return (
            f"{name} is newer than {encrypted_name(profile)}",
            f"inv env.encrypt --profile {profile}",
        )
    return (
        (f"{encrypted_name(profile)} is newer than {name}", config_values.how_to_decrypt(profile))
        if by
        else None
    )


def checks(project: Project, profile: str) -> Iterator[Finding]:
    """Yield the difference between what git keeps encrypted and the env file in use."""
    if found := find_difference(project, profile):
        yield Finding("sealed", "warn", *found)


def count_recipients(count: int) -> str:
    """Write how many recipients there are."""
    return "1 recipient" if count == 1 else f"{count} recipients"


def differing_names(one: str, other: str) -> list[str]:
    """Return the names of the variables that differ between two env files."""
    first, second = envfile.parsed(one).values, envfile.parsed(other).values
    names = sorted(first.keys() | second.keys())
    return [name for name in names if first.get(name) != second.get(name)]
