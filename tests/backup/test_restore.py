"""What is said of a restore that was killed, and what a restore is of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from slipway.backup import restore
from slipway.backup.restore import ALL_STEPS, HARMLESS, MODELS, STEPS
from slipway.core import journal
from slipway.stack.services import services_needing

if TYPE_CHECKING:
    from pathlib import Path

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
