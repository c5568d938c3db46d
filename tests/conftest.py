"""What the tests share: a clean copy of the template, and bakes of it made by cookiecutter."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

from devtools.bake import ROOT, TEMPLATE
from slipway.stack.engines.supervisor import Supervisor, SupervisorFiles
from tests.support.scratch import COMPOSE, SCHEMA, WEB, Scratch, free_port

pytest.register_assert_rewrite(
    "tests.support.restores", "tests.support.promotions", "tests.support.traffic"
)

Bake = Callable[..., Path]

LONGEST = (
    "test_bakes.py", "test_your_model.py", "test_recovery_page.py", "test_updates.py",
    *(f"test_{name}.py" for name in ("restore", "drill", "secret_rotation", "promotion", "jobs")),
)  # fmt: skip
"""Modules that take about a minute or more: begun last, one would be waited for alone."""

# A shell that starts the tests in the background has Ctrl-C ignored, by all that they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)
# nohup has the end of the terminal ignored, likewise.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest modules first."""
    items.sort(key=lambda item: LONGEST.index(name) if (name := item.path.name) in LONGEST else 9)


def source_files() -> list[str]:
    """Return the files of this working tree that git tracks or would."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(name for name in listed.split("\0") if name and (ROOT / name).is_file())


@pytest.fixture(scope="session")
def template_files() -> set[str]:
    """Return the files of the template folder, relative to it, unrendered."""
    prefix = f"{TEMPLATE.name}/"
    return {name.removeprefix(prefix) for name in source_files() if name.startswith(prefix)}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the repository as a clone would have it, without what tools left in this one."""
    copy = tmp_path_factory.mktemp("template")
    for name in source_files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a home folder to tools that read settings from it or leave things in it."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def variables(home: Path) -> dict[str, str]:
    """Return the environment of a user who has set nothing up but a name for git."""
    who = {"NAME": "A User", "EMAIL": "user@example.org"}
    git = {f"GIT_{role}_{key}": who[key] for role in ("AUTHOR", "COMMITTER") for key in who}
    return {**os.environ, **git, "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}


def cut(template: Path, home: Path, parent: Path, **answers: str) -> Path:
    """Bake with the given answers, without leaving a trace with the user."""
    config = home / "cookiecutter.yaml"
    config.write_text(f"cookiecutters_dir: {home}/cookiecutters\nreplay_dir: {home}/replay\n")
    made = cookiecutter(
        str(template),
        no_input=True,
        extra_context=answers,
        output_dir=str(parent),
        config_file=str(config),
    )
    return Path(made)


@pytest.fixture
def bake(template: Path, home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Bake:
    """Return a function that bakes with the given answers."""

    def baked(parent: Path = tmp_path, **answers: str) -> Path:
        made = cut(template, home, parent, **answers)
        capfd.readouterr()
        return made

    return baked


@pytest.fixture(scope="session")
def tools() -> Path:
    """Return the folder of the commands that a generated repository checks itself with."""
    return Path(sys.executable).parent


@pytest.fixture
def make_scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Scratch]]:
    """Make scratch projects, and end whatever they left running."""
    made: list[Scratch] = []
    for name in ("APP_ENV", "API_KEY", "WEB_PORT", "WEB_URL"):
        monkeypatch.delenv(name, raising=False)

    def make(root: Path) -> Scratch:
        root.mkdir(parents=True, exist_ok=True)
        scratch = Scratch(root, free_port())
        names = 'name = "Scratch"\nslug = "scratch"\npackage = "scratch"\n'
        scratch.write("project.toml", f"[project]\n{names}")
        scratch.write("env/schema.toml", SCHEMA.format(port=scratch.port))
        scratch.write("compose.yaml", COMPOSE)
        scratch.write("first.py", "print('first ran')")
        scratch.write("web.py", WEB)
        scratch.write("src/scratch/settings.py", "print('settings are valid')")
        scratch.write("run/engine", "local")
        scratch.write("services/api/README.md", "Whose folder is here, their tasks are offered.")
        scratch.write("tasks.py", (TEMPLATE / "tasks.py").read_text(encoding="utf-8"))
        (root / "slipway").symlink_to(TEMPLATE / "slipway")
        made.append(scratch)
        return scratch

    yield make
    for scratch in made:
        Supervisor(SupervisorFiles(scratch.root, scratch.root / "run" / "local")).stop()


@pytest.fixture
def scratch(tmp_path: Path, make_scratch: Callable[[Path], Scratch]) -> Scratch:
    """Return a small project with one step, one web service and one that only containers run."""
    return make_scratch(tmp_path / "scratch")
