import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from .. import artifacts, signing, training
from ..artifacts import Metadata, TargetMetrics
from ..database import make_engine, transaction
from ..metrics import SCORES, measure
from ..observations import newest
from ..problem import BASELINES, FEATURES, TARGETS, TIERS
from ..samples import samples, split
from ..serving import load as load_model
from ..settings import ApiSettings
from ..shared.console import AppError
from ..shared.definitions import Floats, Tier
from ..shared.formats import Outputs
from ..shared.tests.conftest import refused
from ..training import check_export, design, main, rows_of, table, train

TIER = next(iter(TIERS))


@pytest.fixture(scope="module")
def trained(prepared: Path) -> list[Metadata]:
    """Return what was written when the tiers were trained for the tests."""
    every = [artifacts.current(prepared / "models", tier) for tier in TIERS]
    return [metadata for metadata in every if metadata]


def test_every_tier_is_written_with_its_metadata(trained: list[Metadata]) -> None:
    for tier, metadata in zip(TIERS, trained, strict=True):
        assert (metadata.tier, metadata.version) == (tier, "v1.0")
        assert metadata.file == f"{tier}_v1.0_{metadata.trained_at:%Y-%m-%d}.onnx"
        assert metadata.features == list(FEATURES)
        assert metadata.duration_seconds > 0
        assert {"python", "scikit-learn", "onnxruntime"} <= metadata.libraries.keys()


def test_the_held_out_rows_are_the_newest_quarter(
    trained: list[Metadata], settings: ApiSettings
) -> None:
    with transaction(make_engine(settings.database_url)) as connection:
        before, after = split(samples(newest(connection)))
    for metadata in trained:
        for part, expected in (("train", before), ("held_out", after)):
            row = metadata.rows[part]
            assert (row.count, row.first, row.last) == (
                len(expected),
                str(expected.keys[0]),
                str(expected.keys[-1]),
            )


def test_metrics_are_those_of_the_served_model_on_the_held_out_rows(
    trained: list[Metadata], settings: ApiSettings
) -> None:
    with transaction(make_engine(settings.database_url)) as connection:
        _, held_out = split(samples(newest(connection)))
    for metadata in trained:
        outputs = load_model(settings, metadata.tier).predict(held_out.features)
        for target in TARGETS:
            measured = measure(target.kind, outputs[target.name], held_out.truths[target.name])
            assert metadata.metrics[target.name].model == pytest.approx(measured)


def test_each_target_is_compared_with_every_baseline(trained: list[Metadata]) -> None:
    for metadata in trained:
        for target in TARGETS:
            metrics, score = metadata.metrics[target.name], SCORES[target.kind]
            assert metrics.baselines.keys() == BASELINES.keys()
            best = min(values[score] for values in metrics.baselines.values())
            assert metrics.beats_baselines == (metrics.model[score] < best)


def test_the_same_seed_gives_the_same_bytes(trained: list[Metadata], settings: ApiSettings) -> None:
    again = train(settings, list(TIERS))
    assert [metadata.sha256 for metadata in again] == [metadata.sha256 for metadata in trained]
    assert [metadata.metrics for metadata in again] == [metadata.metrics for metadata in trained]


def test_what_is_trained_is_not_served_before_it_is_promoted(
    settings: ApiSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    [metadata] = train(settings, [TIER])
    assert metadata.version == "v1.1"
    assert load_model(settings, TIER).metadata.version == "v1.0"
    told = f"{TIER} v1.1: not served yet; to promote it, run: inv models.promote {TIER} v1.1\n"
    assert told in capsys.readouterr().err


def test_what_a_tier_trains_first_is_served(
    settings: ApiSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    (settings.models_dir / f"{TIER}_current.onnx").unlink()
    [metadata] = train(settings, [TIER])
    assert load_model(settings, TIER).metadata == metadata
    assert "promote" not in capsys.readouterr().err


def test_what_is_trained_is_signed_where_there_is_a_key(
    settings: ApiSettings, tmp_path: Path
) -> None:
    private, public = signing.make_keys(tmp_path / "keys")
    keys = {"models_signing_key": private, "models_public_key": public}
    (settings.models_dir / f"{TIER}_current.onnx").unlink()
    [metadata] = train(settings.model_copy(update=keys), [TIER])
    assert load_model(settings.model_copy(update=keys), TIER).metadata == metadata


def test_too_few_rows_are_refused_and_nothing_is_written(settings: ApiSettings) -> None:
    before = sorted(settings.models_dir.iterdir())
    message = refused(lambda: train(settings, list(TIERS), rows=20))
    assert message.startswith("20 rows make")
    assert sorted(settings.models_dir.iterdir()) == before


def test_an_export_that_forecasts_otherwise_is_refused(
    settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(settings.models_dir.iterdir())

    exactly = training.forecasts

    def off(content: bytes, features: NDArray[np.float32]) -> Outputs:
        exact = exactly(content, features)
        return {name: values + np.float32(0.1) for name, values in exact.items()}

    monkeypatch.setattr(training, "forecasts", off)
    message = refused(lambda: train(settings, [TIER]))
    assert message == f"the export of {TARGETS[0].name} is off by 0.1; nothing was written"
    assert sorted(settings.models_dir.iterdir()) == before


def test_an_estimator_that_refuses_the_rows_is_named(
    settings: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Picky:
        def fit(self, *_: object) -> None:
            raise ValueError("one class alone")

        def predict(self, features: Floats) -> Floats:
            return features

    monkeypatch.setitem(TIERS, TIER, Tier("Picky", lambda *_: Picky()))
    message = refused(lambda: train(settings, [TIER]))
    assert message == f"{TIER} cannot be fitted to {TARGETS[0].name}: one class alone"


def test_baselines_are_made_of_training_rows_alone(settings: ApiSettings) -> None:
    with transaction(make_engine(settings.database_url)) as connection:
        rows = newest(connection)
    design_of_all = design(rows)
    boundary = rows.index(design_of_all.training.newest[-1]) + 1
    seen: list[int] = []

    def spy(known: object, _target: object) -> object:
        seen.append(len(known))  # type: ignore[arg-type]
        return lambda _row: 0.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "BASELINES", {"spy": spy})
        design(rows)
    assert seen == [boundary] * len(TARGETS)


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr("sys.argv", ["training", *options])
    main()


def test_the_command_trains_what_is_missing_alone(
    settings: ApiSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--missing", "--json")
    assert json.loads(capsys.readouterr().out) == []
    (settings.models_dir / f"{TIER}_current.onnx").unlink()
    run(monkeypatch, "--missing", "--major", "--json")
    assert [(one["tier"], one["version"]) for one in json.loads(capsys.readouterr().out)] == [
        (TIER, "v2.0")
    ]


def test_the_command_prints_the_baselines_beside_the_model(
    settings: ApiSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del settings
    run(monkeypatch, "--tier", TIER)
    printed = capsys.readouterr().out
    assert "held-out rows" in printed
    assert all(name in printed for name in (*BASELINES, f"{TIER} v1.1", TARGETS[0].name))


def metrics(model: float) -> TargetMetrics:
    return TargetMetrics(
        kind="quantity",
        unit="m",
        score="mae",
        model={"mae": model},
        baselines={"mean": {"mae": 2.0}, "last": {"mae": 3.0}},
        beats_baselines=model < 2,
    )


@pytest.mark.parametrize(
    ("model", "verdict"),
    [
        (1.5, "better than every baseline"),
        (2.0, "NOT better than mean"),
        (4.0, "NOT better than mean and last"),
    ],
)
def test_a_model_that_beats_no_baseline_says_so(model: float, verdict: str) -> None:
    cells = ["m v1.0", "t", "mae", f"{model:.3f}", "2.000", "3.000", verdict]
    assert rows_of("m v1.0", "t", metrics(model)) == [cells]


def test_the_columns_of_the_table_are_aligned(trained: list[Metadata]) -> None:
    heading, *lines = table(trained)[1:]
    assert {line[heading.index("metric") :].split()[0] for line in lines} <= {"brier", "ece", "mae"}


def test_a_faithful_export_passes() -> None:
    class Constant:
        def fit(self, *_: object) -> None: ...

        def predict(self, features: Floats) -> Floats:
            del features
            return np.array([1.0, 2.0])

    check_export({"t": Constant()}, np.zeros((2, 1)), {"t": np.array([1.0001, 2.0])})
    with pytest.raises(AppError):
        check_export({"t": Constant()}, np.zeros((2, 1)), {"t": np.array([1.1, 2.0])})
