"""How good forecasts are. `forecasts` and `truths` are arrays of one length, [n]."""

from .shared.definitions import Floats, Kind

SCORES: dict[Kind, str] = {"probability": "brier", "quantity": "mae"}
"""The score a model is compared with baselines by; for all of them less is better."""

BINS = 10


def brier(forecasts: Floats, truths: Floats) -> float:
    """Return the mean squared error of probabilities: 0 is perfect, 0.25 is what 1/2 gets.

    Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review
    78 (1950), in its form for two outcomes.
    """
    return float(((forecasts - truths) ** 2).mean())


def calibration_error(forecasts: Floats, truths: Floats) -> float:
    """Return the expected calibration error over ten bins of equal width, between 0 and 1.

    The mean distance, over the forecasts, of their bin's mean forecast from how often it came
    true: Naeini, Cooper and Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian
    Binning, AAAI 2015.
    """
    bins = (forecasts * BINS).astype(int).clip(0, BINS - 1)
    members = [bins == number for number in range(BINS)]
    return float(
        sum(abs((forecasts[inside] - truths[inside]).sum()) for inside in members) / len(forecasts)
    )


def mean_absolute_error(forecasts: Floats, truths: Floats) -> float:
    """Return the mean distance of forecasts from truths, in the target's unit.

    Preferred to the root mean square for being plain to read: Willmott and Matsuura, Advantages
    of the mean absolute error, Climate Research 30 (2005).
    """
    return float(abs(forecasts - truths).mean())


def measure(kind: Kind, forecasts: Floats, truths: Floats) -> dict[str, float]:
    """Return every metric of a kind of target, by name."""
    if kind == "quantity":
        return {"mae": mean_absolute_error(forecasts, truths)}
    return {"brier": brier(forecasts, truths), "ece": calibration_error(forecasts, truths)}
