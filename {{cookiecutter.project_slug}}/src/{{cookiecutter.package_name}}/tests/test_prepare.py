import os
import subprocess
import sys

import pytest
from sqlalchemy import delete, func, select

from .. import artifacts, prepare
from ..database import make_engine, transaction
from ..observations import newest, store
from ..predictions import newest as newest_predictions
from ..problem import TIERS
from ..samples import samples, split
from ..serving import load as load_model
from ..settings import ApiSettings
from ..shared.console import AppError
from ..shared.tests.conftest import refused
from ..tables import Prediction, observations
from ..training import train
from .conftest import PACKAGE, changed

TIER = next(iter(TIERS))


def backtests(settings: ApiSettings) -> dict[tuple[str, str], int]:
    """Return the number of held-out forecasts by tier and version."""
    query = select(Prediction.tier, Prediction.version, func.count()).group_by(
        Prediction.tier, Prediction.version
    )
    with transaction(make_engine(settings.database_url)) as connection:
        return {(tier, version): number for tier, version, number in connection.execute(query)}


def held_out(settings: ApiSettings) -> int:
    metadata = artifacts.current(settings.models_dir, TIER)
    assert metadata
    return metadata.rows["held_out"].count


def test_a_project_that_is_ready_is_left_as_it_is_without_scikit_learn(
    settings: ApiSettings, variables: dict[str, str]
) -> None:
    before = backtests(settings), sorted(settings.models_dir.iterdir())
    code = f"import {PACKAGE.name}.prepare as p, sys; p.main(); sys.exit('sklearn' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables, "PYTHONPATH": str(PACKAGE.parent)},
        timeout=60,
        check=False,
    )
    assert result.returncode == 0
    assert (backtests(settings), sorted(settings.models_dir.iterdir())) == before
    assert backtests(settings) == dict.fromkeys(
        ((tier, "v1.0") for tier in TIERS), held_out(settings)
    )


def test_rows_that_were_corrected_since_stay_so(
    settings: ApiSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = make_engine(settings.database_url)
    with transaction(engine) as connection:
        [newest_row] = newest(connection, 1)
        corrected = changed(newest_row)
        store(connection, [corrected])
    prepare.collect_first(settings)
    with transaction(engine) as connection:
        assert newest(connection, 1) == [corrected]
    assert f"{settings.data_file} is not loaded again" in capsys.readouterr().err


def test_a_database_without_rows_gets_those_of_the_file(settings: ApiSettings) -> None:
    engine = make_engine(settings.database_url)
    with transaction(engine) as connection:
        before = newest(connection)
        connection.execute(delete(observations))
    prepare.collect_first(settings)
    with transaction(engine) as connection:
        assert newest(connection) == before


def test_a_missing_tier_alone_is_trained(settings: ApiSettings) -> None:
    (settings.models_dir / f"{TIER}_current.onnx").unlink()
    prepare.train_missing(settings)
    versions = [load_model(settings, tier).metadata.version for tier in TIERS]
    assert versions == ["v1.1", *["v1.0"] * (len(TIERS) - 1)]


def test_a_new_version_gets_its_own_backtest_once(settings: ApiSettings) -> None:
    [metadata] = train(settings, [TIER])
    artifacts.point(settings.models_dir, metadata)
    for _ in range(2):
        prepare.backtest(settings)
    assert backtests(settings)[TIER, "v1.1"] == held_out(settings)


def test_backtests_are_the_model_s_forecasts_of_rows_it_was_not_fitted_to(
    settings: ApiSettings,
) -> None:
    with transaction(make_engine(settings.database_url)) as connection:
        _, expected = split(samples(newest(connection)))
        stored = newest_predictions(connection, TIER, "backtest", 1000)[::-1]
    assert [one.key for one in stored] == expected.keys
    outputs = load_model(settings, TIER).predict(expected.features)
    for name, values in outputs.items():
        assert [one.prediction[name] for one in stored] == [
            float(f"{value:.6g}") for value in values.tolist()
        ]
        assert [(one.outcome or {})[name] for one in stored] == expected.truths[name].tolist()


def test_a_model_that_cannot_be_loaded_is_said(settings: ApiSettings) -> None:
    metadata = artifacts.current(settings.models_dir, TIER)
    assert metadata
    (settings.models_dir / metadata.file).write_bytes(b"")
    assert "was changed" in refused(lambda: prepare.backtest(settings), AppError)
