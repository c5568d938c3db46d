import pytest
from pydantic import BaseModel, ValidationError

from ..observations import key_of
from ..problem import EXAMPLE, HISTORY, KEY, TARGETS, TIERS
from ..schemas import (
    PREDICT_EXAMPLES,
    Health,
    LoadedModel,
    PastPrediction,
    PredictRequest,
    PredictResponse,
)
from .conftest import example_rows


def problem_of(**values: object) -> tuple[tuple[int | str, ...], str]:
    """Return where a request is wrong, and why."""
    with pytest.raises(ValidationError) as caught:
        PredictRequest.model_validate(values)
    [error] = caught.value.errors()
    return error["loc"], error["msg"]


def test_a_request_may_be_empty() -> None:
    asked = PredictRequest.model_validate({})
    assert (asked.tier, asked.at, asked.observations) == (next(iter(TIERS)), None, None)


def test_an_unknown_tier_is_refused_with_the_known_ones() -> None:
    where, why = problem_of(tier="tier0")
    assert where == ("tier",)
    assert all(tier in why for tier in TIERS)


def test_an_unknown_field_is_refused() -> None:
    assert problem_of(teir="tier1")[0] == ("teir",)


@pytest.mark.parametrize("count", [0, HISTORY - 1, HISTORY + 1])
def test_another_number_of_rows_is_refused(count: int) -> None:
    where, why = problem_of(observations=example_rows(count))
    assert where == ("observations",)
    assert f"{HISTORY} item" in why


@pytest.mark.skipif(HISTORY == 1, reason="one row has no order")
def test_rows_that_do_not_follow_one_another_are_refused() -> None:
    where, why = problem_of(observations=example_rows(HISTORY)[::-1])
    assert where == ("observations",)
    assert KEY in why


def test_rows_after_which_there_is_nothing_to_forecast_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def last(*_: object) -> None:
        raise OverflowError

    monkeypatch.setattr(f"{PredictRequest.__module__}.step", last)
    where, why = problem_of(observations=example_rows(HISTORY))
    assert where == ("observations",)
    assert why.endswith(f"after {key_of(EXAMPLE)}")


def test_rows_and_a_key_at_once_are_refused() -> None:
    where, why = problem_of(at=key_of(EXAMPLE), observations=example_rows(HISTORY))
    assert where == ("observations",)
    assert "not both" in why


def test_a_bad_field_of_a_row_is_refused_by_its_place() -> None:
    rows = [row.model_dump() for row in example_rows(HISTORY)]
    rows[-1][KEY] = "never"
    assert problem_of(observations=rows)[0] == ("observations", HISTORY - 1, KEY)


@pytest.mark.parametrize("name", PREDICT_EXAMPLES)
def test_the_examples_of_requests_are_requests(name: str) -> None:
    PredictRequest.model_validate(PREDICT_EXAMPLES[name]["value"])


@pytest.mark.parametrize("model", [PredictResponse, PastPrediction, LoadedModel, Health])
def test_the_examples_of_answers_are_answers(model: type[BaseModel]) -> None:
    example = model.model_json_schema()["example"]
    assert model.model_validate(example).model_dump(mode="json") == example
    if "prediction" in example:
        assert example["prediction"].keys() == {target.name for target in TARGETS}
