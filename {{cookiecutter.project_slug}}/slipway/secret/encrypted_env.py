"""Env files that git may keep: encrypted for whoever env/recipients.txt names.

Any one of their secret keys opens them, so that a clone and a key are enough to deploy. What is
encrypted again always differs, even if its content does not: without a key nobody can tell.
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
    """Return the file that holds a profile's env file encrypted."""
    return project.encrypted_env_file(profile)


def encrypted_name(profile: str) -> str:
    """Name that file as people type it."""
    return f"env/{profile}.env{age.SUFFIX}"


def read_recipients(project: Project) -> list[Any]:
    """Return for whom env files are encrypted, as the library has them.

    Raises:
        Refused: nobody is named, or a line is no recipient.
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
        fix = f"inv env.keygen --to FILE, then its age1... as a line into {RECIPIENTS}"
        raise Refused(f"{RECIPIENTS} names nobody who could decrypt it", fix, code=2)
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
        raise Refused(f"{name} is not encrypted", f"git log -- {name} has the one before")
    text = BytesIO()
    age.decrypt_blocks([content], text, identity, name)
    try:
        found = text.getvalue().decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"{name} holds no UTF-8 text ({error})", "encrypt it anew") from None
    secret = {variable.name for variable in schema.read(project) if variable.is_secret}
    values = envfile.parsed(found).values
    redaction.learn(value for variable, value in values.items() if variable in secret)
    return found


def write_encrypted(project: Project, profile: str, text: str) -> int:
    """Encrypt the text of a profile's env file for git; return for how many.

    Raises:
        Refused: nobody is named who could decrypt it.
        OSError: it cannot be written; what was there is there still.
    """
    known, path = read_recipients(project), encrypted_path(project, profile)
    files.replace_file(path, age.encrypt_text(text, known))
    files.give_to_owner(path)
    return len(known)


def encrypt_env(project: Project, profile: str) -> int:
    """Encrypt a profile's env file for git, and make both equally old; return for how many.

    Raises:
        Refused: it is not there, or nobody is named who could decrypt it.
        OSError: it cannot be written; what was there is there still.
    """
    path = project.env_file(profile)
    at = path.stat().st_mtime_ns if path.exists() else 0  # before it is read: it may change then
    count = write_encrypted(project, profile, read_plain(project, profile))
    os.utime(encrypted_path(project, profile), ns=(at, at))
    return count


def renew_encrypted(project: Project, profile: str) -> bool:
    """Encrypt what a profile's env file is now, if git keeps it; tell whether it does.

    Raises:
        Refused: nobody is named who could decrypt it.
        OSError: it cannot be written; what was there is there still.
    """
    if not encrypted_path(project, profile).exists():
        return False
    encrypt_env(project, profile)
    return True


def read_plain(project: Project, profile: str) -> str:
    """Return the text of a profile's env file.

    Raises:
        Refused: it is not there, or cannot be read.
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
    """Write a profile's env file as it was encrypted; it is as old as that.

    Raises:
        OSError: it cannot be written; what was there is there still.
    """
    path, at = project.env_file(profile), encrypted_path(project, profile).stat().st_mtime_ns
    files.replace_private_file(path, text.encode("utf-8"))
    os.utime(path, ns=(at, at))


def age_difference(project: Project, profile: str) -> int:
    """Return how much later the env file was changed than the encrypted one, in nanoseconds.

    It is less than 0 where it was earlier, and 0 where one is missing. Only their times are
    compared: it takes a key to look into the one that is encrypted.
    """
    try:
        path, encrypted = project.env_file(profile), encrypted_path(project, profile)
        return path.stat().st_mtime_ns - encrypted.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def find_difference(project: Project, profile: str) -> tuple[str, str] | None:
    """Say which of the two was changed last, and what to type; None where both are equally old."""
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
    """Say for how many it is."""
    return "1 recipient" if count == 1 else f"{count} recipients"


def differing_names(one: str, other: str) -> list[str]:
    """Return the names of the variables that two env files do not set alike."""
    first, second = envfile.parsed(one).values, envfile.parsed(other).values
    names = sorted(first.keys() | second.keys())
    return [name for name in names if first.get(name) != second.get(name)]
