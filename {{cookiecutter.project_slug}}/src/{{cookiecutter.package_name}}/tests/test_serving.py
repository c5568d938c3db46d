"""Models, their loading and their exchange, with real files of every kind of fault."""

import json
import os
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import joblib
import numpy as np
import pytest
import skops.io
from numpy.typing import NDArray

from .. import artifacts, memory, reports, serving, signing
from ..artifacts import ArtifactError, Metadata
from ..problem import FEATURES, TARGETS, TIERS
from ..serving import Model, ModelError, Models, NotLoadedError
from ..settings import ApiSettings
from ..shared.definitions import Estimator
from ..shared.tests.conftest import malicious, refused
from ..tiers import SERVED
from . import faults
from .conftest import TIER, another, point, served

LAST = list(TIERS)[-1]
ELSEWHERE = np.full(len(FEATURES), 0.5, np.float32)
"""Features that no golden input is near to."""


def content(settings: ApiSettings) -> bytes:
    return artifacts.content(settings.models_dir, served(settings))


def golden(settings: ApiSettings) -> NDArray[np.float32]:
    return np.array(served(settings).golden.features[0], np.float32)


def test_every_tier_is_loaded_and_answers(settings: ApiSettings) -> None:
    models = Models(settings)
    assert list(models.loaded) == list(TIERS)
    for tier in TIERS:
        outputs = models[tier].predict(np.zeros((2, len(FEATURES)), np.float32))
        assert {name: values.shape for name, values in outputs.items()} == {
            target.name: (2,) for target in TARGETS
        }


def test_a_tier_without_a_model_says_what_to_do_and_leaves_the_others(
    settings: ApiSettings,
) -> None:
    (settings.models_dir / f"{TIER}_current.onnx").unlink()
    models = Models(settings)
    assert models.loaded.keys() == TIERS.keys() - {TIER}
    assert "train one" in refused(lambda: models[TIER], NotLoadedError)


# faults: each is refused where a process starts, and leaves the old one where it serves

Fault: TypeAlias = Callable[[ApiSettings], str]


def damaged(damage: Callable[[Path], object], suffix: str = ".onnx") -> Fault:
    def written(settings: ApiSettings) -> str:
        damage((settings.models_dir / (file := another(settings).file)).with_suffix(suffix))
        return file

    return written


def flip(file: Path) -> None:
    found = bytearray(file.read_bytes())
    found[len(found) // 2] ^= 1
    file.write_bytes(found)


def halve(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def changed(**changes: Any) -> Fault:  # noqa: ANN401 - metadata of any kind
    return lambda settings: another(settings, **changes).file


def other_golden(settings: ApiSettings) -> str:
    told = served(settings).golden.model_copy(deep=True)
    told.outputs[TARGETS[-1].name][0] += 1
    return another(settings, golden=told).file


def short_golden(settings: ApiSettings) -> str:
    told = served(settings).golden.model_copy(deep=True)
    del told.outputs[TARGETS[-1].name]
    return another(settings, golden=told).file


def spoilt(spoil: Callable[[bytes, NDArray[np.float32]], bytes]) -> Fault:
    return lambda settings: another(settings, spoil(content(settings), golden(settings))).file


def nan_stored(settings: ApiSettings) -> str:
    """Give NaN, and say so in the metadata: they reproduce, and are no forecasts."""
    written = another(settings, faults.nan_for(content(settings), golden(settings)))
    file = (settings.models_dir / written.file).with_suffix(".json")
    told = json.loads(file.read_text())
    told["golden"]["outputs"][TARGETS[0].name][0] = float("nan")
    file.write_text(json.dumps(told))
    return written.file


improbable = spoilt(lambda content, golden: faults.nan_for(content, golden, 1.01))


def too_big(settings: ApiSettings) -> str:
    """Take no room on the disk for what would take it all in memory."""
    written, left = another(settings), memory.available()
    assert left
    os.truncate(settings.models_dir / written.file, left)
    return written.file


def a_pickle(settings: ApiSettings) -> str:
    return another(settings, malicious(settings.models_dir / "trace"), ".pkl").file


UNTRUSTED = skops.io.dumps({TARGETS[0].name: ELSEWHERE.tolist, 1: 2})
"""It holds a type that skops does not trust."""
FINITE = f"returned values that are not finite for {TARGETS[0].name}"
CHANGED = "no longer reproduces its recorded forecasts"
FAULTS: dict[str, tuple[Fault, str]] = {
    "flipped": (damaged(flip), "was changed"),
    "truncated": (damaged(halve), "was changed"),
    "missing": (damaged(Path.unlink), "No such file"),
    "without metadata": (damaged(Path.unlink, ".json"), "No such file"),
    "no json": (damaged(lambda file: file.write_text("{no json"), ".json"), "is incomplete"),
    "half json": (damaged(halve, ".json"), "is incomplete"),
    "features": (changed(features=list(FEATURES)[::-1]), "was trained for other features"),
    "targets": (changed(targets=["other"]), "was trained for other targets"),
    "tier": (changed(tier="tier9"), "is a model of tier9"),
    "garbage": (changed(content=b"no model"), "is not a model"),
    "other golden": (other_golden, f"{CHANGED} of {TARGETS[-1].name}"),
    "short golden": (short_golden, f"{CHANGED} of {TARGETS[-1].name}"),
    "nan golden": (spoilt(faults.nan_for), FINITE),
    "nan stored": (nan_stored, FINITE),
    "improbable": (improbable, "(0 to 1)" if TARGETS[0].kind == "probability" else CHANGED),
    "raising golden": (spoilt(faults.raising_for), "failed: "),
    "too big": (too_big, "MB, and loading it needs 3 times that"),
    "a pickle": (a_pickle, "allow_executable_models"),
    "a format": (changed(suffix=".h5"), ".h5 is not one of .onnx, .skops"),
    "untrusted": (changed(content=UNTRUSTED, suffix=".skops"), "is not a model"),
}


@pytest.mark.parametrize(("fault", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_refused_with_a_reason_and_what_was_served_goes_on(
    settings: ApiSettings, fault: Fault, reason: str
) -> None:
    models, old = Models(settings), served(settings).file
    point(settings, file := fault(settings))
    models.look()
    place = models.places[TIER]
    assert (place.file, place.wanted, place.failures) == (old, file, 1)
    assert reason in place.wrong
    assert reason in refused(lambda: serving.load(settings, TIER), ArtifactError)
    assert reason in Models(settings).missing[TIER]
    assert not (settings.models_dir / "trace").exists()


def test_a_file_that_would_not_fit_is_not_even_read(settings: ApiSettings) -> None:
    started = time.monotonic()
    point(settings, too_big(settings))
    refused(lambda: serving.load(settings, TIER), ArtifactError)
    assert time.monotonic() - started < 2


# formats


def dumped(settings: ApiSettings, estimators: dict[str, Estimator], suffix: str) -> Metadata:
    """Write and serve a model that is right, in another format."""
    file = settings.models_dir / f"dumped{suffix}"
    if suffix == ".skops":
        skops.io.dump(estimators, file)
    elif suffix == ".joblib":
        joblib.dump(estimators, file)
    else:
        file.write_bytes(pickle.dumps(estimators))
    told = served(settings).golden.model_copy(deep=True)
    inputs = np.array(told.features, np.float32)
    for target in TARGETS:
        estimator = estimators[target.name]
        classes = getattr(estimator, "predict_proba", None)
        made = classes(inputs)[:, 1] if classes else estimator.predict(inputs)
        told.outputs[target.name] = [float(value) for value in made]
    written = another(settings, file.read_bytes(), suffix, golden=told)
    artifacts.point(settings.models_dir, written)
    return written


def test_skops_is_loaded_as_it_is(settings: ApiSettings, estimators: dict[str, Estimator]) -> None:
    written = dumped(settings, estimators, ".skops")
    assert serving.load(settings, TIER).metadata == written


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".joblib"])
def test_what_runs_code_is_loaded_where_that_is_allowed_and_its_checksum_holds(
    settings: ApiSettings, estimators: dict[str, Estimator], suffix: str
) -> None:
    written = dumped(settings, estimators, suffix)
    assert "allow_executable_models" in refused(lambda: serving.load(settings, TIER))
    allowed = settings.model_copy(update={"allow_executable_models": True})
    assert serving.load(allowed, TIER).metadata == written


def test_where_it_is_allowed_only_what_was_written_is_run(settings: ApiSettings) -> None:
    allowed = settings.model_copy(update={"allow_executable_models": True})
    written = another(settings, malicious(settings.models_dir / "trace"), ".pkl")
    file = settings.models_dir / written.file
    file.write_bytes(malicious(settings.models_dir / "other"))
    artifacts.point(settings.models_dir, written)
    assert "was changed" in refused(lambda: serving.load(allowed, TIER), ArtifactError)
    assert not (settings.models_dir / "other").exists()


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_a_format_whose_package_is_missing_says_which(settings: ApiSettings, suffix: str) -> None:
    allowed = settings.model_copy(update={"allow_executable_models": True})
    artifacts.point(settings.models_dir, another(settings, b"torch", suffix))
    message = refused(lambda: serving.load(allowed, TIER), ArtifactError)
    assert "needs the package torch, which is not installed here: add it to" in message


# signatures


@pytest.fixture
def keys(settings: ApiSettings) -> dict[str, Path]:
    """Return where the keys are, as settings."""
    private, public = signing.make_keys(settings.models_dir.parent / "keys")
    return {"models_signing_key": private, "models_public_key": public}


def test_what_is_signed_is_loaded(settings: ApiSettings, keys: dict[str, Path]) -> None:
    signed = settings.model_copy(update=keys)
    point(settings, (written := another(signed)).file)
    assert serving.load(signed, TIER).metadata == written
    assert serving.load(settings, TIER).metadata == written


def test_without_a_signature_it_is_refused(settings: ApiSettings, keys: dict[str, Path]) -> None:
    signed = settings.model_copy(update=keys)
    assert ".sig is missing" in refused(lambda: serving.load(signed, TIER), ArtifactError)


def test_the_signature_of_another_key_is_refused(
    settings: ApiSettings, keys: dict[str, Path], tmp_path: Path
) -> None:
    _, other = signing.make_keys(tmp_path / "other")
    point(settings, another(settings.model_copy(update=keys)).file)
    theirs = settings.model_copy(update={"models_public_key": other})
    message = refused(lambda: serving.load(theirs, TIER), ArtifactError)
    assert "of the metadata next to it" in message


def test_metadata_that_were_changed_are_refused(
    settings: ApiSettings, keys: dict[str, Path]
) -> None:
    signed = settings.model_copy(update=keys)
    written = another(signed)
    file = (settings.models_dir / written.file).with_suffix(".json")
    file.write_text(file.read_text().replace('"seed": ', '"seed": 1'))
    point(settings, written.file)
    message = refused(lambda: serving.load(signed, TIER), ArtifactError)
    assert "of the metadata next to it" in message


# requests


def test_a_model_that_gives_what_is_not_finite_fails(settings: ApiSettings) -> None:
    point(settings, another(settings, faults.nan_for(content(settings), ELSEWHERE)).file)
    model = serving.load(settings, TIER)
    assert model.predict(ELSEWHERE[np.newaxis] + 1)
    message = refused(lambda: model.predict(ELSEWHERE[np.newaxis]), ModelError)
    assert message == f"{TIER} v1.1 returned values that are not finite for {TARGETS[0].name}"


def test_a_probability_is_from_0_to_1_but_for_rounding(settings: ApiSettings) -> None:
    outputs = np.array([-1e-7, 1 + 1e-7, 0.5], np.float32)
    asked = replace(SERVED, probabilities=["t"])
    model = Model(served(settings), lambda _: {"t": outputs}, interface=asked)
    assert model.predict(np.zeros((3, 1), np.float32))["t"].tolist() == [0, 1, 0.5]
    for wrong in (-1e-4, 1 + 1e-4, np.inf, -np.inf, np.nan):
        outputs[2] = wrong
        refused(lambda: model.predict(np.zeros((3, 1), np.float32)), ModelError)


def test_a_model_that_raises_fails(settings: ApiSettings) -> None:
    point(settings, another(settings, faults.raising_for(content(settings), ELSEWHERE)).file)
    model = serving.load(settings, TIER)
    assert model.predict(ELSEWHERE[np.newaxis] + 1)
    message = refused(lambda: model.predict(ELSEWHERE[np.newaxis]), ModelError)
    assert message.startswith(f"{TIER} v1.1 failed: ")


# the exchange


def test_a_link_that_was_moved_is_followed(settings: ApiSettings) -> None:
    models = Models(settings)
    before = models.loaded
    models.look()
    assert models.loaded == before
    point(settings, (written := another(settings)).file)
    models.look()
    assert models[TIER].metadata == written
    assert models[TIER].loaded_at > before[TIER].loaded_at
    assert [models[tier] for tier in TIERS if tier != TIER] == [
        before[tier] for tier in TIERS if tier != TIER
    ]


def test_a_link_that_comes_is_followed_and_one_that_goes_leaves_the_model(
    settings: ApiSettings,
) -> None:
    link = settings.models_dir / f"{TIER}_current.onnx"
    target = str(link.readlink())
    link.unlink()
    models = Models(settings)
    assert TIER in models.missing
    link.symlink_to(target)
    models.look()
    assert models[TIER].file == target
    link.unlink()
    models.look()
    assert models[TIER].file == target
    assert "train one" in models.places[TIER].wrong
    assert models.missing == {}


def test_the_one_before_stands_by_for_a_while(settings: ApiSettings) -> None:
    models = Models(settings.model_copy(update={"model_probation_seconds": 0.3}))
    old = models[TIER]
    assert models.answering(TIER) == [old]
    point(settings, another(settings).file)
    models.look()
    assert models.answering(TIER) == [models[TIER], old]
    time.sleep(0.4)
    models.look()
    assert models.answering(TIER) == [models[TIER]]


def test_going_back_to_a_model_that_stands_by_loads_nothing(settings: ApiSettings) -> None:
    models = Models(settings)
    old, new = served(settings).file, another(settings).file
    point(settings, new)
    models.look()
    (settings.models_dir / old).unlink()
    point(settings, old)
    models.look(lambda _: pytest.fail("it is loaded"))
    assert models[TIER].file == old
    assert [model.file for model in models.answering(TIER)] == [old, new]


def test_what_cannot_be_loaded_is_tried_once_until_the_link_or_the_file_is_touched(
    settings: ApiSettings,
) -> None:
    models = Models(settings)
    written = another(settings, b"no model")
    point(settings, written.file)
    for _ in range(3):
        models.look()
    assert models.places[TIER].failures == 1
    reports.touch(settings.serving_dir)
    models.look()
    assert models.places[TIER].failures == 2
    models.look()
    assert models.places[TIER].failures == 2


class Later:
    """Loads models in threads that wait until they are let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = 0

    def __call__(self, work: Callable[[], Model]) -> Future[Model]:
        self.begun += 1
        future: Future[Model] = Future()

        def run() -> None:
            self.go.wait(10)
            serving.into(future, work)

        threading.Thread(target=run, daemon=True).start()
        return future


def look_until(models: Models, start: serving.Start, done: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not done():
        assert time.monotonic() < limit
        models.look(start)
        time.sleep(0.01)


def test_the_old_one_serves_while_the_new_one_loads(settings: ApiSettings) -> None:
    models, later, old = Models(settings), Later(), served(settings).file
    point(settings, (written := another(settings)).file)
    for _ in range(3):
        models.look(later)
    assert (models.places[TIER].file, models.places[TIER].wanted) == (old, written.file)
    assert later.begun == 1
    later.go.set()
    look_until(models, later, lambda: models[TIER].file == written.file)


def test_a_load_that_nobody_wants_any_more_is_left_to_itself(
    settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "PATIENCE", 0)
    models, slow, old = Models(settings), Later(), served(settings).file
    first, second = another(settings).file, another(settings).file
    point(settings, first)
    models.look(slow)
    point(settings, old)
    models.look(slow)
    assert (models.places[TIER].file, models.places[TIER].wanted) == (old, old)
    point(settings, second)
    models.look()
    slow.go.set()
    time.sleep(0.1)
    models.look()
    assert [model.file for model in models.answering(TIER)] == [second, old]


def test_loads_follow_each_other_however_often_the_link_is_moved(settings: ApiSettings) -> None:
    models, slow, old = Models(settings), Later(), served(settings).file
    first, second = another(settings).file, another(settings).file
    for file in (first, second, old, first, second):
        point(settings, file)
        models.look(slow)
    assert slow.begun == 1
    slow.go.set()
    look_until(models, slow, lambda: models[TIER].file == second)
    assert slow.begun == 2
    assert [model.file for model in models.answering(TIER)] == [second, old]


def test_a_touch_while_a_load_fails_has_it_tried_again(settings: ApiSettings) -> None:
    models, later = Models(settings), Later()
    point(settings, another(settings, b"no model").file)
    models.look(later)
    reports.touch(settings.serving_dir)
    later.go.set()
    look_until(models, later, lambda: models.places[TIER].failures == 1)
    assert later.begun == 2


def test_a_folder_that_cannot_be_read_leaves_the_model(
    settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, old = Models(settings), served(settings).file

    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("os.lstat", denied)
        models.look()
    assert models[TIER].file == old
    assert "Permission denied" in models.places[TIER].wrong
    models.look()
    assert models.places[TIER].wrong == ""
