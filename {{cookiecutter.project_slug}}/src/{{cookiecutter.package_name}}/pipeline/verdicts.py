"""Score past decisions against the outcomes."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ..shared.console import AppError
from .consensus import past
from .decisions import Decision, Forecasts, decide, forecasts_of
from .fitting import held_out
from .folds import means
from .forecasters import fit_all
from .series import Series, load
from .versions import digest, made_by
from .work import Work
from .writing import replace_json

FITS = 4
"""Most times that models are fitted for backfilled decisions."""


@dataclass(frozen=True)
class Verdict:
    """A decision, live or backfilled, and the actual value; None if it is not known yet."""

    decision: Decision
    backfilled: bool
    value: float | None

    @property
    def happened(self) -> bool:
        return self.value is not None and self.decision.happened(self.value)

    @property
    def right(self) -> bool:
        return self.happened == (self.decision.action == "warn")

    @property
    def cost(self) -> float:
        """Return the cost of the decision: that of the warning, or the loss without one."""
        if self.decision.action == "warn":
            return self.decision.cost
        return self.decision.loss if self.happened else 0.0


def score(work: Work, asked: argparse.Namespace) -> list[str]:
    """Score the saved decisions and a number of backfilled ones; raises AppError.

    The result is also written if there is nothing to score yet, and says so.
    """
    series = load(work)
    outcomes = dict(zip(map(str, series.dates), series.values.tolist(), strict=True))
    verdicts = [
        Verdict(one, backfilled=False, value=outcomes.get(one.date))
        for one in past(work.path("artifacts/decisions.jsonl"))
    ]
    verdicts += [
        Verdict(one, backfilled=True, value=outcomes.get(one.date))
        for one in backfill(work, series, asked)
    ]
    said = in_words(verdicts)
    report = {
        **made_by(work, digest(work.path("data/features.csv")), asked),
        "said": said,
        "scores": {
            "all": scores(verdicts),
            "live": scores([one for one in verdicts if not one.backfilled]),
            "backfilled": scores([one for one in verdicts if one.backfilled]),
        },
        "decisions": [told(one) for one in verdicts],
    }
    file = work.path("artifacts/consensus_evaluation.json")
    replace_json(file, report)
    return [str(file), said]


def backfill(work: Work, series: Series, asked: argparse.Namespace) -> Iterator[Decision]:
    """Yield the decisions that would have been made at past origins, with what was known then.

    The origins are spread over the newest year with known outcomes. Models and weights are refitted
    up to FITS times, each time with what was known at the first origin after it.
    """
    for origins in groups(past_origins(series, asked.backfill, asked.horizon)):
        known = series.known(origins[0] + 1)
        judged = held_out(known, asked.model, asked.horizon, asked.seed)
        losses = {name: means(judged.measures(name))["pinball"] for name in judged.forecasts}
        fitted = fit_all(asked.model, known, asked.horizon, asked.seed)
        for origin in origins:
            paths = {name: one(series, [origin])[0] for name, one in fitted.items()}
            forecasts = Forecasts(**forecasts_of(series, origin, paths), losses=losses)
            yield decide(work, forecasts, asked.step).decision


def past_origins(series: Series, wanted: int, horizon: int) -> list[int]:
    """Return a number of past origins, oldest first; raises AppError if there are too few."""
    last = len(series) - 1 - horizon
    apart = max(1, series.work.length.year // max(wanted, 1))
    origins = [last - number * apart for number in range(wanted)][::-1]
    if origins and origins[0] < series.work.length.year:
        raise AppError(
            f"{wanted} decisions go back further than the {len(series)} periods available, of"
            " which the first year is needed for training; reduce --backfill"
        )
    return origins


def groups(origins: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield the origins in at most FITS groups of equal size; the last may be smaller."""
    size = max(1, -(-len(origins) // FITS))
    for start in range(0, len(origins), size):
        yield origins[start : start + size]


def scores(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return how good decisions were; measures are None if no decision can be scored yet."""
    known = [one for one in verdicts if one.value is not None]
    counts = {
        "decisions": len(verdicts),
        "scored": len(known),
        "waiting": len(verdicts) - len(known),
        **{action: hits(known, action) for action in ("warn", "hold")},
    }
    if not known:
        return {**counts, "hit_rate": None, "brier": None, "brier_of_share": None, "cost": None}
    share = fmean(one.happened for one in known)
    return {
        **counts,
        "hit_rate": fmean(one.right for one in known),
        "brier": fmean((one.decision.confidence - one.right) ** 2 for one in known),
        "brier_of_share": share * (1 - share),
        "cost": costs(known),
    }


def hits(known: Sequence[Verdict], action: str) -> dict[str, int]:
    """Return the number of decisions with an action, and how many of them were right."""
    own = [one for one in known if one.decision.action == action]
    return {"count": len(own), "right": sum(one.right for one in own)}


def costs(known: Sequence[Verdict]) -> dict[str, float]:
    """Return the cost of the decisions, and that of other strategies."""
    return {
        "decided": sum(one.cost for one in known),
        "always_warn": sum(one.decision.cost for one in known),
        "never_warn": sum(one.decision.loss for one in known if one.happened),
        "knowing": sum(one.decision.cost for one in known if one.happened),
    }


def told(one: Verdict) -> dict[str, Any]:
    """Return a decision in the form of the report."""
    decision = one.decision
    known = one.value is not None
    return {
        "id": decision.id,
        "origin": decision.origin,
        "date": decision.date,
        "event": decision.event,
        "action": decision.action,
        "probability": decision.probability,
        "confidence": decision.confidence,
        "backfilled": one.backfilled,
        "value": one.value,
        "happened": one.happened if known else None,
        "right": one.right if known else None,
        "cost": one.cost if known else None,
    }


def in_words(verdicts: Sequence[Verdict]) -> str:
    """Return the result in a sentence."""
    found = scores(verdicts)
    if not verdicts:
        return "there is no decision to score: run consensus-live, or ask for --backfill"
    if not found["scored"]:
        return f"none of {len(verdicts)} decisions can be scored: their outcomes are not known yet"
    return (
        f"{found['warn']['right'] + found['hold']['right']} of {found['scored']} decisions were"
        f" right ({found['warn']['count']} to warn, {found['hold']['count']} to hold),"
        f" {found['waiting']} await their outcome; Brier score {found['brier']:.3f}, cost"
        f" {found['cost']['decided']:g} (never to warn: {found['cost']['never_warn']:g},"
        f" always: {found['cost']['always_warn']:g})"
    )
