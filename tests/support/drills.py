"""What tests of drills share: the repository that one is made in, and what it leaves."""

from __future__ import annotations

import hashlib
import re
import subprocess
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from slipway.backup import drill as backup_drill
from slipway.core import journal
from tests.support import restores

if TYPE_CHECKING:
    from pathlib import Path


class Stack(restores.Stack):
    """A stack beside which drills are made."""

    def drill(self, *arguments: str, code: int = 0) -> str:
        return self.copy.inv("backup.drill", *arguments, code=code)

    def drill_but(self, step: str, command: str, *arguments: str) -> tuple[int, str]:
        """Make a drill, and run a command right before a step; return exit code and output."""
        done = self.typed_but(step, command, "backup.drill", *arguments)
        return done.returncode, done.stdout + done.stderr

    @property
    def folders(self) -> list[Path]:
        """The scratch stacks that are there."""
        return sorted((self.copy.root / "run" / "drill").glob("*"))

    @property
    def entry(self) -> dict[str, Any]:
        """What the journal says of the last drill that it knows the end of."""
        found = [one for one in journal.entries(self.copy.root) if one["verb"] == backup_drill.VERB]
        return found[-1]

    def untouched(self) -> str:
        """Digest what a drill must not change, and say what runs."""
        root, digest = self.copy.root, hashlib.sha256()
        places = [*root.glob(".env.*"), *root.glob("models/*"), *root.glob("backups/**/*")]
        for path in sorted(path for path in places if path.is_file()):
            digest.update(f"{path} {path.resolve()}\0".encode() + path.read_bytes())
        running = {
            name: re.sub(r"up .*", "", item["detail"]) for name, item in self.copy.status().items()
        }
        return f"{digest.hexdigest()} {running}"


def name_in(said: str) -> str:
    """Return what a drill called its stack."""
    (name,) = re.findall(r"^backup\.drill: .*, as (\S+)$", said, re.MULTILINE)
    return str(name)


def end_as_told(stack: Stack, said: str) -> None:
    """Type what ends a stack that was kept."""
    lines = said.partition("The next drill removes it. To remove it now:\n")[2].splitlines()
    typed = "\n".join(takewhile(lambda line: line.startswith("  "), lines))
    subprocess.run(f"set -e\n{typed}", shell=True, cwd=stack.copy.root, check=True)  # noqa: S602
