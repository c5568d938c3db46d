"""The loaded models, and their replacement while requests go on.

A model is checked against its metadata first, and has to reproduce its recorded forecasts,
which also warms it up.
"""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import artifacts, memory
from .artifacts import ArtifactError, Metadata
from .problem import TIERS
from .settings import Settings
from .shared import formats
from .shared.console import AppError
from .shared.definitions import Interface
from .shared.formats import FormatError, Outputs, Run
from .tiers import SERVED

log = logging.getLogger(__name__)

TOLERANCE = 1e-3
"""How far an output may be from what the model gave where it was trained."""

ROUNDING = 1e-6
"""How far rounding of float32 may take a probability out of 0 to 1; so much is clipped."""

ROOM = 3
"""Times a file's size that are free before it is loaded: its bytes, and what is made of them."""

PATIENCE = 10.0
"""Seconds that the next load waits for the end of one that nobody wants any more."""

RELOAD = "reload"
"""The file in the folder of the reports whose touch has failed loads tried again."""


class NotLoadedError(AppError):
    """A tier has no model."""


class ModelError(AppError):
    """A model failed, or returned something other than numbers and probabilities."""


@dataclass(frozen=True, eq=False)
class Model:
    """A model that is ready for requests."""

    metadata: Metadata
    run: Run
    load_seconds: float = 0.0
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    interface: Interface = SERVED

    @property
    def name(self) -> str:
        return f"{self.metadata.tier} {self.metadata.version}"

    @property
    def file(self) -> str:
        return self.metadata.file

    def predict(self, features: NDArray[np.float32]) -> Outputs:
        """Return for `features` [n, features] each target's forecasts [n], by name.

        Raises ModelError if it fails, or does not return a number for each row, or a probability
        where it should.
        """
        try:
            outputs = self.run(features)
        except Exception as error:  # it may be of any library, and so may be its errors
            raise ModelError(f"{self.name} failed: {error or type(error).__name__}") from error
        for target, values in outputs.items():
            if values.shape != (len(features),):
                raise ModelError(
                    f"{self.name} returned {values.shape} for {target} of {len(features)}"
                )
            if not np.isfinite(values).all():
                raise ModelError(f"{self.name} returned values that are not finite for {target}")
            if target in self.interface.probabilities:
                if (abs(values - 0.5) > 0.5 + ROUNDING).any():
                    raise ModelError(f"{self.name} returned no probability (0 to 1) for {target}")
                outputs[target] = values.clip(0, 1)
        return outputs


def load(settings: Settings, tier: str) -> Model:
    """Return the model a tier's link points at.

    Raises ArtifactError if there is none, or it cannot be trusted to be what it says.
    """
    return load_file(settings, tier, wanted(settings, tier))


def wanted(settings: Settings, tier: str) -> str:
    """Return the file a tier's link points at; raises ArtifactError if there is no link."""
    if name := artifacts.pointed(settings.models_dir, tier):
        return name
    raise ArtifactError(no_model(tier))


def no_model(tier: str) -> str:
    return f"{tier} has no model: train one (python -m {__package__}.training)"


def load_file(settings: Settings, tier: str, name: str) -> Model:
    """Return a model of a tier, warm; raises as `load` does."""
    started = time.perf_counter()
    model = unproven(settings, tier, name)
    check_golden(model)
    return replace(model, load_seconds=round(time.perf_counter() - started, 3))


def unproven(settings: Settings, tier: str, name: str) -> Model:
    """Return a model without checking its forecasts; raises as `load` does."""
    metadata = artifacts.read(settings.models_dir, name, settings.models_public_key)
    if metadata.tier != tier:
        raise ArtifactError(f"{name} is a model of {metadata.tier}, not of {tier}")
    check_problem(metadata)
    check_room(settings.models_dir / name)
    return Model(metadata, opened(settings, metadata))


def opened(settings: Settings, metadata: Metadata) -> Run:
    """Return a model's runner, made from the very bytes whose checksum was compared.

    Raises ArtifactError.
    """
    executable = settings.allow_executable_models
    try:
        formats.check_allowed(metadata.file, executable=executable)
        content = artifacts.content(settings.models_dir, metadata)
        return formats.load(metadata.file, content, metadata.targets, executable=executable)
    except FormatError as error:
        raise ArtifactError(str(error)) from error


def check_problem(metadata: Metadata, asked: Interface = SERVED) -> None:
    """Raise ArtifactError for a model trained for other features or targets than its tier's."""
    for what, trained, used in (
        ("features", metadata.features, asked.features),
        ("targets", metadata.targets, asked.targets),
    ):
        if trained != list(used):
            raise ArtifactError(f"{metadata.file} was trained for other {what}; retrain it")


def check_room(file: Path) -> None:
    """Raise ArtifactError for a file that would not fit into memory, before reading it."""
    try:
        size = file.stat().st_size
    except OSError as error:
        raise ArtifactError(f"{file}: {error.strerror}") from error
    left = memory.available()
    if left is not None and size * ROOM > left:
        raise ArtifactError(
            f"{file} has {size / 1e6:.0f} MB, and loading it needs {ROOM} times that: there are"
            f" {left / 1e6:.0f} MB; give this process more memory, or train a smaller model"
        )


def check_golden(model: Model) -> None:
    """Raise ArtifactError for a model that does not reproduce its recorded forecasts."""
    golden = model.metadata.golden
    try:
        outputs = model.predict(np.array(golden.features, dtype=np.float32))
    except ModelError as error:
        raise ArtifactError(
            f"{model.file} no longer reproduces its recorded forecasts: {error}"
        ) from (error)
    for target in model.metadata.targets:
        expected = golden.outputs.get(target, [])
        if outputs[target].shape != (len(expected),) or not np.allclose(
            outputs[target], expected, rtol=TOLERANCE, atol=TOLERANCE
        ):
            raise ArtifactError(
                f"{model.file} no longer reproduces its recorded forecasts of {target}"
            )


@dataclass(frozen=True)
class Place:
    """A tier's model, the previous one, and the file its link names."""

    model: Model | None = None
    previous: Model | None = None
    kept_until: float = 0.0
    wanted: str = ""
    wrong: str = ""
    failures: int = 0

    @property
    def file(self) -> str:
        """Return the name of the served file, empty if there is none."""
        return self.model.file if self.model else ""

    def taken_by(self, model: Model, seconds: float) -> "Place":
        """Return the place with another model; the previous one stands by for a while."""
        now = replace(model, loaded_at=datetime.now(UTC))
        until = time.monotonic() + seconds
        return replace(self, model=now, previous=self.model, kept_until=until, wrong="")

    def failed(self, wrong: str) -> "Place":
        """Return the place after a failed load."""
        return replace(self, wrong=wrong, failures=self.failures + 1)


Start: TypeAlias = Callable[[Callable[[], Model]], Future[Model]]
"""Begins to load a model; tells by the future what came of it."""


def at_once(work: Callable[[], Model]) -> Future[Model]:
    """Load a model here and now."""
    future: Future[Model] = Future()
    into(future, work)
    return future


def into(future: Future[Model], work: Callable[[], Model]) -> None:
    """Put the result of a call into a future."""
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - who looks at the future says what was wrong
        future.set_exception(error)


@dataclass(frozen=True)
class Loading:
    """A load in progress, and the time of the touch file when it started."""

    file: str
    touched: int
    future: Future[Model]
    begun: float = field(default_factory=time.monotonic)

    def over(self, wanted: str) -> bool:
        """Return whether the load is obsolete, and nothing has to wait for its end.

        Parallel loads would slow down requests.
        """
        late = time.monotonic() > self.begun + PATIENCE
        return self.file != wanted and (late or self.future.done())


class Models:
    """The model of each tier; replaced by a single assignment."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.places: Mapping[str, Place] = dict.fromkeys(TIERS, Place())
        self.touched = touched(settings.serving_dir)
        self._loading: dict[str, Loading] = {}
        self.look()

    def look(self, start: Start = at_once) -> None:
        """Read the links, and load models that are not served yet."""
        seen = touched(self.settings.serving_dir)
        again = seen != self.touched
        self.touched = seen
        before = self.places
        self.places = {tier: self._seen(tier, start, again=again) for tier in TIERS}
        for tier, place in self.places.items():
            said(tier, before[tier], place)

    def _seen(self, tier: str, start: Start, *, again: bool) -> Place:
        """Return what there is to say of a tier now."""
        place = self.places[tier]
        try:
            name = artifacts.pointed(self.settings.models_dir, tier)
            wrong = "" if name else no_model(tier)
        except ArtifactError as error:
            name, wrong = "", str(error)
        if again or wrong or name != place.wanted:
            place = replace(place, wanted=name, wrong=wrong)
        if place.previous and time.monotonic() > place.kept_until:
            place = replace(place, previous=None)
        return self._filled(tier, place, start) if name else place

    def _filled(self, tier: str, place: Place, start: Start) -> Place:
        """Return the place with the model that it wants, once that is there."""
        name, seconds = place.wanted, self.settings.model_probation_seconds
        if tier in self._loading and self._loading[tier].over(name):
            del self._loading[tier]
        if name == place.file or place.wrong:
            return place
        if place.previous and place.previous.file == name:
            return place.taken_by(place.previous, seconds)
        if tier not in self._loading:
            future = start(lambda: load_file(self.settings, tier, name))
            self._loading[tier] = Loading(name, self.touched, future)
        if self._loading[tier].file != name or not self._loading[tier].future.done():
            return place
        ended = self._loading.pop(tier)
        if (error := ended.future.exception()) is None:
            return place.taken_by(ended.future.result(), seconds)
        if ended.touched != self.touched:
            return place  # it is tried again at the next look
        return place.failed(
            str(error) if isinstance(error, AppError) else f"{type(error).__name__}: {error}"
        )

    @property
    def loaded(self) -> dict[str, Model]:
        return {tier: place.model for tier, place in self.places.items() if place.model}

    @property
    def missing(self) -> dict[str, str]:
        return {tier: place.wrong for tier, place in self.places.items() if not place.model}

    def __getitem__(self, tier: str) -> Model:
        """Return a tier's model; raises NotLoadedError."""
        return self.answering(tier)[0]

    def answering(self, tier: str) -> list[Model]:
        """Return a tier's model, then the previous one if it still stands by.

        Raises NotLoadedError.
        """
        place = self.places[tier]
        if not place.model:
            raise NotLoadedError(place.wrong or f"{tier}: {place.wanted} is being loaded")
        return [place.model, *([place.previous] if place.previous else [])]


def said(tier: str, before: Place, now: Place) -> None:
    """Log what changed for a tier."""
    if now.file != before.file:
        log.info("%s serves %s", tier, now.file)
    if now.wrong != before.wrong and now.wrong:
        log.error("%s serves %s: %s", tier, now.file or "nothing", now.wrong)


def touched(folder: Path) -> int:
    """Return when the file that triggers retries was touched, in ns; 0 for never."""
    try:
        return (folder / RELOAD).stat().st_mtime_ns
    except OSError:
        return 0
