"""Editing an env file that git keeps encrypted, in the person's own editor.

The plain text is in a folder that nobody else can read, in memory if the machine has such a folder.
It is removed whatever happens, unless it could not be saved.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from slipway.config import check
from slipway.core import output, shell, transaction
from slipway.core.errors import Refused
from slipway.secret import encrypted_env

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway.core.project import Project

MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
VERB = "env.edit"
NOTHING = "nothing was changed"


class UnsavedError(Refused):
    """The edited text could not be saved, and is kept where it is."""


def edit_env(project: Project, profile: str, identity: Path | None) -> list[str] | None:
    """Let a person edit a profile's encrypted env file; return the names of changed variables.

    The list is empty if only comments changed; None means that nothing did. The env file itself is
    updated too, if it was the same as the encrypted one.

    Raises:
        Refused: it cannot be decrypted, edited or saved, or the person gave up.
        Exit: it was interrupted; the code is 130.
    """
    encrypted_env.read_recipients(project)  # checked before anybody edits in vain
    encrypted, path = encrypted_env.encrypted_path(project, profile), project.env_file(profile)
    before = encrypted_env.decrypt_env(project, profile, identity)
    seen = encrypted.read_bytes()
    follows = path.is_file() and encrypted_env.read_plain(project, profile) == before
    if path.is_file() and not follows:
        name = encrypted_env.encrypted_name(profile)
        output.say(f"  {path.name} differs from {name} and will stay as it is.")
    try:
        with transaction.interruptible(), _private(path.name, before) as file:
            after = _settled(project, profile, file, before)
            if after == before:
                return None
            names = encrypted_env.differing_names(before, after)
            with _kept(file), transaction.change(project.root, VERB, profile=profile, names=names):
                _refuse_changed(encrypted, seen)
                encrypted_env.write_encrypted(project, profile, after)
                if follows:
                    encrypted_env.write_plain(project, profile, after)
            return names
    except KeyboardInterrupt:
        raise Exit(f"interrupted: {NOTHING}", transaction.INTERRUPTED) from None


def _refuse_changed(encrypted: Path, seen: bytes) -> None:
    """Keep what somebody else saved in the meantime from being overwritten."""
    if encrypted.read_bytes() != seen:
        raise Refused(f"{encrypted.name} changed in the meantime", "edit it again")


@contextmanager
def _private(name: str, text: str) -> Iterator[Path]:
    """Yield a file with a text that nobody else can read; it is removed at the end."""
    within = MEMORY if os.access(MEMORY, os.W_OK | os.X_OK) else None
    folder, keep = Path(tempfile.mkdtemp(prefix="env-", dir=within)), False
    try:
        file = folder / name
        with os.fdopen(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as stream:
            stream.write(text.encode("utf-8"))
        yield file
    except UnsavedError:
        keep = True
        raise
    finally:
        if not keep:
            with transaction.uninterrupted():
                shutil.rmtree(folder)


@contextmanager
def _kept(file: Path) -> Iterator[None]:
    """Keep a file if its text cannot be saved, and say where it is."""
    try:
        yield
    except Refused as error:
        kept = f"your text is in {file} (remove it once you have saved it elsewhere)"
        raise UnsavedError(f"{error.what}\n  {kept}", error.fix, error.code) from error


def _settled(project: Project, profile: str, file: Path, before: str) -> str:
    """Return what a person wrote once it passes the checks.

    Raises:
        Refused: they gave up, or the editor failed.
    """
    while True:
        _open(project, file)
        try:
            text = file.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"{NOTHING}: {file.name} is no longer UTF-8 text ({error})") from error
        if text == before:
            return text
        found = check.check_text(project, profile, text)
        for item in found:
            output.say(f"  {item.state}: {item.detail}\n    -> {item.fix}")
        bad = sum(item.state == "fail" for item in found)
        if not bad:
            return text
        _ask_again(bad)


def _ask_again(count: int) -> None:
    """Ask whether to go back to the editor.

    Raises:
        Refused: the person gives up, or there is no terminal.
    """
    question = f"{_problems(count)} to fix. Edit again? [Y/n] "
    if not sys.stdin.isatty() or input(question).strip().lower() in {"n", "no"}:
        raise Refused(f"{NOTHING}: {_problems(count)} to fix")


def _open(project: Project, file: Path) -> None:
    """Run the person's editor.

    Raises:
        Refused: there is none, or it failed.
    """
    given = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not given and not sys.stdin.isatty():
        raise Refused("there is no terminal to edit in", "run it in a terminal", code=2)
    chosen = given or "vi"
    command = shlex.split(chosen)
    if not command or not shutil.which(command[0]):
        raise Refused(f"the editor {chosen!r} was not found", "export EDITOR=nano", code=2)
    before = signal.signal(signal.SIGINT, lambda *_: None)  # the editor handles Ctrl-C
    try:
        shell.run_interactively([*command, str(file)], cwd=project.root)
    except Refused as error:
        what = f"{NOTHING}: the editor {chosen!r} failed (exit code {error.code})"
        raise Refused(what) from error
    finally:
        signal.signal(signal.SIGINT, before)


def _problems(count: int) -> str:
    return "1 problem" if count == 1 else f"{count} problems"
