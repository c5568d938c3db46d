from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from slipway.core.errors import Refused
from slipway.core.project import Project
from slipway.core.transaction import StepFailed, change
from slipway.models import promotion, registry
from slipway.models.replicas import AnswerCounts
from tests.models.test_registry import write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slipway.stack.engines.base import Replica

BOUNDS = (0.05, 0.1, 0.25, 1.0)
FAST, MIDDLING, SLOW = (100, 0, 0, 0, 0), (0, 0, 100, 0, 0), (0, 0, 0, 100, 0)


def answers(buckets: tuple[int, ...], errors: int = 0, failures: int = 0) -> AnswerCounts:
    return AnswerCounts(sum(buckets), errors, failures, buckets, BOUNDS)


NONE = AnswerCounts(0, 0, 0, (), ())


@pytest.mark.parametrize(
    ("now", "usual", "said"),
    [
        (NONE, NONE, ""),
        (answers(FAST), answers(FAST), ""),
        (answers(FAST, errors=1), answers(FAST), ""),
        (answers(FAST, errors=2), answers(FAST), "2 of 100 requests failed (before: 0.0%)"),
        (answers(FAST, failures=2), NONE, "2 of 100 requests failed (before: 0.0%)"),
        (answers(FAST, errors=6), answers(FAST, errors=6), ""),
        (answers((3, 0, 0, 0, 0), 1), answers(FAST), "1 of 3 requests failed (before: 0.0%)"),
        (answers(SLOW), answers(FAST), "p99 is 1000 ms, at most 150 ms is allowed"),
        (answers(MIDDLING), answers((0, 100, 0, 0, 0)), ""),
        (answers((0, 0, 0, 9, 0)), answers(FAST), ""),
    ],
)
def test_what_is_within_bounds(now: AnswerCounts, usual: AnswerCounts, said: str) -> None:
    found = promotion.judge_requests(now, usual, last=True)
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_latency_is_judged_at_the_end_only() -> None:
    assert promotion.judge_requests(answers(SLOW), answers(FAST), last=False) == ""


@pytest.mark.parametrize("line", ["", "a warning of a library", "[]", '{"checks": []}', '"name"'])
def test_what_is_no_check_is_passed_over(line: str) -> None:
    assert promotion.read_check(line) == {}
    said = {"name": "load", "ok": True, "detail": "", "seconds": 0.1}
    assert promotion.read_check(json.dumps(said)) == said


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (137, "its process was killed: it needs more memory than is available"),
        (124, "not done within 5 s"),
        (1, "no such module"),
    ],
)
def test_why_the_process_of_the_checks_ended(code: int, reason: str) -> None:
    assert promotion.end_reason(Refused("no such module", code=code), 5) == reason


@dataclass
class Trial:
    """A stack whose checks of a version print these lines, and which serves nothing."""

    project: Project
    said: list[dict[str, Any]]

    @property
    def engine(self) -> Trial:
        return self

    def trial(self, _command: list[str], _limit: float) -> Iterator[str]:
        return map(json.dumps, self.said)

    def replicas(self) -> list[Replica]:
        return []


@pytest.mark.parametrize(("count", "step"), [(0, "step 1 (checksum)"), (3, "step 4 (golden)")])
def test_a_check_without_a_result_is_no_success(tmp_path: Path, count: int, step: str) -> None:
    here = Project(tmp_path, "A", "a", "a")
    file = write(here.models, "tier1", "v1.0", current=True)
    result = {"ok": True, "detail": "", "seconds": 0.1, "bytes": 1}
    said = [{"name": name, **result} for name in promotion.CHECKS[:count]]
    model = registry.find_model(here.models, "tier1")
    stack: Any = Trial(here, said)
    with change(tmp_path, "models.check") as made:
        turn = promotion.Promotion(stack, made, "tier1", promotion.PromotionLimits())
        with pytest.raises(StepFailed) as caught:
            turn.check_version(model)
    assert caught.value.what == f"{step}: its process ended without a result"
    assert registry.served_file(here.models, "tier1") == file.name
