"""What is said of a restore that was killed, and what a restore is of."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from slipway.backup import create, restore, restore_point
from slipway.backup.restore import (
    ALL_STEPS,
    HARMLESS,
    MODELS,
    STEPS,
    RestoreRequest,
    RestoreRun,
)
from slipway.core import journal
from slipway.core.errors import Refused
from slipway.core.transaction import Steps, change
from slipway.stack.services import services_needing
from tests.backup.test_create import Rows, session
from tests.support import restore_points

if TYPE_CHECKING:
    from pathlib import Path

    from slipway.backup.databases.base import DatabaseContent, StackDatabase
    from slipway.stack.session import Session

__all__ = ["session"]  # a fixture
LEFT = {
    "verb": restore.VERB,
    "outcome": "killed",
    "source": "20261122-020000-3f2a",
    "point": "20261122-030000-0001",
    "safety": "20261122-030000-0001",
    "staged": "restore_1",
    "old": "before_1",
    "only": "",
}
AGAIN = f"finish: inv backup.restore {LEFT['source']}"


def left(step: str, **facts: Any) -> dict[str, Any]:  # noqa: ANN401 - what a journal holds
    return LEFT | {"step": step} | facts


@pytest.mark.parametrize("step", HARMLESS)
def test_killed_before_others_notice_it_can_be_made_again(step: str) -> None:
    found = restore.explain_killed_restore(left(step))
    assert (found.state, found.fix) == ("warn", AGAIN)
    assert (
        f"killed at step {ALL_STEPS.index(step) + 1} ({step}): the live data is unchanged"
        in found.detail
    )


def test_killed_while_services_stop_they_are_started_again() -> None:
    found = restore.explain_killed_restore(left("stop"))
    assert (found.state, found.fix) == ("fail", f"{AGAIN}   undo: inv deploy.up")


@pytest.mark.parametrize("step", ALL_STEPS[ALL_STEPS.index("swap") :])
def test_killed_after_that_it_can_be_finished_and_undone(step: str) -> None:
    found = restore.explain_killed_restore(left(step))
    undo = f"undo: inv backup.restore {LEFT['safety']}"
    finish = AGAIN if step in ("swap", "models") else "finish: inv deploy.up"
    assert (found.state, found.fix) == ("fail", f"{finish}   {undo}")
    assert "before_1" in found.detail
    assert ("may be" in found.detail) == (step == "swap")


def test_where_nothing_was_there_nothing_is_to_be_undone() -> None:
    facts = left("start")
    del facts["safety"]
    assert restore.explain_killed_restore(facts).fix == "finish: inv deploy.up"


@pytest.mark.parametrize("step", STEPS[MODELS])
def test_killed_models_are_restored_again(step: str) -> None:
    found = restore.explain_killed_restore(left(step, only=MODELS))
    assert (found.state, found.fix) == ("warn", f"{AGAIN} --only models")


def test_what_put_it_right_ends_it(tmp_path: Path) -> None:
    def add(**facts: Any) -> None:  # noqa: ANN401 - the same
        journal.append(tmp_path, **facts)

    assert restore.interrupted_restore(tmp_path) is None
    add(**left("start"))
    assert restore.interrupted_restore(tmp_path)
    add(verb="backup.create", outcome="done")
    add(verb="deploy.up", outcome="failed")
    assert restore.interrupted_restore(tmp_path)
    add(verb="deploy.up", outcome="done")
    assert restore.interrupted_restore(tmp_path) is None


class Staging(Rows):
    """A database that a restore point is restored beside."""

    live = "app"

    def other_databases(self) -> list[str]:
        return []

    def stage(self, folder: Path, name: str) -> DatabaseContent:
        del name
        return self.prove(folder)


@pytest.mark.parametrize("whole", [True, False])
def test_what_was_restored_here_is_verified_here(session: Session, whole: bool) -> None:
    with change(session.project.root, "backup.create") as made:
        steps = Steps(made, create.STEPS)
        point = create.create_restore_point(session, steps, Rows(), "manual", prove=False)  # type: ignore[arg-type]
    if not whole:
        (point.database / "rows").write_bytes(b"r")
    with change(session.project.root, restore.VERB) as made:
        turn = RestoreRun(session, made, cast("StackDatabase", Staging()), RestoreRequest(point))
        with nullcontext() if whole else pytest.raises(Refused, match="differs from what was"):
            turn._stage()  # noqa: SLF001 - the steps around it need a stack
    (found,) = restore_point.list_points(session.project.backups)
    assert (found.verified or {}).get("how") == (restore.VERB if whole else None)
    assert turn.point.verified == found.verified


def test_models_that_exceed_what_is_free_are_refused_before_a_byte_is_written(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = restore_points.write(session.project.backups)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1))
    before = sorted(session.project.models.iterdir())
    with change(session.project.root, restore.VERB) as made:
        wanted = RestoreRequest(point, MODELS)
        turn = RestoreRun(session, made, cast("StackDatabase", Staging()), wanted)
        with pytest.raises(Refused, match=r"No space left on the disk of .*: 9 B needed, 1 B free"):
            turn._models()  # noqa: SLF001 - as above
    assert sorted(session.project.models.iterdir()) == before


def test_who_needs_a_service_needs_what_that_needs() -> None:
    services: dict[str, dict[str, Any]] = {
        "proxy": {"depends_on": ["api"]},
        "api": {"depends_on": {"prepare": {"condition": "service_completed_successfully"}}},
        "prepare": {"depends_on": {"postgres": {"condition": "service_healthy"}}},
        "postgres": {},
        "redis": {},
    }
    assert sorted(services_needing(services, "postgres")) == ["api", "prepare", "proxy"]
    assert services_needing(services, "redis") == []
