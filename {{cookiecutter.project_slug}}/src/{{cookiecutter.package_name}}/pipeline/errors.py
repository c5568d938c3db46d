"""The accuracy of quantile forecasts [..., quantiles], given the truths [...]."""

import numpy as np

from .series import QUANTILES, Floats

LEVELS = np.array(list(QUANTILES.values()))
NAMES = list(QUANTILES)


def naive_error(values: Floats) -> float:
    """Return the mean absolute error of one-step naive forecasts of a series: its scale.

    If a series never changes, the error is 0; the scale is then 1 in its unit.
    """
    return float(np.abs(np.diff(values)).mean()) or 1.0


def absolute_scaled(forecasts: Floats, truths: Floats, scale: float) -> Floats:
    """Return the scaled absolute errors of the medians; their mean is MASE.

    Hyndman and Koehler, Another look at measures of forecast accuracy, International Journal of
    Forecasting 22 (2006); `scale` is the in-sample error of the one-step naive forecast.
    """
    found: Floats = np.abs(forecasts[..., NAMES.index("q50")] - truths) / scale
    return found


def pinball(forecasts: Floats, truths: Floats) -> Floats:
    """Return the pinball loss, averaged over the quantiles, in the unit of the series.

    Koenker and Bassett, Regression Quantiles, Econometrica 46 (1978).
    """
    over = truths[..., np.newaxis] - forecasts
    found: Floats = np.maximum(LEVELS * over, (LEVELS - 1) * over).mean(axis=-1)
    return found


def covered(forecasts: Floats, truths: Floats) -> Floats:
    """Return 1 where the truth is within the 80 % interval or on its ends, else 0."""
    inside = (forecasts[..., 0] <= truths) & (truths <= forecasts[..., -1])
    return inside.astype(np.float64)


def measures(forecasts: Floats, truths: Floats, scale: float) -> dict[str, Floats]:
    """Return every measure of each forecast, by name; reports contain their means."""
    return {
        "mase": absolute_scaled(forecasts, truths, scale),
        "pinball": pinball(forecasts, truths),
        "coverage": covered(forecasts, truths),
        "width": forecasts[..., -1] - forecasts[..., 0],
    }
