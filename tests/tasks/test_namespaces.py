from __future__ import annotations

from typing import TYPE_CHECKING

from slipway import tasks

if TYPE_CHECKING:
    from pathlib import Path

GENERAL = {"deploy", "build", "env", "deps", "stack"}
OF_THE_API = {"models", "data", "db", "backup", "harness"}


def offered(root: Path) -> dict[str, set[str]]:
    """Return the tasks of each namespace."""
    made = tasks.namespace(root)
    return {name: {*inner.tasks} for name, inner in made.collections.items()}


def test_what_a_service_is_needed_for_is_offered_where_it_is(tmp_path: Path) -> None:
    assert offered(tmp_path).keys() == GENERAL
    assert "keygen" in offered(tmp_path)["env"]
    assert "rotate" not in offered(tmp_path)["env"]
    (tmp_path / "services/api").mkdir(parents=True)
    assert offered(tmp_path).keys() == GENERAL | OF_THE_API
    assert offered(tmp_path)["backup"] > {"keygen", "create", "restore"}
    assert "rotate" in offered(tmp_path)["env"]


def test_a_database_s_password_is_rotated_without_the_api_too(tmp_path: Path) -> None:
    (tmp_path / "services/postgres").mkdir(parents=True)
    assert offered(tmp_path).keys() == GENERAL
    assert "rotate" in offered(tmp_path)["env"]


def test_stages_are_run_where_there_are_some(tmp_path: Path) -> None:
    folder = tmp_path / "services/mine"
    folder.mkdir(parents=True)
    (folder / "compose.yaml").write_text("x-stage: {}")
    assert offered(tmp_path).keys() == GENERAL | {"pipeline"}
