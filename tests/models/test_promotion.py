from __future__ import annotations

import json

import pytest

from slipway.models import promotion
from slipway.models.replicas import AnswerCounts

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
