"""What a model has to be worth: bounds on its metrics, alone and beside those of another."""

import math
from collections.abc import Iterator

from .artifacts import Metadata
from .settings import Settings

CALIBRATION = "ece"
"""The metric (metrics.py) that `calibration_error_max` bounds."""


def judged(
    metadata: Metadata, settings: Settings, *, strict: bool = False
) -> tuple[str, list[str]]:
    """Return how a model compares with the baselines, and what the settings do not allow.

    Where it is `strict`, they allow none that is not better.
    """
    wrong = [f"there are no metrics for {name}" for name in unmeasured(metadata)]
    wrong += calibration(metadata, settings.calibration_error_max)
    worse = [name for name, better in metadata.beats_baselines.items() if not better]
    if not worse:
        return "better than every baseline", wrong
    said = f"NOT better than the baselines in {', '.join(worse)}"
    return said, [*wrong, said] if strict or settings.must_beat_baselines else wrong


def unmeasured(metadata: Metadata) -> list[str]:
    """Return the targets that have no score."""
    found = metadata.metrics
    return [
        name
        for name in metadata.targets
        if name not in found or found[name].score not in found[name].model
    ]


def calibration(metadata: Metadata, most: float) -> Iterator[str]:
    """Name the targets whose calibration error is not at most the bound."""
    for target, measured in metadata.metrics.items():
        error = measured.model.get(CALIBRATION, 0.0)
        if math.isnan(error) or error > most:
            yield f"calibration error of {target} is {error:.3f}; the limit is {most:.3f}"


def worse(metadata: Metadata, other: Metadata, most: float) -> Iterator[str]:
    """Name the targets whose score is worse than another model's by more than a share of it.

    Less is better in every score. Targets that are not measured by the same one have no such
    comparison.
    """
    for target, measured in metadata.metrics.items():
        beside, score = other.metrics.get(target), measured.score
        if beside is None or beside.score != score:
            continue
        new, old = measured.model[score], beside.model[score]
        if math.isnan(new) or new - old > most * abs(old):
            yield (
                f"{score} of {target} is {new:.3f}, that of {other.version} {old:.3f}: at most"
                f" {most:.0%} worse is allowed (WORSE_MAX)"
            )
