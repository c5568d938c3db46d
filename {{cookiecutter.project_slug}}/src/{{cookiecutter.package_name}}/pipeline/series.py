"""A series in the form for forecasters: arrays of values and features.

`end` is the number of known periods: v[0] to v[end - 1] of the values v. At an origin t, v[0] to
v[t] are known.
"""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import features
from .work import Work

Floats = NDArray[np.float64]

QUANTILES = {"q10": 0.1, "q50": 0.5, "q90": 0.9}
"""Name and level of each quantile; the first and the last are the ends of the 80 % interval."""


@dataclass(frozen=True)
class Series:
    """Values [n] of periods that begin at dates [n]; features [n, features], the first ones NaN."""

    work: Work
    dates: Sequence[dt.date]
    values: Floats
    features: Floats

    def __len__(self) -> int:
        return len(self.values)

    def known(self, end: int) -> "Series":
        return Series(self.work, self.dates[:end], self.values[:end], self.features[:end])

    def date(self, index: int) -> dt.date:
        return self.work.later(self.dates[0], index)

    def origins(self) -> list[int]:
        return np.flatnonzero(~np.isnan(self.features[:, 0])).tolist()

    def bounded(self, quantiles: Floats) -> Floats:
        """Raise forecasts to the lower bound of the series."""
        least = self.work.rule.least
        return np.maximum(quantiles, -math.inf if least is None else least)


def load(work: Work) -> Series:
    """Return the series of features.csv; raises AppError."""
    points, found = features.load(work)
    nothing = [math.nan] * len(features.FEATURES)
    return Series(
        work,
        [point.date for point in points],
        np.array([point.value for point in points]),
        np.array([row or nothing for row in found]),
    )


def ordered(series: Series, found: NDArray[np.floating]) -> Floats:
    """Return quantiles [..., quantiles] sorted, and not below the lower bound.

    Chernozhukov, Fernández-Val and Galichon, Quantile and Probability Curves Without Crossing,
    Econometrica 78 (2010): sorting crossed quantiles brings them closer to the true ones.
    """
    return series.bounded(np.sort(found.astype(np.float64), axis=-1))
