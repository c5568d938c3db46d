"""Rows turned into what models take: one sample for each history that is whole."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .observations import contiguous, key_of
from .problem import FEATURES, HISTORY, HORIZON, TARGETS, Key, Observation, step

HELD_OUT = 0.25
"""Share of the samples, the newest, that no model is fitted to."""


@dataclass(frozen=True)
class Samples:
    """Histories with what came of them, in the order of their keys.

    `features` is float32 [n, features]; `truths` has an array [n] for each target.
    """

    newest: list[Observation]
    features: NDArray[np.float32]
    truths: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.newest)

    def part(self, start: int | None, stop: int | None) -> "Samples":
        """Return the samples from `start` up to `stop`, as in a slice."""
        truths = {name: values[start:stop] for name, values in self.truths.items()}
        return Samples(self.newest[start:stop], self.features[start:stop], truths)

    @property
    def keys(self) -> list[Key]:
        return [key_of(row) for row in self.newest]


def features(history: Sequence[Observation]) -> NDArray[np.float32]:
    """Return the features [features] of HISTORY rows, the newest last."""
    return np.array([feature(history) for feature in FEATURES.values()], dtype=np.float32)


def samples(rows: Sequence[Observation]) -> Samples:
    """Return a sample for each whole history among the rows whose targets are all known."""
    outcomes = {key_of(row): truths(row) for row in rows}
    histories = [
        history
        for end in range(HISTORY, len(rows) + 1)
        if contiguous(history := rows[end - HISTORY : end])
        and outcomes.get(step(key_of(history[-1]), HORIZON))
    ]
    newest = [history[-1] for history in histories]
    known = [outcomes[step(key_of(row), HORIZON)] for row in newest]
    return Samples(
        newest,
        np.array([features(history) for history in histories], dtype=np.float32),
        {target.name: np.array([one[target.name] for one in known]) for target in TARGETS},
    )


def truths(row: Observation) -> dict[str, float]:
    """Return what came of each target, by name; nothing at all where one is not known."""
    values = {target.name: target.truth(row) for target in TARGETS}
    known = {name: value for name, value in values.items() if value is not None}
    return known if len(known) == len(values) else {}


def split(every: Samples) -> tuple[Samples, Samples]:
    """Return the training samples and, after them in time, the held-out ones."""
    boundary = len(every) - round(len(every) * HELD_OUT)
    return every.part(None, boundary), every.part(boundary, None)
