import shutil
from pathlib import Path

import numpy as np
import pytest

from .. import artifacts, serving
from ..artifacts import ArtifactError, Metadata
from ..problem import FEATURES, TARGETS, TIERS
from ..serving import Models, NotLoadedError
from .conftest import refused

TIER = next(iter(TIERS))


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared / "models", tmp_path / "models", symlinks=True))


def rewrite(folder: Path, content: bytes | None = None, **changes: object) -> None:
    """Write a tier's current model again, with other metadata or another content."""
    metadata = current(folder)
    content = content or artifacts.content(folder, metadata)
    changes["sha256"] = artifacts.sha256(content)
    artifacts.write(folder, metadata.model_copy(update=changes), content)


def current(folder: Path) -> Metadata:
    metadata = artifacts.current(folder, TIER)
    assert metadata is not None
    return metadata


def test_every_tier_is_loaded_and_answers(folder: Path) -> None:
    models = Models(folder)
    assert list(models.loaded) == list(TIERS)
    for tier in TIERS:
        outputs = models[tier].predict(np.zeros((2, len(FEATURES)), np.float32))
        assert {name: values.shape for name, values in outputs.items()} == {
            target.name: (2,) for target in TARGETS
        }


def test_a_tier_without_a_model_says_what_to_do_and_leaves_the_others(folder: Path) -> None:
    (folder / f"{TIER}_current.onnx").unlink()
    models = Models(folder)
    assert models.loaded.keys() == TIERS.keys() - {TIER}
    assert "train one" in refused(lambda: models[TIER], NotLoadedError)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"features": ["other"]}, "was trained for other features"),
        ({"features": [*FEATURES, "one more"]}, "was trained for other features"),
        ({"targets": ["other"]}, "was trained for other targets"),
        ({"content": b"no model"}, "is not a model"),
    ],
)
def test_a_model_that_is_not_ours_is_refused(
    folder: Path, changes: dict[str, object], reason: str
) -> None:
    rewrite(folder, **changes)  # type: ignore[arg-type]
    assert reason in refused(lambda: serving.load(folder, TIER), ArtifactError)


def test_a_changed_file_is_refused_before_it_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / current(folder).file
    file.write_bytes(file.read_bytes() + b"\0")
    monkeypatch.setattr(serving, "session", lambda *_: pytest.fail("it was loaded"))
    assert "was changed" in refused(lambda: serving.load(folder, TIER), ArtifactError)


def test_a_model_that_answers_otherwise_than_it_did_is_refused(folder: Path) -> None:
    golden = current(folder).golden.model_copy(deep=True)
    golden.outputs[TARGETS[-1].name][0] += 1
    rewrite(folder, golden=golden)
    assert "does not forecast" in refused(lambda: serving.load(folder, TIER), ArtifactError)


def test_a_reload_exchanges_every_model(folder: Path) -> None:
    models = Models(folder)
    before = models.loaded
    rewrite(folder, version="v9.0")
    models.reload()
    assert models[TIER].name == f"{TIER} v9.0"
    assert all(models[tier].loaded_at > before[tier].loaded_at for tier in TIERS)


def test_a_reload_that_fails_changes_nothing(folder: Path) -> None:
    models = Models(folder)
    before = models.loaded
    last = folder / f"{list(TIERS)[-1]}_current.onnx"
    last.unlink()
    refused(models.reload, ArtifactError)
    assert models.loaded is before
    assert models.missing == {}


def test_a_reload_brings_a_tier_that_was_missing(folder: Path) -> None:
    link = folder / f"{TIER}_current.onnx"
    target = link.readlink()
    link.unlink()
    models = Models(folder)
    link.symlink_to(target)
    models.reload()
    assert models[TIER].metadata == current(folder)
    assert models.missing == {}
