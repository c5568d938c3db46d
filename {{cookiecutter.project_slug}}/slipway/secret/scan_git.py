"""Secrets that git keeps, staged or in any commit.

Git prints its objects, and they are searched here: every user of the machine can read the
arguments of a command.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from slipway.core import shell
from slipway.core.errors import Finding, Refused
from slipway.core.redaction import SHORTEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from slipway.core.project import Project

LARGEST = 4 * 1024**2
"""Bytes; larger objects are data, and would take too long."""
QUICK, THOROUGH = 5.0, 60.0
"""Seconds that the search may take: before every deployment, and when asked for."""
ASKED = 30.0
"""Seconds that one question to git may take."""


@dataclass(frozen=True)
class GitSearch:
    """Where values were found."""

    found: Mapping[str, str]
    """The first place of each value that was found, by variable."""
    left_out: str = ""
    """Why something was not searched; empty if everything was."""


def is_tracked(root: Path, name: str) -> bool:
    """Tell whether git tracks a file."""
    return bool(_said(root, "ls-files", "--", name))


def checks(
    project: Project, profile: str, secrets: Mapping[str, str], limit: float
) -> Iterator[Finding]:
    """Yield the env file if git tracks it, and the secrets that git keeps.

    A value that was ever committed is no longer a secret.
    """
    name = project.env_file(profile).name
    if is_tracked(project.root, name):
        fix = f"git rm --cached {name}, then replace every secret in it"
        yield Finding("file", "fail", f"git tracks {name}", fix)
    found = search_git(project.root, secrets, limit)
    for variable, place in found.found.items():
        detail = f"the value of {variable} is in git: {place}"
        yield Finding("git", "fail", detail, f"replace {variable}: git keeps the old value")
    if found.left_out:
        detail = f"git was not searched completely for secrets: {found.left_out}"
        fix = f"inv env.check --profile {profile}, which searches longer"
        yield Finding("git", "warn", detail, fix if limit < THOROUGH else "git status")


def search_git(root: Path, values: Mapping[str, str], limit: float) -> GitSearch:
    """Search all that git keeps for values, for about `limit` seconds.

    Outside a repository, nothing is found.
    """
    long = {name: value.encode() for name, value in values.items() if len(value) >= SHORTEST}
    if not long or not (_said(root, "rev-parse", "--git-dir") or (root / ".git").exists()):
        return GitSearch({})
    try:
        objects, complete = _holding(root, long, limit)
    except Refused as error:
        return GitSearch({}, error.what.splitlines()[0])
    found = {name: _place(root, *where) for name, where in objects.items()}
    return GitSearch(found, "" if complete else f"it takes longer than {limit:.0f} s")


def _holding(
    root: Path, values: Mapping[str, bytes], limit: float
) -> tuple[dict[str, tuple[str, str]], bool]:
    """Return the first object with each value, and whether all objects were searched."""
    found: dict[str, tuple[str, str]] = {}
    with tempfile.TemporaryFile() as wanted:
        wanted.write("".join(f"{id_}\n" for id_ in _objects(root, limit)).encode())
        wanted.seek(0)
        command = ["git", "cat-file", "--batch", "--buffer"]
        with shell.stream_output(command, cwd=root, given=wanted, timeout=limit) as process:
            for id_, kind, content in _read(process.stdout):
                for name, value in values.items():
                    if value in content:
                        found.setdefault(name, (id_, kind))
        return found, process.returncode == 0


def _objects(root: Path, limit: float) -> Iterator[str]:
    """List the objects that may hold text: all but folders and very large ones."""
    form = "--batch-check=%(objectname) %(objecttype) %(objectsize)"
    command = ["git", "cat-file", "--batch-all-objects", form]
    for line in shell.read(command, cwd=root, timeout=limit).splitlines():
        id_, kind, size = line.split()
        if kind != "tree" and int(size) <= LARGEST:
            yield id_


def _read(stream: IO[bytes] | None) -> Iterator[tuple[str, str, bytes]]:
    """Parse the output of `git cat-file --batch`, which may end anywhere."""
    while stream and (head := stream.readline().split())[2:]:
        yield head[0].decode(), head[1].decode(), stream.read(int(head[2]))
        stream.read(1)


def _place(root: Path, id_: str, kind: str) -> str:
    """Say where a person finds an object."""
    if kind != "blob":
        return f"the message of {kind} {id_[:10]}"
    for line in _said(root, "ls-files", "--stage").splitlines():
        facts, _, path = line.partition("\t")
        if id_ in facts:
            return f"{path}, which git tracks"
    form = ("--max-count=1", "--format=%h", "--name-only")
    commit, *paths = _said(root, "log", "--all", f"--find-object={id_}", *form).split("\n", 1)
    if paths:
        return f"{paths[0].strip()} of commit {commit}"
    return f"object {id_[:10]}, which is on no branch but still in git"


def _said(root: Path, *arguments: str) -> str:
    """Return what git prints; nothing outside a repository, or without git."""
    command = ["git", "-c", "core.quotePath=false", *arguments]
    try:
        return shell.read(command, cwd=root, timeout=ASKED).strip()
    except Refused:
        return ""
