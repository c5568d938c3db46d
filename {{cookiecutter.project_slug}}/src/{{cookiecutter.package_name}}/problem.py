"""The problem: what a row is, what is forecast, from which features and by which models.

This is the one module that knows about the weather. To serve a model of your own, replace its
names one for one; everything else goes through them (services/api/your-model.md).
"""

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, model_validator

from .shared.definitions import Baseline, Estimator, Feature, Forecaster, Kind, Target, Tier


def read_day(value: object) -> object:
    """Take slashes for dashes, and refuse numbers: pydantic would read them as time stamps."""
    if isinstance(value, dt.date):
        return value
    if not re.fullmatch(r"\d{4}([-/])\d\d\1\d\d", str(value)):
        raise ValueError(f"a date should be YYYY-MM-DD, not {str(value)[:20]!r}")
    return str(value).replace("/", "-")


Key = Annotated[dt.date, Strict(strict=False), BeforeValidator(read_day)]
KEY = "date"
"""The field of `Observation` that holds a row's key: unique, and in the order of the rows."""


AFTER_LAST = dt.date(3000, 1, 1)
"""No day is this late; a date has a last day (9999-12-31), after which nothing can be forecast."""


def step(key: Key, rows: int) -> Key:
    return key + dt.timedelta(days=rows)


class Observation(BaseModel):
    """One day's weather, as measured.

    Strict: in a request "3.5" and true are no numbers. A file's fields are read from text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    date: Key = Field(lt=AFTER_LAST, description="Day of the observation")
    precipitation: float = Field(ge=0, le=500, description="Rain and melted snow, mm")
    temp_max: float = Field(ge=-60, le=60, description="Highest temperature, °C")
    temp_min: float = Field(ge=-60, le=60, description="Lowest temperature, °C")
    wind: float = Field(ge=0, le=100, description="Mean wind speed, m/s")
    weather: Literal["drizzle", "fog", "rain", "snow", "sun"] = Field(
        description="The day's weather in one word"
    )

    @model_validator(mode="after")
    def check_temperatures(self) -> Self:
        """Refuse a night that was warmer than its day."""
        if self.temp_min > self.temp_max:
            raise ValueError(f"temp_min {self.temp_min} is above temp_max {self.temp_max}")
        return self


EXAMPLE = Observation(
    date=dt.date(2015, 12, 31),
    precipitation=0.0,
    temp_max=5.6,
    temp_min=-2.1,
    wind=3.5,
    weather="sun",
)
"""A real row, shown in the documentation of the API."""

HISTORY = 7
"""Rows a forecast looks at: the newest and those right before it."""

HORIZON = 1
"""Rows from the newest of them to the row that is forecast; 0 forecasts a part of that row."""


def rained(day: Observation) -> float:
    return float(day.precipitation > 0)


def log_precipitation(day: Observation) -> float:
    """Return log(1 + mm): a day of 50 mm is not fifty times a day of 1 mm."""
    return math.log1p(day.precipitation)


def season(day: dt.date) -> float:
    return 2 * math.pi * day.timetuple().tm_yday / 365.25


FEATURES: Mapping[str, Feature[Observation]] = {
    "season_sin": lambda days: math.sin(season(days[-1].date)),
    "season_cos": lambda days: math.cos(season(days[-1].date)),
    "temp_max": lambda days: days[-1].temp_max,
    "temp_min": lambda days: days[-1].temp_min,
    "temp_range": lambda days: days[-1].temp_max - days[-1].temp_min,
    "wind": lambda days: days[-1].wind,
    "rained": lambda days: rained(days[-1]),
    "log_precipitation": lambda days: log_precipitation(days[-1]),
    "temp_max_day_before": lambda days: days[-2].temp_max,
    "temp_min_day_before": lambda days: days[-2].temp_min,
    "wind_day_before": lambda days: days[-2].wind,
    "rained_day_before": lambda days: rained(days[-2]),
    "temp_max_mean_3": lambda days: fmean(day.temp_max for day in days[-3:]),
    "temp_max_mean_7": lambda days: fmean(day.temp_max for day in days),
    "rained_mean_7": lambda days: fmean(map(rained, days)),
    "log_precipitation_mean_3": lambda days: fmean(map(log_precipitation, days[-3:])),
}
"""Name of each feature, in the order the models take them, and how it is read from a history.

The day in a word is not among them: on 2014, forecast from 2012 and 2013, it did not help.
"""

TARGETS: Sequence[Target[Observation]] = (
    Target("rain", "probability", "probability", rained),
    Target("temp_max", "quantity", "°C", lambda day: day.temp_max),
)

CLIMATOLOGY_DAYS = 15


def climatology(
    training: Sequence[Observation], target: Target[Observation]
) -> Forecaster[Observation]:
    """Forecast the training years' mean of the days within 15 of the target's day of the year.

    The usual reference of a forecast's skill: Wilks, Statistical Methods in the Atmospheric
    Sciences (4th ed., 2019), section 9.1.
    """
    known = [(day.date, truth) for day in training if (truth := target.truth(day)) is not None]
    means = {number: mean_near(known, number) for number in range(1, 367)}
    return lambda newest: means[step(newest.date, HORIZON).timetuple().tm_yday]


def mean_near(known: Sequence[tuple[dt.date, float]], number: int) -> float:
    """Return the mean of days near the year's day `number`; of all of them where none is near."""
    near = [value for day, value in known if days_apart(day, number) <= CLIMATOLOGY_DAYS]
    return fmean(near or [value for _, value in known])


def days_apart(day: dt.date, number: int) -> int:
    """Return the days between a day and the year's day `number`, the short way round."""
    apart = abs(day.timetuple().tm_yday - number)
    return min(apart, 365 - apart)


def persistence(
    _training: Sequence[Observation], target: Target[Observation]
) -> Forecaster[Observation]:
    return lambda newest: target.truth(newest) or 0.0


BASELINES: Mapping[str, Baseline[Observation]] = {
    "climatology": climatology,
    "persistence": persistence,
}


def gradient_boosting(kind: Kind, seed: int) -> Estimator:
    """Return many small trees, each on half of the rows.

    scikit-learn is imported here, and not above, because serving does without it.
    """
    from sklearn.ensemble import (  # noqa: PLC0415
        GradientBoostingClassifier,
        GradientBoostingRegressor,
    )

    booster = GradientBoostingClassifier if kind == "probability" else GradientBoostingRegressor
    estimator: Estimator = booster(
        n_estimators=150,
        learning_rate=0.03,
        max_depth=3,
        min_samples_leaf=20,
        subsample=0.5,
        random_state=seed,
    )
    return estimator


def neural_network(kind: Kind, seed: int) -> Estimator:
    """Return one hidden layer on standardised features, fitted by L-BFGS.

    L-BFGS suits small data better than Adam, says scikit-learn's user guide (section 1.17), and
    needs no learning rate; the strong weight decay was chosen on 2014.
    """
    from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    network = MLPClassifier if kind == "probability" else MLPRegressor
    layer = network(
        hidden_layer_sizes=(16,),
        solver="lbfgs",
        alpha=30,
        max_iter=2000,
        tol=3e-3,
        random_state=seed,
    )
    pipeline: Estimator = make_pipeline(StandardScaler(), layer)
    return pipeline


TIERS: Mapping[str, Tier] = {
    "tier1": Tier("Gradient boosting", gradient_boosting),
    "tier2": Tier("Small neural network", neural_network),
}
"""The first is what a request gets that names none."""
