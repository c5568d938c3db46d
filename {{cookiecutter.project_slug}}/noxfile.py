"""Checks of this repository: `nox -s ci` runs all that this machine can."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # nox does not, and slipway/ is found there

from slipway.ci import linters, summary  # noqa: E402 - after the path is set
from slipway.core import project  # noqa: E402 - the same

REPORTS = ROOT / "reports"
PROFILES = ("compose.yaml", "compose.staging.yaml", "compose.prod.yaml")
WITHOUT_ENGINE = ("lint", "types", "tests", "smoke", "backtest")
WITH_ENGINE = ("images", "harness")
NEEDED = {"smoke": "tests/smoke.py", "backtest": "src/*/backtest.py", "harness": "tests/scenarios"}
"""The files that a session is about; without them it is left out."""
IN_CI = {"harness": ("--only", "verify,scenarios")}  # the tests have run by then

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests"]


def install(session: nox.Session, *, compiled: bool = False) -> None:
    """Install the locked packages; compiled, they take longer to install and import much faster."""
    session.env["UV_COMPILE_BYTECODE"] = str(int(compiled))
    session.install("--require-hashes", "-r", "requirements-dev.txt")


def install_extras(session: nox.Session) -> None:
    """Install with pip what no lock can hold, such as torch for this machine; tests skip it."""
    files = found("services/*/transformers.txt", "services/*/torch.txt")
    if not files:
        return
    if not importlib.util.find_spec("pip"):
        session.warn(f"left out the packages of {', '.join(files)}: this Python has no pip")
        return
    where = session.run("python", "-c", "import sys; print(sys.executable)", silent=True)
    options = ["--quiet", "--disable-pip-version-check", "--python", str(where).strip()]
    for file in files:
        session.run(sys.executable, "-m", "pip", *options, "install", "-r", file, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check code, Dockerfiles, compose files, workflows and scripts; search for secrets."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("hadolint", *found("Dockerfile", "services/*/Dockerfile"))
    composed = linters.compose_profiles(session, ROOT, PROFILES)
    session.run(
        *("compose-lint", "check", "--fail-on", "low", "--skip-suppressed", "--quiet"),
        *("--no-env", "--config", ".compose-lint.yaml", *PROFILES, *composed),
    )
    workflows = found(".github/workflows/*.yml")
    session.run("zizmor", "--offline", "-qp", *workflows, *found(".github/dependabot.yml"))
    linters.run_actionlint(session, ROOT, workflows)
    if scripts := found("*.sh", "services/**/*.sh"):
        session.run("shellcheck", *scripts)
    linters.search_secrets(session, ROOT)


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session)
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, in as many processes as there are cores; what follows -- goes to pytest."""
    install(session, compiled=True)
    install_extras(session)
    report = REPORTS / "tests.xml"
    report.unlink(missing_ok=True)
    side_by_side = ("--numprocesses=auto", "--dist=loadfile")  # a module stays in one process
    session.run("pytest", *side_by_side, f"--junitxml={report}", *session.posargs)


@nox.session
def smoke(session: nox.Session) -> None:
    """Train on few rows, serve, predict: as processes, on ports of their own."""
    summary.require_files(session, ROOT, NEEDED["smoke"])
    install(session)
    session.run("python", "-m", "tests.smoke")


@nox.session
def backtest(session: nox.Session) -> None:
    """Judge every tier from a few origins in time; one must beat the baselines."""
    summary.require_files(session, ROOT, NEEDED["backtest"])
    install(session)
    package = project.load(ROOT).package
    database = Path(session.create_tmp()).resolve() / "backtest.db"
    database.unlink(missing_ok=True)
    session.env.update({"DATABASE_URL": f"sqlite:///{database}", "PYTHONPATH": "src"})
    session.run("alembic", "upgrade", "head", silent=True)
    session.run("python", "-m", f"{package}.collect")
    options = session.posargs or ["--windows", "3", "--strict"]
    report = str(REPORTS / "backtest.json")
    session.run("python", "-m", f"{package}.backtest", "--output", report, *options)


@nox.session(venv_backend="none")
def images(session: nox.Session) -> None:
    """Build every image that the stack needs."""
    summary.require_engine(session)
    session.run(sys.executable, "-m", "invoke", "build.images", *session.posargs)


@nox.session(venv_backend="none")
def harness(session: nox.Session) -> None:
    """Test, verify and try out the stack inside its own containers."""
    summary.require_files(session, ROOT, NEEDED["harness"])
    summary.require_engine(session)
    session.run(sys.executable, "-m", "invoke", "harness.run", *session.posargs)


@nox.session
def ci(session: nox.Session) -> None:
    """Run every session, then say what ran, what was left out and why."""
    install(session, compiled=True)
    REPORTS.mkdir(exist_ok=True)
    missing, paths = summary.missing_engine(), session.bin_paths or ()
    rows = [
        summary.left_out(name, missing)
        if missing and name in WITH_ENGINE
        else summary.run_session(Path(__file__), name, paths, *IN_CI.get(name, ()))
        for name in (*WITHOUT_ENGINE, *WITH_ENGINE)
        if found(NEEDED.get(name, "noxfile.py"))
    ]
    rows += [summary.left_out(*tool) for tool in linters.missing_tools()]
    rows += summary.skipped_tests(REPORTS / "tests.xml")
    session.log("what ran, and what was left out\n\n%s", summary.format_results(rows))
    if failed := summary.failed_names(rows):
        session.error(f"failed: {', '.join(failed)}")


def found(*patterns: str) -> list[str]:
    """Return the files of this repository that match, relative to it."""
    return sorted(str(path.relative_to(ROOT)) for each in patterns for path in ROOT.glob(each))
