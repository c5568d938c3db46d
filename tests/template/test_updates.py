import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devtools.bake import ROOT

OLD_LINE = "# A line that the next version of the template no longer has.\n"
ANSWERS = {"project_name": "Wetter für Köln", "services": "dashboard"}


QUIET = {"gc.auto": "0", "maintenance.auto": "false"}  # no repacking beside the next clone


@pytest.fixture
def git(variables: dict[str, str], tmp_path: Path) -> "Git":
    settings = {"GIT_CONFIG_COUNT": str(len(QUIET)), "TMPDIR": str(tmp_path)}
    for number, (key, value) in enumerate(QUIET.items()):
        settings |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return Git(variables | settings)


class Git:
    """Runs commands that should work, in a folder, as a user with a name."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.variables = variables

    def run(self, folder: Path, *command: str) -> str:
        done = subprocess.run(
            command, cwd=folder, env=self.variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self, folder: Path) -> None:
        self.run(folder, "git", "init", "--quiet")
        self.run(folder, "git", "add", "--all", "--force")
        self.run(folder, "git", "commit", "--quiet", "--message", "A version")


def cruft(git: Git, folder: Path, *arguments: str) -> None:
    git.run(folder, sys.executable, "-m", "cruft", *arguments)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def repository(template: Path, tmp_path: Path, git: Git) -> Path:
    """Keep the template in git as an older version: one line more, one file less."""
    folder = tmp_path / "template"
    git.run(tmp_path, "cp", "-r", str(template), str(folder))
    project = folder / "{{cookiecutter.project_slug}}"
    (project / "compose.yaml").write_text(OLD_LINE + (project / "compose.yaml").read_text())
    (project / "slipway" / "stack" / "checks.py").unlink()
    git.commit(folder)
    return folder


def renew(repository: Path, template: Path, git: Git) -> None:
    """Commit the template as it is now."""
    git.run(template, "cp", "-r", f"{template}/.", str(repository))
    git.commit(repository)


def test_an_update_brings_what_is_new_and_keeps_what_the_user_changed(
    repository: Path, template: Path, tmp_path: Path, git: Git
) -> None:
    cruft(
        git,
        tmp_path,
        "create",
        "--no-input",
        "--extra-context",
        json.dumps(ANSWERS),
        str(repository),
    )
    project = tmp_path / "wetter-fur-koln"
    git.commit(project)  # the three-way merge needs the files as they were baked
    assert OLD_LINE in (project / "compose.yaml").read_text()
    assert not (project / "slipway" / "stack" / "checks.py").exists()

    problem = project / "src" / "wetter_fur_koln" / "problem.py"
    problem.write_text(problem.read_text() + "\nMINE = True\n")
    change(project / "project.toml", "[template]", "# Mine.\n[template]")
    (project / "src" / "wetter_fur_koln" / "mine.py").write_text("MINE = True\n")
    git.commit(project)

    renew(repository, template, git)
    cruft(git, project, "update", "--skip-apply-ask")

    assert OLD_LINE not in (project / "compose.yaml").read_text()
    assert (project / "slipway" / "stack" / "checks.py").is_file()
    assert problem.read_text().endswith("\nMINE = True\n")
    assert "# Mine." in (project / "project.toml").read_text()
    assert (project / "src" / "wetter_fur_koln" / "mine.py").is_file()
    assert not (project / "services" / "proxy").exists()
    assert not [*project.rglob("*.rej")]
    cruft(git, project, "check")


FIRST = "aff2cf7"
"""A commit of version 0.1.0, from before ops/ became slipway/."""
WITHOUT_DASHBOARD = {"services": "api, postgres, redis, proxy, scheduler"}
VARIABLE = """[STATION_NAME]
about = "The name of the weather station, for a page of ours."
read_by = ["api"]
owner = "development"
default = "Seattle"

"""
TASK = '''

from invoke.context import Context  # noqa: E402 - below what the template has
from invoke.tasks import task  # noqa: E402 - the same


@task
def station(_c: Context) -> None:
    """Print the name of the weather station."""
    print("Seattle")


ns.add_task(station)
'''
ENDPOINT = '''@public.get("/station")
def station() -> dict[str, str]:
    """Name the weather station."""
    return {"station": "Seattle"}


'''
PATCH = "lambda at: (at + timedelta(days=1)).isocalendar()[:2],  # weeks begin on Sunday"
NOTE = "Our forecasts for the harbour, run by the operations team.\n\n"


@pytest.fixture
def history(template: Path, tmp_path: Path, git: Git) -> Path:
    """Clone the template with its history, and commit it as it is now on top."""
    folder = tmp_path / "template"
    git.run(tmp_path, "git", "clone", "--quiet", str(ROOT), str(folder))
    command = ["git", "cat-file", "-e", f"{FIRST}^{{commit}}"]
    if subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode:
        pytest.skip(f"this clone is too shallow to have {FIRST}")
    git.run(folder, "git", "checkout", "--quiet", "-B", "now")
    git.run(folder, "git", "rm", "-r", "--quiet", ".")
    git.run(folder, "cp", "-r", f"{template}/.", ".")
    git.run(folder, "git", "add", "--all", "--force")
    git.run(folder, "git", "commit", "--quiet", "--allow-empty", "--message", "As it is now")
    return folder


def edit(project: Path) -> None:
    """Make the eight changes that users of the first version make."""
    change(project / "env" / "schema.toml", "[API_WORKERS]", f"{VARIABLE}[API_WORKERS]")
    tasks = project / "tasks.py"
    tasks.write_text(tasks.read_text(encoding="utf-8") + TASK, encoding="utf-8")
    api = project / "src" / "weather_forecast" / "api.py"
    change(api, "async def unavailable", f"{ENDPOINT}async def unavailable")
    limits = project / "services" / "api" / "compose.server.yaml"
    change(limits, 'cpus: "1", memory: 2g', 'cpus: "2", memory: 3g')
    requirements = project / "requirements.in"
    text = requirements.read_text(encoding="utf-8") + "\n# ours\npackaging\n"
    requirements.write_text(text.replace("-r services/dashboard/requirements.in\n", ""))
    change(project / "README.md", "# Weather Forecast\n\n", f"# Weather Forecast\n\n{NOTE}")
    change(project / "ops" / "retention.py", "lambda at: at.isocalendar()[:2],", PATCH)
    remove_dashboard(project)


def remove_dashboard(project: Path) -> None:
    """Remove the service's folder, its part of src/, and the lines that name it."""
    shutil.rmtree(project / "services" / "dashboard")
    shutil.rmtree(project / ".streamlit")
    (project / "src" / "weather_forecast" / "dashboard.py").unlink()
    for file in project.glob("compose*.yaml"):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        file.write_text("".join(line for line in lines if "services/dashboard/" not in line))


def test_a_repository_of_the_first_version_comes_over_with_what_its_user_changed(
    history: Path, tmp_path: Path, git: Git, tools: Path
) -> None:
    cruft(git, tmp_path, "create", "--no-input", "--checkout", FIRST, str(history))
    project = tmp_path / "weather-forecast"
    git.commit(project)
    edit(project)
    git.commit(project)

    answers = json.dumps(WITHOUT_DASHBOARD)
    cruft(git, project, "update", "--skip-apply-ask", "--variables-to-update", answers)

    unmerged = git.run(project, "git", "diff", "--name-only", "--diff-filter=U").splitlines()
    assert all(re.search(r"requirements[\w-]*\.txt$", name) for name in unmerged), unmerged
    assert not [*project.rglob("*.rej")]
    assert not (project / "ops").exists()
    expected = {
        "env/schema.toml": VARIABLE,
        "tasks.py": TASK,
        "src/weather_forecast/api.py": ENDPOINT,
        "services/api/compose.server.yaml": 'cpus: "2", memory: 3g',
        "requirements.in": "# ours\npackaging\n",
        "README.md": NOTE,
        "slipway/backup/retention.py": PATCH,
    }
    for name, text in expected.items():
        assert text in (project / name).read_text(encoding="utf-8"), name
    for name in ("services/dashboard", "src/weather_forecast/dashboard", ".streamlit"):
        assert not (project / name).exists()
    assert "services/dashboard" not in (project / "compose.yaml").read_text(encoding="utf-8")
    check_updated(project, git, tools, unmerged)


def check_updated(project: Path, git: Git, tools: Path, unmerged: list[str]) -> None:
    """Renew what is generated, then run the repository's own lint, and what is quick of its tests.

    All of its tests take minutes, and are the same files as in any bake. Nothing is installed.
    """
    for name in unmerged:
        git.run(project, "git", "checkout", "--theirs", name)
    git.run(project, str(tools / "inv"), "env.docs")
    inventory = git.run(project, str(tools / "inv"), "stack.inventory")
    (project / "docs" / "inventory.md").write_text(inventory, encoding="utf-8")
    assert git.run(project, str(tools / "inv"), "station") == "Seattle\n"
    git.run(project, str(tools / "ruff"), "check", "--no-cache")
    git.run(project, str(tools / "ruff"), "format", "--check", "--no-cache")
    quick = ["tests/test_repository.py", "src/weather_forecast/tests/test_schemas.py"]
    git.run(project, str(tools / "pytest"), "-q", "-k", "not locks_hold", *quick)
