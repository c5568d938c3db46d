from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from slipway.config import schema, usage
from slipway.config.compose_file import compose_variables
from tests.support.copies import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scratch import Scratch

SETTINGS = """
class Base(BaseSettings):
    api_key: str
    level: str
class Settings(Base):
    web_port: int = 1
class Other:
    nothing: str
"""


def found(scratch: Scratch) -> dict[str, str]:
    """Return what is said, with its state."""
    variables = schema.read(scratch.project)
    return {
        item.detail: item.state
        for item in usage.findings(usage.find_usage(scratch.project), variables)
    }


def test_nothing_is_said_where_all_agree(scratch: Scratch) -> None:
    assert found(scratch) == {}


@pytest.mark.parametrize(
    ("file", "old", "new", "detail", "state"),
    [
        (
            "compose.yaml",
            "image: only-in-containers",
            "image: 'x:${WEB_PROT:-1}'",
            "service elsewhere uses WEB_PROT, which is not described; did you mean WEB_PORT?",
            "fail",
        ),
        (
            "compose.yaml",
            "command: python first.py",
            "command: 'python first.py {FIRST}'",
            "service first uses FIRST, which is not described",
            "fail",
        ),
        (
            "compose.yaml",
            "command: python first.py",
            "command: 'python first.py {WEB_PORT}'",
            "WEB_PORT is used by first: add it to read_by",
            "warn",
        ),
        (
            "compose.yaml",
            "APP_ENV, API_KEY, ",
            "APP_ENV, ",
            "API_KEY is read by elsewhere, whose compose file has no env_file or secrets",
            "fail",
        ),
        (
            "env/schema.toml",
            "[API_KEY]",
            "[SPARE]\nabout = 'x'\noptional = true\n[API_KEY]",
            "SPARE is not used",
            "warn",
        ),
        (
            "env/schema.toml",
            'read_by = ["web"]',
            'read_by = ["web", "application"]',
            "WEB_PORT is not a key of the application's settings, which ignore it",
            "fail",
        ),
        (
            "env/schema.toml",
            "[API_KEY]",
            "[SPARE_PORT]\nabout = 'x'\noptional = true\nread_by = ['tasks']\n[API_KEY]",
            "SPARE_PORT has tasks in read_by, but slipway/ does not read it",
            "warn",
        ),
    ],
)
def test_what_does_not_agree_is_said(  # noqa: PLR0913, PLR0917 - each is a part of the case
    scratch: Scratch, file: str, old: str, new: str, detail: str, state: str
) -> None:
    text = (scratch.root / file).read_text()
    assert old in text
    scratch.write(file, text.replace(old, new))
    assert found(scratch)[detail] == state


def test_the_settings_of_the_application_are_compared_both_ways(scratch: Scratch) -> None:
    scratch.write("src/scratch/settings.py", SETTINGS)
    scratch.write("config/settings.yaml", "default: {web_port: 1}")
    assert found(scratch) == {
        "LEVEL is needed, but neither in config/settings.yaml nor described": "fail",
        "API_KEY is used by application: add it to read_by": "warn",
        "WEB_PORT is used by application: add it to read_by": "warn",
    }


def test_settings_are_those_of_the_classes_that_come_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "settings.py"
    assert schema.settings_keys(path) == set()
    path.write_text(SETTINGS)
    assert schema.settings_keys(path) == {"API_KEY", "LEVEL", "WEB_PORT"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("${A}", ["A"]),
        ("$A", ["A"]),
        ("$$A", []),
        ("$$$A", ["A"]),
        ("${A:-${B}}", ["A", "B"]),
        ("${A:?say} $", ["A"]),
    ],
)
def test_what_compose_fills_in_is_found(text: str, names: list[str]) -> None:
    assert compose_variables({"command": [text]}) == names


def test_the_application_s_keys_are_those_that_it_has() -> None:
    for path in REPOSITORY.glob("src/*/settings.py"):  # there is none without the API
        keys = schema.settings_keys(path)
        assert keys >= {"APP_ENV", "API_KEY", "DATABASE_URL", "REDIS_URL", "LOG_LEVEL"}


def test_what_the_tasks_set_takes_no_env_file(scratch: Scratch) -> None:
    entry = '\n[PREFIX]\nabout = "How names begin."\nread_by = ["elsewhere"]\n'
    text = (scratch.root / schema.FILE).read_text(encoding="utf-8")
    compose = (scratch.root / "compose.yaml").read_text(encoding="utf-8")
    scratch.write("compose.yaml", compose.replace("env_file", "x-env"))
    lacking = "PREFIX is read by elsewhere, whose compose file has no env_file"
    for line, state in (("", "fail"), ('set_by = "tasks"\n', None)):
        scratch.write(schema.FILE, f"{text}{entry}{line}")
        assert found(scratch).get(lacking) == state
