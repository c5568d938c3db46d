import subprocess
import sys
from pathlib import Path

import pytest


def cookiecutter(
    template: Path, parent: Path, env: dict[str, str], **answers: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "-o", str(parent), str(template)]
    command += [f"{key}={value}" for key, value in answers.items()]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"project_name": ""}, "project_name is empty: enter a name, such as 'Weather Forecast'."),
        (
            {"project_name": "日本"},
            "project_name '日本' has no letter from a to z: add one, or set project_slug too.",
        ),
        ({"project_slug": ""}, "project_slug is empty: did you mean 'weather-forecast'?"),
        (
            {"project_slug": "../elsewhere/x"},
            (
                "project_slug '../elsewhere/x' must be lowercase words and digits joined by "
                "hyphens, starting with a letter: did you mean 'elsewhere-x'?"
            ),
        ),
        ({"project_slug": "x" * 300}, "project_slug has 300 characters: the maximum is 40."),
        ({"project_name": "x" * 300}, "project_name has 300 characters: the maximum is 80."),
        (
            {"project_name": "{{ 7*7 }}"},
            (
                "project_name is a template expression, '{{ 7*7 }}': "
                "enter the text itself, without braces."
            ),
        ),
        (
            {"package_name": "redis"},
            "package_name 'redis' is a library the project uses: did you mean 'redis_app'?",
        ),
        (
            {"author": "'''\"\"\""},
            "author contains '\"': remove double quotes, backslashes, braces and line breaks.",
        ),
        (
            {"preset": "servin"},
            (
                "Unknown preset 'servin' (available: pipeline, serving, workers):"
                " did you mean 'serving'?"
            ),
        ),
        (
            {"services": "api, dashbord"},
            (
                "Unknown service 'dashbord' (available: api, dashboard, monitoring, pipeline,"
                " postgres, proxy, redis, scheduler, tensorboard, worker-llm, worker-rl):"
                " did you mean 'dashboard'?"
            ),
        ),
    ],
)
def test_a_bad_answer_is_refused_and_leaves_nothing(
    template: Path, tmp_path: Path, variables: dict[str, str], answers: dict[str, str], said: str
) -> None:
    parent = tmp_path / "here"
    parent.mkdir()
    done = cookiecutter(template, parent, variables, **answers)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == said
    assert [*parent.rglob("*")] == []
    assert [*tmp_path.iterdir()] == [parent]


def test_a_slug_can_stand_in_for_a_name_of_no_latin_letters(
    template: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    done = cookiecutter(template, tmp_path, variables, project_name="日本", project_slug="japan")
    assert done.returncode == 0, done.stderr
    assert "日本 is in " in done.stdout
    assert (tmp_path / "japan" / "src" / "japan").is_dir()


def test_a_bake_ends_by_saying_what_to_type(
    template: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    done = cookiecutter(template, tmp_path, {**variables, "PWD": str(tmp_path)})
    assert "\n  cd weather-forecast\n" in done.stdout
    assert "pip install -r requirements.txt && inv deploy.up" in done.stdout
    assert "pip install -r requirements.txt && nox -s ci" in done.stdout


def test_a_folder_that_is_there_is_left_alone(
    template: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    mine = tmp_path / "weather-forecast" / "mine"
    mine.parent.mkdir()
    mine.write_text("mine")
    done = cookiecutter(template, tmp_path, variables)
    assert done.returncode == 1
    assert "directory already exists" in done.stdout
    assert [*mine.parent.iterdir()] == [mine]
