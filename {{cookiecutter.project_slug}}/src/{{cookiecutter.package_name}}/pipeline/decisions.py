"""Combine forecasts and opinions into one decision: whether to warn, of which period, and why.

Forecasters are weighted by their past performance: by the inverse square of their pinball loss, as
Bates and Granger, The Combination of Forecasts, Operational Research Quarterly 20 (1969), have the
inverse of the squared error. Their quantiles are averaged (Lichtendahl, Grushka-Cockayne and
Winkler, Is It Better to Average Probabilities or Quantiles?, Management Science 59, 2013), and so
are their probabilities of the event (the linear opinion pool: Stone, The Opinion Pool, Annals of
Mathematical Statistics 32, 1961), together with the opinions.

The period is chosen before the probabilities are known. Choosing the most probable one of a path
would select the largest errors: on the newest year of precipitation, 73 decisions on one day then
cost 24 instead of 14.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ..shared.console import AppError
from .rules import Interval
from .series import Floats, Series
from .work import Work
from .writing import json_line, rounded

CERTAIN = 0.99
"""Upper bound of a probability (1 minus it is the lower one): three quantiles tell no more."""

REACH = NormalDist().inv_cdf(0.9)
"""Standard deviations from the median to either end of a normal distribution's 80 % interval."""


class Opinion(BaseModel):
    """The opinion of someone who has seen the forecasts, such as a language model."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    member: Annotated[str, Field(min_length=1, max_length=100)]
    warn: bool
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    explanation: Annotated[str, Field(max_length=4000)] = ""

    @property
    def probability(self) -> float:
        return self.confidence if self.warn else 1 - self.confidence


@dataclass(frozen=True)
class Member:
    """A contributor to a decision: its weight, and its probability of the event."""

    member: str
    kind: Literal["forecaster", "opinion"]
    weight: float
    probability: float
    reason: str


class Decision(BaseModel):
    """Whether to warn of an event in the period that begins at a date.

    `confidence` is the probability, as stated, that the decision is right.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    series: str
    interval: Interval
    unit: str
    origin: str
    horizon: int
    event: str
    side: Literal["above", "below"]
    threshold: float
    cost: float
    loss: float
    warn_from: float
    action: Literal["warn", "hold"]
    date: str
    step: int
    probability: float
    confidence: float
    members: list[dict[str, Any]]
    reasons: list[str]

    def happened(self, value: float) -> bool:
        return value >= self.threshold if self.side == "above" else value <= self.threshold


@dataclass(frozen=True)
class Consensus:
    """A decision, and the path it is based on: quantiles [steps, quantiles].

    `probabilities` [steps] are those of the forecasters only.
    """

    decision: Decision
    dates: Sequence[str]
    quantiles: Floats
    probabilities: Floats


@dataclass(frozen=True)
class Forecasts:
    """Paths [steps, quantiles] from an origin, and mean pinball losses so far, by forecaster."""

    origin: str
    dates: Sequence[str]
    paths: Mapping[str, Floats]
    losses: Mapping[str, float]


def decide(
    work: Work, forecasts: Forecasts, step: int = 1, opinions: Sequence[Opinion] = ()
) -> Consensus:
    """Return the decision about one step of the path.

    A warning pays off from the probability at which it costs less than no warning.

    Raises AppError if the path has fewer steps.
    """
    if step > len(forecasts.dates):
        raise AppError(f"the path has {len(forecasts.dates)} steps: --step can be at most that")
    weights = shares(forecasts.losses)
    quantiles = sum((weights[name] * path for name, path in forecasts.paths.items()), start=0.0)
    each = {name: beyond(path, work) for name, path in forecasts.paths.items()}
    pooled = sum((weights[name] * found for name, found in each.items()), start=0.0)
    share = work.rules.opinion_share if opinions else 0.0
    members = [
        Member(name, "forecaster", (1 - share) * weights[name], float(found[step - 1]), why)
        for name, found in each.items()
        for why in [f"pinball loss so far {forecasts.losses[name]:.3g} {work.rule.unit}"]
    ]
    members += [
        Member(one.member, "opinion", share / len(opinions), one.probability, one.explanation)
        for one in opinions
    ]
    decision = conclude(work, forecasts, step, members)
    return Consensus(decision, forecasts.dates, np.asarray(quantiles), np.asarray(pooled))


def shares(losses: Mapping[str, float]) -> dict[str, float]:
    """Return weights that sum to one, by the inverse square of each loss."""
    inverse = {name: max(loss, 1e-9) ** -2 for name, loss in losses.items()}
    return {name: one / sum(inverse.values()) for name, one in inverse.items()}


def beyond(path: Floats, work: Work) -> Floats:
    """Return the probability [steps] that a value is on or beyond the threshold.

    Each half of a forecast is half of a normal distribution through the median and one end of the
    interval. If that half has no width, the threshold is on one side of it with certainty.
    """
    threshold = work.rule.threshold[work.interval]
    above = np.array([1 - below(threshold, *step) for step in path.tolist()])
    found: Floats = above if work.rule.side == "above" else 1 - above
    return found.clip(1 - CERTAIN, CERTAIN)


def below(threshold: float, low: float, middle: float, high: float) -> float:
    """Return the probability that a value with these quantiles is below a threshold."""
    away = threshold - middle
    width = (high - middle if away > 0 else middle - low) / REACH
    if away == 0:
        return 0.5
    return NormalDist().cdf(away / width) if width > 0 else float(away > 0)


def conclude(work: Work, forecasts: Forecasts, step: int, members: Sequence[Member]) -> Decision:
    """Return the joint decision of the members about a step."""
    rule = work.rule
    probability = math.fsum(member.weight * member.probability for member in members)
    warn = probability >= rule.warn_from
    content = {
        "series": work.series,
        "interval": work.interval,
        "unit": rule.unit,
        "origin": forecasts.origin,
        "horizon": len(forecasts.dates),
        "event": rule.event,
        "side": rule.side,
        "threshold": rule.threshold[work.interval],
        "cost": rule.cost,
        "loss": rule.loss,
        "warn_from": rule.warn_from,
        "action": "warn" if warn else "hold",
        "date": forecasts.dates[step - 1],
        "step": step,
        "probability": probability,
        "confidence": probability if warn else 1 - probability,
        "members": [asdict(member) for member in members],
        "reasons": reasons(work, forecasts.dates[step - 1], probability, members),
    }
    identity = hashlib.sha256(json_line(content).encode()).hexdigest()[:16]
    return Decision.model_validate({**rounded(content), "id": identity})


def reasons(work: Work, date: str, probability: float, members: Sequence[Member]) -> list[str]:
    """Return the reasons: the event, its probability, the limit, each member, and who disagrees."""
    rule = work.rule
    threshold = f"{rule.threshold[work.interval]:g} {rule.unit} or {rule.side}"
    warn = probability >= rule.warn_from
    against = [one for one in members if (one.probability >= rule.warn_from) != warn]
    side = "at or above" if warn else "below"
    worth = f"the cost of a warning ({rule.cost:g}) by the loss without one ({rule.loss:g})"
    when = "on" if work.length.days == 1 else "in the week of"
    found = [
        f"{rule.event} ({threshold}) {when} {date} has a probability of {probability:.1%}",
        f"that is {side} {rule.warn_from:.1%}, which is {worth}",
    ]
    said = ", ".join(
        f"{one.member} {one.probability:.1%} (weight {one.weight:.2f})" for one in members
    )
    found.append(f"the members: {said}")
    alone = ", ".join(one.member for one in against)
    other = "not warn" if warn else "warn"
    found.append(
        f"alone, {alone} would {other}" if against else "no member alone would decide otherwise"
    )
    return found


def forecasts_of(series: Series, origin: int, paths: Mapping[str, Floats]) -> dict[str, Any]:
    """Return the origin, dates and paths of forecasts from an origin of a series."""
    horizon = len(next(iter(paths.values())))
    dates = [str(series.date(origin + step)) for step in range(1, horizon + 1)]
    return {"origin": str(series.date(origin)), "dates": dates, "paths": paths}
