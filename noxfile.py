"""Checks of the template, of slipway/ in it, and of the repositories that it generates.

`nox -s ci` runs all that this machine can, and says what it left out. Each session runs alone too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
sys.path.insert(0, str(TEMPLATE))  # slipway/ is used in place

from slipway.ci import linters, summary  # noqa: E402 - after the path is set

REPORTS = ROOT / "build" / "reports"
PARTS = ("lint", "types", "tests", "engine", "projects")
LOCKED = ("requirements", "requirements-dev")
ON_ENGINE = "tests/engine"
SIDE_BY_SIDE = ("--numprocesses=auto", "--dist=loadfile", "--no-loadscope-reorder")
"""As many processes as there are cores; a module stays in one, for what its tests share."""

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["ci"]
# Environments start faster with compiled bytecode, which some machines turn off.
os.environ["UV_COMPILE_BYTECODE"] = "1"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def install(session: nox.Session, *, compiled: bool = True) -> None:
    """Install the locked packages, a bake's among them; compiled for what imports many."""
    session.env["UV_COMPILE_BYTECODE"] = str(int(compiled))
    session.install("--require-hashes", "-r", "requirements-dev.txt")


def run_together(session: nox.Session, first: list[str], *others: list[str]) -> None:
    """Run commands at the same time; what the others print is shown after what the first prints."""
    paths = os.pathsep.join([*(session.bin_paths or ()), os.environ["PATH"]])
    variables = os.environ | {"PATH": paths}
    with ExitStack() as files:
        printed = [files.enter_context(tempfile.TemporaryFile("w+")) for _ in others]
        running = [
            subprocess.Popen(command, stdout=file, stderr=file, env=variables)
            for command, file in zip(others, printed, strict=True)
        ]
        codes = [subprocess.run(first, env=variables, check=False).returncode]
        codes += [process.wait() for process in running]
        for file in printed:
            file.seek(0)
            shutil.copyfileobj(file, sys.stdout)
    if any(codes):
        session.error(f"exit codes {codes}")


@nox.session
def lint(session: nox.Session) -> None:
    """Check code, scripts, Dockerfiles and workflows, also of the template; search for secrets."""
    install(session, compiled=False)
    own = ["hooks", "devtools", "tests", "noxfile.py", "tasks.py"]
    session.run("ruff", "check", *own)
    # N999: only in place is the package's name no name.
    session.run("ruff", "check", "--extend-ignore", "N999", TEMPLATE.name)
    slipway = f"{TEMPLATE.name}/slipway"  # a bake's settings leave it out
    session.run("ruff", "check", "--config", "pyproject.toml", slipway)
    session.run("ruff", "format", "--check", *own, TEMPLATE.name, slipway)
    session.run("shellcheck", ".ci/run")
    rendered = ROOT / "build" / "lint" / "Dockerfile"  # hadolint counts the words of a placeholder
    rendered.parent.mkdir(parents=True, exist_ok=True)
    text = (TEMPLATE / "Dockerfile").read_text(encoding="utf-8")
    rendered.write_text(text.replace("{{ cookiecutter.package_name }}", "app"), encoding="utf-8")
    session.run("hadolint", *map(str, [rendered, *TEMPLATE.glob("services/*/Dockerfile")]))
    workflows = [
        str(path) for root in (ROOT, TEMPLATE) for path in root.glob(".github/workflows/*.yml")
    ]
    updates = [str(root / ".github" / "dependabot.yml") for root in (ROOT, TEMPLATE)]
    session.run("zizmor", "--offline", "-qp", *workflows, *updates)
    linters.run_actionlint(session, TEMPLATE, workflows)
    linters.search_secrets(session, ROOT)


@nox.session
def types(session: nox.Session) -> None:
    """Check types, those of slipway/ and of the template in place too."""
    install(session, compiled=False)
    run_together(session, ["mypy"], ["python", "-m", "devtools.inplace"])


@nox.session
def tests(session: nox.Session) -> None:
    """Test slipway/, the hooks, bakes and their updates, and stacks as processes."""
    install(session)
    report = f"--junitxml={REPORTS / 'tests.xml'}"
    session.run("pytest", f"--ignore={ON_ENGINE}", *SIDE_BY_SIDE, report, *session.posargs)


@nox.session
def engine(session: nox.Session) -> None:
    """Test stacks in containers, but for what is slow; what follows -- goes to pytest."""
    summary.require_engine(session)
    install(session)
    where = () if any(word.startswith(ON_ENGINE) for word in session.posargs) else (ON_ENGINE,)
    report = f"--junitxml={REPORTS / 'engine.xml'}"
    session.run("pytest", *where, "-m", "not slow", *SIDE_BY_SIDE, report, *session.posargs)


@nox.session(python=False)
def projects(session: nox.Session) -> None:
    """Bake each preset; the first runs its own `nox -s ci`, the others what only they have."""
    settings = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    presets = list(settings["_presets"])
    named = session.posargs or presets
    first, *others = sorted(named, key=presets.index)
    check = [sys.executable, "-m", "devtools.presets"]
    # The first waits for containers much of the time.
    beside = [[*check, *others, "--beside", first]] if others else []
    run_together(session, [*check, first], *beside)


@nox.session
def ci(session: nox.Session) -> None:
    """Run all that this machine can, and end with what ran and what was left out."""
    install(session)
    shutil.rmtree(REPORTS, ignore_errors=True)
    missing = summary.missing_engine()
    rows = [
        summary.left_out(part, missing)
        if missing and part == "engine"
        else summary.run_session(Path(__file__), part, session.bin_paths or ())
        for part in PARTS
    ]
    rows += [summary.left_out(*tool) for tool in linters.missing_tools()]
    for name in ("tests", "engine"):
        rows += summary.skipped_tests(REPORTS / f"{name}.xml")
    session.log("what ran, and what was left out\n\n%s", summary.format_results(rows))
    if failed := summary.failed_names(rows):
        session.error(f"failed: {', '.join(failed)}")


@nox.session(python=False, default=False)
def lock(session: nox.Session) -> None:
    """Renew the pinned requirements, within what requirements*.in allow."""
    options = ["--universal", "--python-version=3.11", "--generate-hashes", "--upgrade", "--quiet"]
    options += ["--no-emit-index-url", "--custom-compile-command", "nox -s lock"]
    for name in LOCKED:
        command = ["uv", "pip", "compile", *options, f"{name}.in", "-o", f"{name}.txt"]
        session.run(sys.executable, "-m", *command)
