import pytest

from ..scores import CalibrationBin, OutcomePair, calibration_bins, outcome_pairs
from .fake_api import make_forecast


def test_only_forecasts_with_a_known_outcome_are_paired() -> None:
    history = [make_forecast("c", 0.9), make_forecast("b", 0.2, 1), make_forecast("a", 0.3, 0)]
    assert outcome_pairs(history, "rain") == [OutcomePair(0.2, 1), OutcomePair(0.3, 0)]
    assert outcome_pairs(history, "snow") == []


def test_a_bin_holds_probabilities_from_its_lower_edge_up_to_the_next() -> None:
    forecasts = [(0.0, 0), (0.05, 1), (0.1, 0), (0.3, 1), (0.99, 1), (1.0, 1)]
    bins = calibration_bins([OutcomePair(*each) for each in forecasts])
    assert [(each.low, each.high, each.count) for each in bins] == [
        (0.0, 0.1, 2),
        (0.1, 0.2, 1),
        (0.3, 0.4, 1),
        (0.9, 1.0, 2),
    ]
    assert [each.frequency for each in bins] == [0.5, 0.0, 1.0, 1.0]
    assert [each.forecast for each in bins] == pytest.approx([0.025, 0.1, 0.3, 0.995])


def test_no_forecasts_make_no_bins() -> None:
    assert calibration_bins([]) == []


def test_a_bin_has_the_interval_of_its_frequency() -> None:
    bins = calibration_bins([OutcomePair(0.75, 1)] * 8 + [OutcomePair(0.75, 0)] * 2)
    expected = CalibrationBin(0.7, 0.8, 10, 0.75, 0.8, 0.4902, 0.9433)
    assert vars(bins[0]) == pytest.approx(vars(expected), abs=1e-4)
