import math

import pytest

from ..attempts import DELAY_MAX, JITTER, delay, written
from ..job import Cancelled, Job, Unrecoverable
from ..store import RESULT_MAX


def test_delays_grow_and_end() -> None:
    assert 2 * (1 - JITTER) <= delay(1) <= 2 * (1 + JITTER)
    assert 8 * (1 - JITTER) <= delay(3) <= 8 * (1 + JITTER)
    assert delay(1000) <= DELAY_MAX * (1 + JITTER)


@pytest.mark.parametrize("result", [{"a": math.nan}, {"a": object()}, {"a": "x" * RESULT_MAX}])
def test_a_result_is_json_and_not_large(result: dict[str, object]) -> None:
    with pytest.raises(Unrecoverable):
        written(result)


def test_a_job_without_a_queue_reports_to_nobody() -> None:
    job = Job("id")
    job.progress(0.5, "half")
    assert (job.key, job.attempt, job.cancelled()) == ("id", 1, False)
    job.stop()
    with pytest.raises(Cancelled):
        job.progress(0.6)


def test_progress_is_told_now_and_then() -> None:
    told: list[tuple[float, str]] = []
    job = Job("id", report=lambda *said: told.append(said))
    for _ in range(1000):
        job.progress(2, "all")
    assert told == [(1.0, "all")]
