import pytest

from .. import wording
from ..kinds import Forecast


def test_a_model_is_given_every_figure_and_nothing_else(forecast: Forecast) -> None:
    assert wording.prompt(forecast).user == (
        "The forecast for Friday, 1 January 2016:\n- rain: 73 %\n- temp max: 5.6 °C"
    )


def test_the_same_is_said_without_a_model(forecast: Forecast) -> None:
    said = "The forecast for Friday, 1 January 2016: rain 73 %, temp max 5.6 °C."
    assert wording.template(forecast) == said


@pytest.mark.parametrize(
    ("value", "unit", "figure"),
    [
        (0.0, "probability", "0 %"),
        (1.0, "probability", "100 %"),
        (0.005, "probability", "0.5 %"),
        (0.997, "probability", "99.7 %"),
        (0.734, "probability", "73 %"),
        (-0.01, "°C", "0.0 °C"),
        (12345.6, "MW", "12345.6 MW"),
        (3.14, "", "3.1"),
    ],
)
def test_figures_are_as_precise_as_a_reader_needs(value: float, unit: str, figure: str) -> None:
    assert wording.figure(value, unit) == figure


def test_what_a_model_thinks_is_no_answer() -> None:
    text = "<think>\n5 or 6?\n</think>\n\n  Rain   73 %. \n- next\n"
    assert wording.tidied(text) == "Rain 73 %.\n- next"
