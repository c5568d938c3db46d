"""Train the tiers and write each as an artifact; a tier without a model serves it.

Run as `python -m <package>.training`. The newest quarter of the samples is held out; metrics are
those of the exported model on it, beside the baselines on the same samples. Training on the same
rows with the same seed and libraries gives the same file, byte for byte.
"""

import argparse
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import artifacts, observations
from .artifacts import Golden, Metadata, Part, TargetMetrics
from .database import make_engine, transaction
from .metrics import SCORES, measure
from .problem import BASELINES, FEATURES, TARGETS, TIERS, Observation
from .samples import Samples, samples, split
from .settings import Settings, load
from .shared.console import AppError, progress, run
from .shared.definitions import Estimator, Floats, Target
from .shared.export import export
from .shared.formats import Outputs, onnx
from .tiers import interfaces

FEWEST = 40
"""Samples below which metrics on a quarter of them say nothing."""

SEED = 2026
GOLDEN = 3
LIBRARIES = ("numpy", "scikit-learn", "skl2onnx", "onnx", "onnxruntime")

TOLERANCE = 1e-3
"""How far the exported model (float32) may be from scikit-learn's (float64)."""


@dataclass(frozen=True)
class Experiment:
    """Training and evaluation data of all tiers.

    `references` has each target's forecasts [held-out samples] of each baseline.
    """

    training: Samples
    held_out: Samples
    references: Mapping[str, Mapping[str, Floats]]


def main() -> None:
    options = parse()
    settings = load(Settings)
    tiers = options.tier or list(TIERS)
    if others := [tier for tier in tiers if tier not in TIERS]:
        raise AppError(f"{others[0]} is not trained here but by {interfaces()[others[0]].trained}")
    if options.missing:
        tiers = [tier for tier in tiers if not artifacts.current(settings.models_dir, tier)]
    trained = train(settings, tiers, options.seed, options.rows, major=options.major)
    if options.json:
        print(json.dumps([metadata.model_dump(mode="json") for metadata in trained], indent=2))
    elif trained:
        print("\n".join(table(trained)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the tiers; served models are not replaced.")
    parser.add_argument(
        "--tier", nargs="+", choices=list(interfaces()), help="which (default: all)"
    )
    parser.add_argument("--missing", action="store_true", help="only tiers without a model")
    parser.add_argument("--major", action="store_true", help="create the next major version")
    parser.add_argument("--seed", type=int, default=SEED, help="random seed (%(default)s)")
    parser.add_argument("--rows", type=int, help="train on only this many of the newest rows")
    parser.add_argument("--json", action="store_true", help="print the metadata as JSON")
    return parser.parse_args()


def train(
    settings: Settings,
    tiers: Sequence[str],
    seed: int = SEED,
    rows: int | None = None,
    *,
    major: bool = False,
) -> list[Metadata]:
    """Train tiers on the database's newest rows (all by default); return what was written.

    Raises AppError if there are too few rows, or a model cannot be fitted or exported.
    """
    if not tiers:
        progress("every tier has a model")
        return []
    engine = make_engine(settings.database_url)
    with transaction(engine) as connection:
        experiment = design(observations.newest(connection, rows))
    engine.dispose()
    return [train_tier(settings, experiment, tier, seed, major=major) for tier in tiers]


def design(rows: Sequence[Observation]) -> Experiment:
    """Return the split of the rows' samples, with the baselines' forecasts.

    Raises AppError if there are too few.
    """
    every = samples(rows)
    if len(every) < FEWEST:
        raise AppError(
            f"{len(rows)} rows make {len(every)} samples, and {FEWEST} are needed;"
            f" load more (python -m {__package__}.collect)"
        )
    training, held_out = split(every)
    known = rows[: rows.index(training.newest[-1]) + 1]
    references = {target.name: baselines(target, known, held_out) for target in TARGETS}
    return Experiment(training, held_out, references)


def baselines(
    target: Target[Observation], known: Sequence[Observation], held_out: Samples
) -> dict[str, Floats]:
    """Return each baseline's forecasts [held-out samples] of a target, made from known rows."""
    made = {name: baseline(known, target) for name, baseline in BASELINES.items()}
    return {name: np.array([one(row) for row in held_out.newest]) for name, one in made.items()}


def train_tier(
    settings: Settings, experiment: Experiment, tier: str, seed: int, *, major: bool
) -> Metadata:
    """Fit, export, measure and write one tier; return the metadata."""
    started = time.perf_counter()
    estimators = {target.name: fit(tier, target, experiment.training, seed) for target in TARGETS}
    content = export(estimators, len(FEATURES))
    outputs = forecasts(content, experiment.held_out.features)
    check_export(estimators, experiment.held_out.features, outputs)
    models, now = settings.models_dir, datetime.now(UTC)
    following = artifacts.next_version(models, tier, major=major)
    metadata = Metadata(
        tier=tier,
        version=following,
        file=f"{tier}_{following}_{now:%Y-%m-%d}.onnx",
        sha256=artifacts.sha256(content),
        trained_at=now,
        duration_seconds=round(time.perf_counter() - started, 3),
        seed=seed,
        **description(experiment, outputs),
    )
    artifacts.write(models, metadata, content, settings.models_signing_key)
    progress(f"{tier} {following}: {models / metadata.file}, {metadata.duration_seconds:.1f} s")
    if any(models.glob(f"{tier}_current.*")):
        advice = f"to promote it, run: inv models.promote {tier} {following}"
        progress(f"{tier} {following}: not served yet; {advice}")
    else:
        artifacts.point(models, metadata)
    return metadata


def forecasts(content: bytes, features: NDArray[np.float32]) -> Outputs:
    """Return the exported model's forecasts for features [n, features]."""
    return onnx(content, [target.name for target in TARGETS])(features)


def fit(tier: str, target: Target[Observation], training: Samples, seed: int) -> Estimator:
    """Return a tier's estimator of one target, fitted.

    Raises AppError if the estimator refuses the samples.
    """
    progress(f"{tier}: fitting {target.name} to {len(training)} samples")
    estimator = TIERS[tier].estimator(target.kind, seed)
    try:
        estimator.fit(training.features, training.truths[target.name])
    except ValueError as error:
        raise AppError(f"{tier} cannot be fitted to {target.name}: {error}") from error
    return estimator


def check_export(
    estimators: Mapping[str, Estimator], features: Floats, outputs: Mapping[str, Floats]
) -> None:
    """Raise AppError if an export's forecasts differ from its estimators'."""
    for target, estimator in estimators.items():
        classes = getattr(estimator, "predict_proba", None)
        expected = classes(features)[:, 1] if classes else estimator.predict(features)
        if not np.allclose(outputs[target], expected, rtol=TOLERANCE, atol=TOLERANCE):
            worst = abs(outputs[target] - expected).max()
            raise AppError(f"the export of {target} is off by {worst:.3g}; nothing was written")


def description(experiment: Experiment, outputs: Mapping[str, Floats]) -> dict[str, Any]:
    """Return the metadata's description of the samples, outputs and metrics."""
    libraries = {name: version(name) for name in LIBRARIES}
    return {
        "rows": {"train": part(experiment.training), "held_out": part(experiment.held_out)},
        "features": list(FEATURES),
        "targets": [target.name for target in TARGETS],
        "metrics": {target.name: worth(target, experiment, outputs) for target in TARGETS},
        "libraries": {"python": platform.python_version(), **libraries},
        "golden": Golden(
            features=experiment.held_out.features[-GOLDEN:].tolist(),
            outputs={name: values[-GOLDEN:].tolist() for name, values in outputs.items()},
        ),
    }


def part(of: Samples) -> Part:
    return Part(count=len(of), first=str(of.keys[0]), last=str(of.keys[-1]))


def worth(
    target: Target[Observation], experiment: Experiment, outputs: Mapping[str, Floats]
) -> TargetMetrics:
    """Return a target's metrics on the held-out samples, the model's beside the baselines'."""
    truths = experiment.held_out.truths[target.name]
    model = measure(target.kind, outputs[target.name], truths)
    references = {
        name: measure(target.kind, values, truths)
        for name, values in experiment.references[target.name].items()
    }
    score = SCORES[target.kind]
    return TargetMetrics(
        kind=target.kind,
        unit=target.unit,
        score=score,
        model=model,
        baselines=references,
        beats_baselines=all(model[score] < reference[score] for reference in references.values()),
    )


def table(trained: Sequence[Metadata]) -> list[str]:
    """Return the lines of a table: a line for each metric of each target of each tier."""
    held_out = trained[0].rows["held_out"]
    lines = [f"On {held_out.count} held-out rows, {held_out.first} to {held_out.last}:"]
    cells = [["model", "target", "metric", "value", *BASELINES, ""]]
    for metadata in trained:
        for name, metrics in metadata.metrics.items():
            cells += rows_of(f"{metadata.tier} {metadata.version}", name, metrics)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(line.rstrip())
    return lines


def rows_of(model: str, target: str, metrics: TargetMetrics) -> list[list[str]]:
    """Return the cells of one target: its metrics, and on the score's row the verdict."""
    return [
        [
            model,
            target,
            metric,
            f"{value:.3f}",
            *(f"{baseline[metric]:.3f}" for baseline in metrics.baselines.values()),
            verdict(metrics) if metric == metrics.score else "",
        ]
        for metric, value in metrics.model.items()
    ]


def verdict(metrics: TargetMetrics) -> str:
    """Describe in words whether a model beats the baselines."""
    if metrics.beats_baselines:
        return "better than every baseline"
    worth = metrics.model[metrics.score]
    better = [n for n, values in metrics.baselines.items() if values[metrics.score] <= worth]
    return f"NOT better than {' and '.join(better)}"


if __name__ == "__main__":
    run(main)
