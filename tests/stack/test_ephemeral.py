from __future__ import annotations

import os
from pathlib import Path

import pytest

from slipway.config.schema import Variable
from slipway.core.errors import Refused
from slipway.core.project import Project
from slipway.stack import ephemeral
from slipway.stack.ephemeral import EphemeralStack
from tests.backup.test_archive import full_disk
from tests.support.copies import REPOSITORY

PROJECT = Project(Path("/p"), "Weather", "weather", "weather_app")
OWN = EphemeralStack(PROJECT, "drill", "staging", "compose", "20261122-063000", "ab12")
NAME = "weather-drill-20261122-063000-ab12"


def test_everything_goes_by_its_own_name() -> None:
    assert (OWN.name, OWN.folder) == (NAME, Path(f"/p/run/drill/{NAME}"))
    assert (OWN.project.root, OWN.project.slug) == (OWN.folder, "weather")


def test_two_of_the_same_second_have_different_names() -> None:
    names = {ephemeral.plan_stack(PROJECT, "drill", "prod", "compose").name for _ in range(5)}
    assert len(names) == 5


def test_variables_owe_nothing_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = [
        Variable("APP_ENV", "", default={"staging": "staging"}),
        Variable("API_KEY", "", secret=32),
        Variable("HTTP_PORT", "", default={"staging": "80"}),
        Variable("HTTPS_PORT", "", default={"staging": "443"}),
        Variable("LOGIN", "", default={"staging": "app"}),
        Variable("URL", "", default={"compose": "http://${LOGIN}:${API_KEY}@x:${HTTP_PORT}"}),
        Variable("ONLY_DEV", "", default={"dev": "x"}),
    ]
    monkeypatch.setenv("API_KEY", "the developer's")
    assert ephemeral.own_variables(OWN, schema, [1, 2, 3], lambda length: f"s{length}") == {
        "APP_ENV": "staging",
        "REGISTRY": "localhost",
        "VERSION": NAME,
        "API_KEY": "s32",
        "HTTP_PORT": "1",
        "HTTPS_PORT": "2",
        "LOGIN": "app",
        "URL": "http://app:s32@x:1",
    }


def test_variables_are_taken_out_of_the_environment_and_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BACKUP_URL", "of the live stack")
    with ephemeral.unset_variables(["BACKUP_URL", "NEVER_SET"]):
        assert "BACKUP_URL" not in os.environ
    assert os.environ["BACKUP_URL"] == "of the live stack"
    assert "NEVER_SET" not in os.environ


def test_free_ports_differ() -> None:
    assert len(set(ephemeral.free_ports(8))) == 8


@pytest.mark.parametrize(
    ("path", "is_ignored"),
    [
        (".git", True),
        (".env.dev", True),
        (".env.example", False),
        ("models", True),
        ("src/models", False),
        ("data/app.db-wal", True),
        ("data/rows.csv", False),
        ("slipway/__pycache__", True),
        (".streamlit", False),
        ("compose.lock.yaml", False),
        ("slipway/config/values.py", False),
    ],
)
def test_a_copy_leaves_out_what_git_ignores(path: str, is_ignored: bool) -> None:
    text = (REPOSITORY / ".gitignore").read_text(encoding="utf-8")
    assert ephemeral.is_ignored(path, text.splitlines()) is is_ignored


def repository(root: Path) -> Path:
    for name in (".gitignore", "src/a.py", "models/m.onnx", "run/harness/x/y", ".git/config"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("/models/\n/run/\n")
    return root


def test_a_copy_holds_the_rest(tmp_path: Path) -> None:
    root = repository(tmp_path / "repository")
    ephemeral.copy_repository(root, root / "run" / "copy")
    found = {
        str(path.relative_to(root / "run" / "copy"))
        for path in (root / "run" / "copy").rglob("*")
        if path.is_file()
    }
    assert found == {".gitignore", "src/a.py"}


def test_a_copy_for_which_there_is_no_room_says_so(tmp_path: Path) -> None:
    root, full = repository(tmp_path / "repository"), tmp_path / "full"
    (root / "src" / "large").write_bytes(bytes(2**20))
    with full_disk(full), pytest.raises(Refused, match=r"cannot be copied.*No space left"):
        ephemeral.copy_repository(root, full / "copy")
