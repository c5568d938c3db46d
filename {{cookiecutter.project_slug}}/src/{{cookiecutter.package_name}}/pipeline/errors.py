"""How good quantile forecasts [..., quantiles] are, against truths [...]."""

import numpy as np

from .series import QUANTILES, Floats

LEVELS = np.array(list(QUANTILES.values()))
NAMES = list(QUANTILES)


def naive_error(values: Floats) -> float:
    """Return what one-step naive forecasts of a series were off by on average: its scale.

    Where a series never changes that is 0, and 1 in its unit stands for it.
    """
    return float(np.abs(np.diff(values)).mean()) or 1.0


def absolute_scaled(forecasts: Floats, truths: Floats, scale: float) -> Floats:
    """Return the absolute errors of the medians, scaled; their mean is MASE.

    Hyndman and Koehler, Another look at measures of forecast accuracy, International Journal of
    Forecasting 22 (2006); `scale` is the in-sample error of the one-step naive forecast.
    """
    found: Floats = np.abs(forecasts[..., NAMES.index("q50")] - truths) / scale
    return found


def pinball(forecasts: Floats, truths: Floats) -> Floats:
    """Return the pinball loss, its mean over the quantiles, in the unit of the series.

    Koenker and Bassett, Regression Quantiles, Econometrica 46 (1978).
    """
    over = truths[..., np.newaxis] - forecasts
    found: Floats = np.maximum(LEVELS * over, (LEVELS - 1) * over).mean(axis=-1)
    return found


def covered(forecasts: Floats, truths: Floats) -> Floats:
    """Return 1 where the truth is within the 80 % interval, its ends included, else 0."""
    inside = (forecasts[..., 0] <= truths) & (truths <= forecasts[..., -1])
    return inside.astype(np.float64)


def measures(forecasts: Floats, truths: Floats, scale: float) -> dict[str, Floats]:
    """Return every measure of each forecast, by name; what is reported is their means."""
    return {
        "mase": absolute_scaled(forecasts, truths, scale),
        "pinball": pinball(forecasts, truths),
        "coverage": covered(forecasts, truths),
        "width": forecasts[..., -1] - forecasts[..., 0],
    }
