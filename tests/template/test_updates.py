import json
import subprocess
import sys
from pathlib import Path

import pytest

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
    (project / "slipway" / "stack" / "doctor.py").unlink()
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
    assert OLD_LINE in (project / "compose.yaml").read_text()
    assert not (project / "slipway" / "stack" / "doctor.py").exists()

    problem = project / "src" / "wetter_fur_koln" / "problem.py"
    problem.write_text(problem.read_text() + "\nMINE = True\n")
    change(project / "project.toml", "[template]", "# Mine.\n[template]")
    (project / "src" / "wetter_fur_koln" / "mine.py").write_text("MINE = True\n")
    git.commit(project)

    renew(repository, template, git)
    cruft(git, project, "update", "--skip-apply-ask")

    assert OLD_LINE not in (project / "compose.yaml").read_text()
    assert (project / "slipway" / "stack" / "doctor.py").is_file()
    assert problem.read_text().endswith("\nMINE = True\n")
    assert "# Mine." in (project / "project.toml").read_text()
    assert (project / "src" / "wetter_fur_koln" / "mine.py").is_file()
    assert not (project / "services" / "proxy").exists()
    assert not [*project.rglob("*.rej")]
    cruft(git, project, "check")
