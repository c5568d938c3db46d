"""The engine of containers without one: what it is told, before it is asked anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.engines.compose import ComposeEngine

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Scratch

VALUES = {"APP_ENV": "dev", "VERSION": "1.2"}


def test_containers_go_by_the_project_the_environment_or_a_given_name(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)
    assert ComposeEngine(scratch.project, VALUES).composition.name == "scratch"
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "elsewhere")
    assert ComposeEngine(scratch.project, VALUES).composition.name == "elsewhere"
    assert ComposeEngine(scratch.project, VALUES, name="own").composition.name == "own"


def test_a_build_has_labels_under_the_version_that_is_to_run(scratch: Scratch) -> None:
    found = ComposeEngine(scratch.project, VALUES | {"APP_UID": "1"}).building
    assert found.keys() == {"APP_ENV", "APP_UID", "CREATED", "REVISION", "SOURCE", "VERSION"}
    assert found["VERSION"] == "1.2"
