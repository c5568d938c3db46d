import numpy as np
import pytest

from ..metrics import brier, calibration_error, mean_absolute_error, measure

FORECASTS = np.array([0.1, 0.1, 0.8, 1.0])
TRUTHS = np.array([0.0, 1.0, 1.0, 1.0])


def test_brier_is_the_mean_squared_error() -> None:
    assert brier(FORECASTS, TRUTHS) == pytest.approx((0.01 + 0.81 + 0.04 + 0) / 4)


def test_a_coin_gets_a_quarter() -> None:
    assert brier(np.full(4, 0.5), TRUTHS) == 0.25


def test_calibration_error_weighs_each_bin_by_its_forecasts() -> None:
    two_at_a_tenth, one_at_eight_tenths = 2 * abs(0.1 - 0.5), 1 * abs(0.8 - 1.0)
    expected = (two_at_a_tenth + one_at_eight_tenths) / 4
    assert calibration_error(FORECASTS, TRUTHS) == pytest.approx(expected)


def test_forecasts_that_come_true_as_often_as_they_say_are_calibrated() -> None:
    forecasts = np.array([0.25] * 4 + [1.0] * 2)
    assert calibration_error(forecasts, np.array([1, 0, 0, 0, 1, 1])) == 0


def test_errors_of_one_bin_cancel_out_and_those_of_two_do_not() -> None:
    truths = np.array([1.0, 0.0])
    assert calibration_error(np.array([0.41, 0.59]), truths) == pytest.approx(0.59)
    assert calibration_error(np.array([0.51, 0.59]), truths) == pytest.approx(0.05)


def test_mean_absolute_error_is_in_the_unit_of_the_target() -> None:
    assert mean_absolute_error(np.array([1.0, 5.0]), np.array([2.0, 2.0])) == 2.0


def test_each_kind_of_target_has_its_metrics() -> None:
    assert measure("probability", FORECASTS, TRUTHS).keys() == {"brier", "ece"}
    assert measure("quantity", FORECASTS, TRUTHS).keys() == {"mae"}
