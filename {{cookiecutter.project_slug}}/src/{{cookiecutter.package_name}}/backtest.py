"""Evaluate the tiers as they would have done over time: `python -m <package>.backtest`.

Rolling-origin evaluation: from each of several origins, oldest first, every tier is fitted to what
was known by then and forecasts the samples that came next, beside the baselines. One split tells
how a model does in one stretch of time; several tell whether it does so again. Tashman, Out-of-
sample tests of forecasting accuracy, International Journal of Forecasting 16 (2000); Hyndman and
Athanasopoulos, Forecasting: Principles and Practice (3rd ed., 2021), section 5.10.

Nothing is written, neither models nor forecasts.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from . import observations
from .artifacts import Part
from .database import make_engine, transaction
from .metrics import SCORES, measure
from .observations import key_of
from .problem import BASELINES, HORIZON, TARGETS, TIERS, Observation, step
from .samples import Samples, samples
from .settings import Settings, load
from .shared.console import AppError, run
from .shared.definitions import Estimator, Floats, Target
from .training import FEWEST, SEED, baselines, fit, part

WINDOWS = 5
SIZE = 60
"""Samples that are forecast from one origin before the next one."""

Metrics = Mapping[str, float]


class Window(BaseModel):
    """One origin: training samples, forecast samples, and each forecaster's metrics by target."""

    fitted: Part
    forecast: Part
    metrics: dict[str, dict[str, Metrics]]


class Report(BaseModel):
    """The windows, and each forecaster's metrics by target on all of their samples together."""

    seed: int
    windows: list[Window]
    metrics: dict[str, dict[str, Metrics]]


Forecasts = Mapping[str, Mapping[str, Floats]]
"""By target, then by forecaster (tiers, then baselines): one array over a window's samples."""


def main() -> None:
    options = parse()
    engine = make_engine(load(Settings).database_url)
    with transaction(engine) as connection:
        rows = observations.newest(connection)
    engine.dispose()
    tiers = options.tier or list(TIERS)
    report = evaluate(rows, tiers, options.windows, options.size, options.seed)
    text = report.model_dump_json(indent=2)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(f"{text}\n", encoding="utf-8")
    print(text if options.json else "\n".join(table(report, tiers)))
    if options.strict and (worse := beaten(report, tiers)):
        raise AppError(f"no better than the baselines: {', '.join(worse)}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Evaluate the tiers from several forecast origins."
    )
    parser.add_argument("--tier", nargs="+", choices=list(TIERS), help="which (default: all)")
    parser.add_argument("--windows", type=positive, default=WINDOWS, help="origins (%(default)s)")
    parser.add_argument(
        "--size", type=positive, default=SIZE, help="samples to forecast from each (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="random seed (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--output", type=Path, help="also write the JSON to this file")
    parser.add_argument(
        "--strict", action="store_true", help="fail if a tier is no better than a baseline"
    )
    return parser.parse_args()


def positive(text: str) -> int:
    """Read a whole number above zero."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def evaluate(
    rows: Sequence[Observation], tiers: Sequence[str], windows: int, size: int, seed: int = SEED
) -> Report:
    """Return how the tiers and the baselines do on the newest `windows` times `size` samples.

    Raises AppError if too few samples are left to fit to from the first origin.
    """
    every = samples(rows)
    truths = {target.name: every.truths[target.name][-windows * size :] for target in TARGETS}
    judged, made = [], []
    for known, coming in origins(every, windows, size):
        found = forecasts(rows, known, coming, tiers, seed)
        made.append(found)
        judged.append(
            Window(fitted=part(known), forecast=part(coming), metrics=worth(found, coming.truths))
        )
    return Report(seed=seed, windows=judged, metrics=worth(together(made), truths))


def origins(every: Samples, windows: int, size: int) -> Iterator[tuple[Samples, Samples]]:
    """Yield, for each origin, the samples whose outcome was known by then, and those after it.

    Raises AppError if too few are known at the first one.
    """
    for number in range(windows, 0, -1):
        first, last = len(every) - number * size, len(every) - (number - 1) * size
        known = known_at(every, max(first, 0))
        if len(known) < FEWEST:
            raise AppError(
                f"{windows} windows of {size} leave fewer than {FEWEST} of {len(every)} samples to"
                " fit to; reduce --windows or --size, or load more rows"
            )
        yield known, every.part(first, last)


def known_at(every: Samples, origin: int) -> Samples:
    """Return the samples before the origin's whose outcome is no newer than its newest row."""
    keys = every.keys
    known = [key for key in keys[:origin] if step(key, HORIZON) <= keys[origin]]
    return every.part(None, len(known))


def forecasts(
    rows: Sequence[Observation], known: Samples, coming: Samples, tiers: Sequence[str], seed: int
) -> Forecasts:
    """Return what each tier, fitted to what is known, and each baseline make of what is coming."""
    limit = step(known.keys[-1], HORIZON)
    past = [row for row in rows if key_of(row) <= limit]
    return {
        target.name: {
            **{tier: forecast(fit(tier, target, known, seed), target, coming) for tier in tiers},
            **baselines(target, past, coming),
        }
        for target in TARGETS
    }


def forecast(estimator: Estimator, target: Target[Observation], coming: Samples) -> Floats:
    """Return an estimator's forecasts of samples: of a probability, that of the second class."""
    if target.kind == "quantity":
        return estimator.predict(coming.features)
    probabilities: Floats = estimator.predict_proba(coming.features)[:, 1]  # type: ignore[attr-defined]
    return probabilities


def together(made: Sequence[Forecasts]) -> Forecasts:
    """Join the forecasts of all windows."""
    return {
        target: {name: np.concatenate([one[target][name] for one in made]) for name in found}
        for target, found in made[0].items()
    }


def worth(made: Forecasts, truths: Mapping[str, Floats]) -> dict[str, dict[str, Metrics]]:
    """Return every forecaster's metrics, by target."""
    return {
        target.name: {
            name: measure(target.kind, values, truths[target.name])
            for name, values in made[target.name].items()
        }
        for target in TARGETS
    }


def scores(metrics: Mapping[str, Mapping[str, Metrics]], target: Target[Observation]) -> Metrics:
    """Return each forecaster's score of a target; less is better."""
    return {name: found[SCORES[target.kind]] for name, found in metrics[target.name].items()}


def better(found: Metrics, tier: str) -> bool:
    return all(found[tier] < found[name] for name in BASELINES)


def beaten(report: Report, tiers: Sequence[str]) -> list[str]:
    """Name the tiers, with the target, that are no better than every baseline."""
    return [
        f"{tier} at {target.name}"
        for tier in tiers
        for target in TARGETS
        if not better(scores(report.metrics, target), tier)
    ]


def table(report: Report, tiers: Sequence[str]) -> list[str]:
    """Return the lines of a table: a line for each target of each tier."""
    first, last = report.windows[0], report.windows[-1]
    count = sum(window.forecast.count for window in report.windows)
    forecast = f"{count} forecasts, {first.forecast.first} to {last.forecast.last}"
    fitted = f"fitted to {first.fitted.count} to {last.fitted.count} samples"
    lines = [f"{len(report.windows)} origins, {forecast}, {fitted}:"]
    cells = [["model", "target", "metric", "value", "by window", *BASELINES, ""]]
    cells += [line(report, tier, target) for tier in tiers for target in TARGETS]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(padded).rstrip())
    return lines


def line(report: Report, tier: str, target: Target[Observation]) -> list[str]:
    """Return the cells of one tier and target: its score, the baselines' and the verdict."""
    total = scores(report.metrics, target)
    each = [scores(window.metrics, target) for window in report.windows]
    won = sum(better(found, tier) for found in each)
    values = [found[tier] for found in each]
    word = "better" if better(total, tier) else "NOT better"
    verdict = f"{word} than every baseline; in {won} of {len(each)} windows"
    return [
        tier,
        target.name,
        SCORES[target.kind],
        f"{total[tier]:.3f}",
        f"{min(values):.3f} to {max(values):.3f}",
        *(f"{total[name]:.3f}" for name in BASELINES),
        verdict,
    ]


if __name__ == "__main__":
    run(main)
