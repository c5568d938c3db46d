"""The models that are loaded, and their exchange for others while requests go on.

A model is a graph of known operators, run by onnxruntime: loading one executes nothing of its
own. What is loaded was checked against its metadata first.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from . import artifacts
from .artifacts import INPUT, ArtifactError, Metadata
from .console import AppError
from .problem import FEATURES, TARGETS, TIERS

Outputs = dict[str, NDArray[np.float32]]

TOLERANCE = 1e-3
"""How far an output may be from what the model gave where it was trained."""


class NotLoadedError(AppError):
    """A tier has no model to answer with."""


@dataclass(frozen=True)
class Model:
    """A model that is ready to answer."""

    metadata: Metadata
    session: onnxruntime.InferenceSession
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def name(self) -> str:
        """Return tier and version, "tier1 v1.0"."""
        return f"{self.metadata.tier} {self.metadata.version}"

    def predict(self, features: NDArray[np.float32]) -> Outputs:
        """Return for `features` [n, features] each target's forecasts [n], by name."""
        return forecasts(self.session, features)


def load(models: Path, tier: str) -> Model:
    """Return the model a tier's link points at.

    Raises ArtifactError where there is none, or it cannot be trusted to be what it says.
    """
    model = unproven(models, tier)
    check_golden(model)
    return model


def unproven(models: Path, tier: str) -> Model:
    """Return the model a tier's link points at, whatever it forecasts; raises as `load` does."""
    metadata = artifacts.current(models, tier)
    if metadata is None:
        raise ArtifactError(f"{tier} has no model: train one (python -m {__package__}.training)")
    check_problem(metadata)
    return Model(metadata, session(artifacts.content(models, metadata), metadata.file))


def session(content: bytes, name: str) -> onnxruntime.InferenceSession:
    """Return a session that runs a graph in the calling thread.

    The requests are what is run side by side; more threads for a row of a few features would
    only be in their way.

    Raises ArtifactError for what is no ONNX model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no base class of their own
        raise ArtifactError(f"{name} is not a model: {error}") from error


def forecasts(session: onnxruntime.InferenceSession, features: NDArray[np.float32]) -> Outputs:
    """Return for `features` [n, features] each target's forecasts [n], by name."""
    names = [target.name for target in TARGETS]
    return dict(zip(names, session.run(names, {INPUT: features}), strict=True))


def check_problem(metadata: Metadata) -> None:
    """Refuse a model that was trained for other features or targets than those of the problem."""
    for what, trained, served in (
        ("features", metadata.features, list(FEATURES)),
        ("targets", metadata.targets, [target.name for target in TARGETS]),
    ):
        if trained != served:
            raise ArtifactError(f"{metadata.file} was trained for other {what}; train it again")


def check_golden(model: Model) -> None:
    """Refuse a model that does not give here what it gave where it was trained."""
    golden = model.metadata.golden
    outputs = model.predict(np.array(golden.features, dtype=np.float32))
    for target, expected in golden.outputs.items():
        if not np.allclose(outputs[target], expected, rtol=TOLERANCE, atol=TOLERANCE):
            file = model.metadata.file
            raise ArtifactError(f"{file} does not forecast {target} as when it was trained")


class Models:
    """The model of each tier; all are exchanged at once, in one assignment."""

    def __init__(self, folder: Path) -> None:
        """Load what the links in a folder point at; a tier that cannot be loaded has a reason."""
        self.folder = folder
        self.loaded: dict[str, Model] = {}
        self.missing: dict[str, str] = {}
        for tier in TIERS:
            try:
                self.loaded[tier] = load(folder, tier)
            except ArtifactError as error:
                self.missing[tier] = str(error)

    def reload(self) -> None:
        """Load what the links point at now.

        Raises ArtifactError where one of them cannot be loaded; then all stay as they were.
        """
        self.loaded = {tier: load(self.folder, tier) for tier in TIERS}
        self.missing = {}

    def __getitem__(self, tier: str) -> Model:
        """Return a tier's model; raises NotLoadedError."""
        try:
            return self.loaded[tier]
        except KeyError:
            raise NotLoadedError(self.missing[tier]) from None
