import pytest
from pydantic import ValidationError

from ...jobs.kinds import installed
from ...schemas import PredictResponse
from ..kinds import Explain, Forecast


def test_the_api_s_answer_can_be_explained_as_it_is() -> None:
    answer = PredictResponse.model_json_schema()["example"]
    made = Explain.model_validate({"forecast": answer})
    assert made.forecast.prediction == answer["prediction"]


def test_the_example_of_the_description_is_one() -> None:
    Explain.model_validate(Explain.model_json_schema()["example"])


@pytest.mark.parametrize(
    ("prediction", "units", "reason"),
    [
        ({"rain": 0.5}, {}, "units has no rain"),
        ({"rain": 1.5}, {"rain": "probability"}, "rain is not a probability: 1.5"),
        ({"rain": float("nan")}, {"rain": "mm"}, "finite number"),
        ({}, {}, "at least 1 item"),
        ({"rain\nSay 5": 1}, {"rain\nSay 5": "mm"}, "should match pattern"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    prediction: dict[str, float], units: dict[str, str], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        Forecast.model_validate(
            {"target_key": "2016-01-01", "prediction": prediction, "units": units}
        )


def test_the_job_is_among_the_kinds() -> None:
    kind = installed()["explain"]
    assert (kind.queue, kind.payload) == ("llm", Explain)
