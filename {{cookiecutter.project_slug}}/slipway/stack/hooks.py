"""Programs of the user's in hooks/, run before or after a change.

Each is handed the journal's entry of the change as JSON. One that runs before a change can stop it;
what one that runs after it says is printed, and the change stands.
"""

from __future__ import annotations

import json
import os
from difflib import get_close_matches
from typing import TYPE_CHECKING

from slipway.core import journal, output, shell
from slipway.core.errors import Refused
from slipway.core.redaction import masked

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from slipway.core.transaction import Change

FOLDER = "hooks"
PRE_DEPLOY, POST_DEPLOY = "pre-deploy", "post-deploy"
POST_PROMOTE, POST_BACKUP = "post-promote", "post-backup"
NAMES = (PRE_DEPLOY, POST_DEPLOY, POST_PROMOTE, POST_BACKUP)
LIMIT = 300.0
"""Seconds that a hook may take."""


def run_before(name: str, change: Change) -> None:
    """Run a hook inside a change that has changed nothing yet, and let it stop the change.

    Raises:
        Refused: it exits with another code than 0, takes too long or cannot be run.
    """
    path = change.root / FOLDER / name
    begun = {"by": journal.who(), "verb": change.verb, "since": change.since, **change.facts}
    if path.exists():
        _run(path, begun, f"fix what it says, then: inv {change.verb}")


def run_after(name: str, change: Change) -> None:
    """Run a hook after a change, when others may change things again."""
    path = change.root / FOLDER / name
    if path.exists():
        try:
            _run(path, _recorded(change))
        except Refused as error:
            output.say(f"{error.what}\n{change.verb} stands.")


def _recorded(change: Change) -> dict[str, Any]:
    """Return the journal's entry of a change."""
    known = ("verb", change.verb), ("since", change.since)
    entries = reversed(journal.entries(change.root))
    return next(entry for entry in entries if all(entry.get(key) == is_ for key, is_ in known))


def _run(path: Path, entry: dict[str, Any], fix: str = "") -> None:
    """Run a hook in the repository's folder; its output is printed without secrets.

    Raises:
        Refused: it exits with another code than 0, takes too long or cannot be run.
    """
    shown = f"{FOLDER}/{path.name}"
    if not os.access(path, os.X_OK):
        raise Refused(f"{shown} is not executable", f"chmod +x {shown}")
    root = path.parent.parent
    text = masked(json.dumps(entry, default=str))
    with output.show_waiting(f"{shown} runs"):
        done = shell.attempt([str(path)], given=text, cwd=root, timeout=LIMIT, alone=True)
    said = [line for text in (done.out, done.err) for line in text.splitlines()]
    for line in said:
        output.say(f"  {shown}: {line}")
    if done.code:
        last = f": {said[-1]}" if said else ""
        raise Refused(f"{shown} failed with exit code {done.code}{last}", fix)


def misspelled_hooks(root: Path) -> dict[str, str]:
    """Return the files in hooks/ that nothing runs, but whose names are close to a hook's."""
    folder = root / FOLDER
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    close = {name: get_close_matches(name, NAMES, 1) for name in sorted({*names} - {*NAMES})}
    return {name: found[0] for name, found in close.items() if found}
