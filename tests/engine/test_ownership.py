"""Whose stack it is: two clones of one repository, and profiles with data of their own."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from docker.errors import NotFound

from slipway.core import journal
from slipway.core.errors import Refused
from slipway.core.project import load
from slipway.stack.engines import ownership
from slipway.stack.engines.containers import PROJECT
from slipway.stack.engines.ownership import StackOwnership
from tests.support.copies import REPOSITORY, Copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import docker

    from tests.engine.conftest import MakeStack

CHANGES = (
    ("deploy.up",),
    ("deploy.down", "--volumes", "--yes"),
    ("deploy.scale", "redis=1"),
    ("deploy.run", "--service", "redis", "--", "true"),
    ("deploy.logs",),
    ("deploy.status",),
    ("env.rotate", "REDIS_PASSWORD", "--yes"),
)


@pytest.fixture
def name(engine: docker.DockerClient) -> Iterator[str]:
    """Return a name of a stack, whose volumes are removed at the end."""
    made = f"test-{uuid.uuid4().hex[:8]}"
    yield made
    for volume in engine.volumes.list(filters={"label": f"{PROJECT}={made}"}):
        with suppress(NotFound):
            volume.remove()


@pytest.fixture
def clones(tmp_path: Path, name: str) -> dict[str, StackOwnership]:
    """Return what two clones and another machine think of the same stack."""
    here = load(REPOSITORY)
    found = {}
    for clone in ("first", "second"):
        root = tmp_path / clone
        root.mkdir()
        found[clone] = StackOwnership(replace(here, root=root), name, "dev")
    return found


def test_what_nobody_claimed_is_nobodys(clones: dict[str, StackOwnership]) -> None:
    assert [clone.other_owner() for clone in clones.values()] == ["", ""]


def test_what_was_claimed_is_refused_to_the_other(clones: dict[str, StackOwnership]) -> None:
    first, second = clones.values()
    first.claim()
    first.refuse_other()
    with pytest.raises(Refused, match=rf"belongs to {first.project.root} on \S+, not to") as said:
        second.refuse_other()
    assert said.value.fix.endswith("inv deploy.up --take-over")


def test_of_two_that_claim_at_once_one_is_refused(clones: dict[str, StackOwnership]) -> None:
    first, second = clones.values()
    assert (first.recorded, second.recorded) == ({}, {})
    first.claim()
    with pytest.raises(Refused, match="belongs to"):
        second.claim()


def test_the_same_folder_of_another_machine_is_another_clone(
    clones: dict[str, StackOwnership], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = clones.values()
    first.claim()
    monkeypatch.setattr(ownership, "machine_id", lambda: "another")
    assert StackOwnership(first.project, first.name, "dev").other_owner()


def test_what_is_taken_over_is_the_others(clones: dict[str, StackOwnership]) -> None:
    first, second = clones.values()
    first.claim()
    second.take_over()
    second.refuse_other()
    assert StackOwnership(first.project, first.name, "dev").other_owner()


def test_what_is_released_is_nobodys_once_no_volume_is_left(
    clones: dict[str, StackOwnership], engine: docker.DockerClient
) -> None:
    first, second = clones.values()
    first.claim()
    kept = engine.volumes.create(f"{first.name}_kept", labels={PROJECT: first.name})
    first.release()
    assert StackOwnership(second.project, second.name, "dev").other_owner()
    kept.remove()
    first.release()
    assert engine.volumes.list(filters={"label": f"{PROJECT}={first.name}"}) == []


@pytest.mark.parametrize("profile", ["dev", "staging", "prod"])
def test_new_volumes_are_named_by_their_profile(
    clones: dict[str, StackOwnership], profile: str
) -> None:
    first, _ = clones.values()
    made = StackOwnership(first.project, first.name, profile)
    expected = first.name if profile == "dev" else f"{first.name}_{profile}"
    assert made.volume_prefix() == expected
    made.claim()
    assert made.volume_prefix() == expected


def test_volumes_from_before_stay_those_of_the_profile_that_was_up(
    clones: dict[str, StackOwnership], engine: docker.DockerClient
) -> None:
    first, _ = clones.values()
    engine.volumes.create(f"{first.name}_postgres", labels={PROJECT: first.name})
    known = {"engine": "compose", "outcome": "done"}
    journal.append(first.project.root, "deploy.up", profile="prod", **known)
    journal.append(first.project.root, "deploy.up", profile="dev", **known | {"outcome": "failed"})

    def prefix(profile: str) -> str:
        return StackOwnership(first.project, first.name, profile).volume_prefix()

    before = (prefix("prod"), prefix("dev"))
    assert before == (first.name, f"{first.name}_dev")
    first.claim()
    journal.append(first.project.root, "deploy.up", profile="dev", **known)
    assert (prefix("prod"), prefix("dev")) == before


def test_another_clone_changes_nothing_until_it_takes_the_stack_over(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    stack = make_stack(("redis",), models=False, SLIPWAY_ENGINE="compose")
    stack.up()
    before = {item.id for item in stack.containers()}, stack.volumes()
    other = Copy(
        tmp_path / "repository",
        SLIPWAY_ENGINE="compose",
        COMPOSE_PROJECT_NAME=stack.name,
        VERSION=stack.name,
    )
    other.keep(["redis"])
    other.commit()
    other.inv("env.init")
    for command in CHANGES:
        said = other.inv(*command, code=1)
        assert f"belongs to {stack.root} on" in said
    assert ({item.id for item in stack.containers()}, stack.volumes()) == before
    assert "No one is there to answer" in other.inv("deploy.up", "--take-over", code=1)
    assert stack.status()["redis"]["state"] == "healthy"
    other.inv("deploy.up", "--take-over", "--yes")
    assert f"belongs to {other.root} on" in stack.inv("deploy.down", "--volumes", "--yes", code=1)
    said = other.inv("deploy.down", "--volumes", "--yes")
    assert f"Stopped; removed the volumes {stack.name}_redis." in said
    assert stack.volumes() == []
    said = other.inv("deploy.down", "--volumes", "--yes")
    assert "Nothing was running; the profile dev had no volumes." in said


def test_profiles_have_data_of_their_own(make_stack: MakeStack) -> None:
    stack = make_stack(("postgres",), models=False, SLIPWAY_ENGINE="compose")

    def tables(profile: str, *statements: str) -> str:
        stack.environment["APP_ENV"] = profile
        stack.keep(["postgres"])
        stack.up()
        (server,) = stack.containers("postgres")
        words = [word for one in (*statements, r"\dt") for word in ("-c", one)]
        code, said = server.exec_run(["psql", "-U", "app", *words])
        assert code == 0, said
        return str(said.decode())

    assert "| of_dev |" in tables("dev", "CREATE TABLE of_dev ()")
    stack.inv("deploy.down")
    assert "of_dev" not in tables("prod", "CREATE TABLE of_prod ()")
    said = stack.inv("deploy.down", "--volumes", "--yes")
    assert f"removed the volumes {stack.name}_prod_postgres." in said
    assert "| of_dev |" in tables("dev")
