"""How good the forecasts were: pairs of forecast and outcome, errors and calibration."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .api_types import ForecastRecord

BIN_COUNT = 10


@dataclass(frozen=True)
class OutcomePair:
    """A forecast of one target, and its outcome."""

    forecast: float
    outcome: float


@dataclass(frozen=True)
class CalibrationBin:
    """The forecasts in one interval of probability, and how often the event happened."""

    low: float
    high: float
    count: int
    forecast: float
    frequency: float
    frequency_low: float
    frequency_high: float


def outcome_pairs(forecasts: Sequence[ForecastRecord], target: str) -> list[OutcomePair]:
    """Return the forecasts of a target whose outcome is known."""
    return [
        OutcomePair(forecast.prediction[target], outcome)
        for forecast in forecasts
        if (outcome := forecast.known_outcome(target)) is not None and target in forecast.prediction
    ]


def brier_score(pairs: Sequence[OutcomePair]) -> float:
    """Return the mean squared error of probabilities."""
    return sum((pair.forecast - pair.outcome) ** 2 for pair in pairs) / len(pairs)


def mean_absolute_error(pairs: Sequence[OutcomePair]) -> float:
    """Return the mean distance between forecast and outcome."""
    return sum(abs(pair.forecast - pair.outcome) for pair in pairs) / len(pairs)


def calibration_bins(pairs: Sequence[OutcomePair], count: int = BIN_COUNT) -> list[CalibrationBin]:
    """Group probabilities into bins of equal width; empty ones are left out."""
    groups: dict[int, list[OutcomePair]] = {}
    for pair in pairs:
        groups.setdefault(min(int(pair.forecast * count), count - 1), []).append(pair)
    return [
        summarize_bin(index / count, (index + 1) / count, groups[index]) for index in sorted(groups)
    ]


def summarize_bin(low: float, high: float, pairs: Sequence[OutcomePair]) -> CalibrationBin:
    """Summarize the forecasts of one bin."""
    size = len(pairs)
    events = sum(pair.outcome for pair in pairs)
    forecast = sum(pair.forecast for pair in pairs) / size
    interval = wilson_interval(events, size)
    return CalibrationBin(low, high, size, forecast, events / size, *interval)


def wilson_interval(events: float, size: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95% interval of a frequency (Wilson, 1927, J. Am. Stat. Assoc. 22)."""
    frequency, scale = events / size, 1 + z * z / size
    middle = (frequency + z * z / (2 * size)) / scale
    half = z / scale * math.sqrt(frequency * (1 - frequency) / size + z * z / (4 * size * size))
    return max(0.0, middle - half), min(1.0, middle + half)
