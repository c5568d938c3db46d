import math

import pytest

from ..artifacts import Metadata, TargetMetrics
from ..gates import CALIBRATION, judged, worse
from ..problem import TARGETS
from ..settings import ApiSettings
from .conftest import served

TARGET = TARGETS[0].name


def with_metrics(settings: ApiSettings, **changes: object) -> Metadata:
    """Return the metadata of what is served with other metrics of the first target."""
    metadata = served(settings)
    metrics = {**metadata.metrics, TARGET: metadata.metrics[TARGET].model_copy(update=changes)}
    return metadata.model_copy(update={"metrics": metrics, "version": "v1.1"})


def measured(settings: ApiSettings, **values: float) -> Metadata:
    return with_metrics(settings, model=values, score="score")


@pytest.mark.parametrize(
    ("new", "most", "wrong"),
    [
        (0.20, 0.05, 0),
        (0.19, 0.05, 0),
        (0.21, 0.05, 0),
        (0.2101, 0.05, 1),
        (0.2001, 0.0, 1),
        (0.30, 0.5, 0),
        (math.nan, 0.5, 1),
        (math.inf, 0.5, 1),
    ],
)
def test_a_score_may_be_so_much_worse(
    settings: ApiSettings, new: float, most: float, wrong: int
) -> None:
    found = worse(measured(settings, score=new), measured(settings, score=0.2), most)
    assert len(list(found)) == wrong


def test_what_is_worse_is_said_with_both_values(settings: ApiSettings) -> None:
    found = list(worse(measured(settings, score=0.3), measured(settings, score=0.2), 0.05))
    assert len(found) == 1
    assert found[0].startswith(f"score of {TARGET} is 0.300, that of v1.1 0.200: at most 5%")


def test_scores_of_another_kind_are_not_compared(settings: ApiSettings) -> None:
    other = with_metrics(settings, model={"other": 0.1}, score="other")
    assert list(worse(measured(settings, score=9.0), other, 0.05)) == []
    without = other.model_copy(update={"metrics": dict[str, TargetMetrics]()})
    assert list(worse(measured(settings, score=9.0), without, 0.05)) == []


@pytest.mark.parametrize(("error", "wrong"), [(0.1, 0), (0.11, 1), (math.nan, 1)])
def test_a_calibration_error_has_a_bound(settings: ApiSettings, error: float, wrong: int) -> None:
    bounded = settings.model_copy(update={"calibration_error_max": 0.1})
    score = served(settings).metrics[TARGET].score
    metadata = with_metrics(settings, model={score: 0.1, CALIBRATION: error})
    assert len(judged(metadata, bounded)[1]) == wrong


def test_what_was_not_measured_is_no_good(settings: ApiSettings) -> None:
    empty = served(settings).model_copy(update={"metrics": dict[str, TargetMetrics]()})
    assert judged(empty, settings)[1] == [f"there are no metrics for {one.name}" for one in TARGETS]
    assert judged(with_metrics(settings, model={}), settings)[1] == [
        f"there are no metrics for {TARGET}"
    ]


def test_the_baselines_have_to_be_beaten_where_the_settings_say_so(settings: ApiSettings) -> None:
    metadata = with_metrics(settings, beats_baselines=False)
    words = f"NOT better than the baselines in {TARGET}"
    assert judged(metadata, settings) == (words, [])
    strict = settings.model_copy(update={"must_beat_baselines": True})
    assert judged(metadata, strict) == (words, [words])
