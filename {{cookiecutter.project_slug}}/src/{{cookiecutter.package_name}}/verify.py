"""Verify a deployment: run as `python -m <package>.verify`.

Every check has a name, and is ok or says why it is not. What counts as good is settable: see
`settings.Settings`. Ends with exit code 1 where a check is not ok; `--only` leaves out the others,
so that it can be a container's health check.
"""

import argparse
import datetime as dt
import json
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from redis.exceptions import OutOfMemoryError, RedisError
from sqlalchemy import Connection, func, select

from . import artifacts, forecasting, gates, serving
from .artifacts import ArtifactError
from .cache import connect
from .database import make_engine, transaction
from .observations import key_of
from .problem import KEY, TIERS
from .schemas import PredictRequest
from .settings import ApiSettings, SettingsError, load
from .shared.console import AppError
from .tables import observations

MIGRATIONS = Path(__file__).parent / "migrations"
MEGABYTE = 1024**2


class CheckError(AppError):
    """A check failed: the message is the reason."""


@dataclass(frozen=True)
class Result:
    """The result of one check: what was found, or why it failed."""

    name: str
    ok: bool
    detail: str
    seconds: float


def settings(chosen: ApiSettings) -> str:
    """Name the profile; the settings have been read by now."""
    return f"profile {chosen.app_env}"


def database(chosen: ApiSettings) -> str:
    """Reach the database, and compare its schema with the newest migration there is."""
    newest = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    with connected(chosen) as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found != newest:
        advice = "python -m alembic upgrade head"
        raise CheckError(f"at migration {found or 'none'}, and the newest is {newest}: {advice}")
    return f"at the newest migration, {newest}"


def data(chosen: ApiSettings) -> str:
    """Find the rows of a forecast, recent enough if a limit is set."""
    with connected(chosen) as connection:
        count = connection.scalar(select(func.count()).select_from(observations))
        newest = key_of(forecasting.history(connection, PredictRequest())[-1])
    said, limit = f"{count} rows, newest {KEY} {newest}", chosen.data_max_age_days
    if limit is None:
        return f"{said}; DATA_MAX_AGE_DAYS sets no limit"
    if not isinstance(newest, dt.date):
        raise CheckError(f"{said} has no age: unset DATA_MAX_AGE_DAYS")
    day = newest.date() if isinstance(newest, dt.datetime) else newest
    age = (dt.datetime.now(dt.UTC).date() - day).days
    if age > limit:
        raise CheckError(f"{said}: {age} days old, and DATA_MAX_AGE_DAYS is {limit}")
    return f"{said}: {age} days old"


def models(chosen: ApiSettings) -> str:
    """Load every tier's model, after comparing its checksum."""

    def loaded(tier: str) -> str:
        return serving.unproven(chosen, tier, serving.wanted(chosen, tier)).name

    return each_tier(loaded)


def golden(chosen: ApiSettings) -> str:
    """Compare every model's forecasts with those recorded at training."""

    def proven(tier: str) -> str:
        model = serving.load(chosen, tier)
        return f"{model.name} reproduces {len(model.metadata.golden.features)} recorded forecasts"

    return each_tier(proven)


def metrics(chosen: ApiSettings) -> str:
    """Compare the metrics of the served models with the bounds."""

    def measured(tier: str) -> str:
        metadata = artifacts.current(chosen.models_dir, tier)
        if metadata is None:
            raise ArtifactError(f"{tier} has no model")
        said, wrong = gates.judged(metadata, chosen)
        if wrong:
            raise CheckError(f"{tier} {metadata.version}: {'; '.join(wrong)}")
        return f"{tier} {metadata.version} {said}"

    return each_tier(measured)


def cache(chosen: ApiSettings) -> str:
    """Store a value in the cache and read it back."""
    client, key = connect(chosen.redis_url), f"verify:{uuid.uuid4().hex}"
    try:
        client.set(key, "kept", ex=10)
        kept = client.getdel(key)
    except OutOfMemoryError:
        return "responds, but is full: nothing new is cached, and no jobs are accepted"
    except RedisError as error:
        raise CheckError(f"Redis is not responding ({type(error).__name__})") from error
    finally:
        client.close()
    if kept != "kept":
        raise CheckError(f"Redis did not return a value that was just stored: {kept!r}")
    return "stores and returns values"


def disk(chosen: ApiSettings) -> str:
    """Check that there is room for more models."""
    free = shutil.disk_usage(chosen.models_dir).free // MEGABYTE
    said = f"{free} MB free in {chosen.models_dir}"
    if free < chosen.disk_free_min_mb:
        raise CheckError(f"{said}, and DISK_FREE_MIN_MB is {chosen.disk_free_min_mb}")
    return said


def clock(chosen: ApiSettings) -> str:
    """Compare this machine's clock with the database's."""
    with connected(chosen) as connection:
        apart = abs((dt.datetime.now(dt.UTC) - database_time(connection)).total_seconds())
    said = f"{apart:.1f} s apart from the database's clock"
    if apart > chosen.clock_apart_max_seconds:
        raise CheckError(f"{said}; CLOCK_APART_MAX_SECONDS is {chosen.clock_apart_max_seconds:g}")
    return said


def database_time(connection: Connection) -> dt.datetime:
    """Return the database's time; SQLite's has whole seconds and no zone."""
    told: dt.datetime = connection.execute(select(func.now())).scalar_one()
    return told if told.tzinfo else told.replace(tzinfo=dt.UTC)


@contextmanager
def connected(chosen: ApiSettings) -> Iterator[Connection]:
    """Yield a separate connection to the database; raises DatabaseError."""
    engine = make_engine(chosen.database_url)
    try:
        with transaction(engine) as connection:
            yield connection
    finally:
        engine.dispose()


def each_tier(check: Callable[[str], str]) -> str:
    """Return a check's result for every tier; raises CheckError with all reasons."""
    said, wrong = [], []
    for tier in TIERS:
        try:
            said.append(check(tier))
        except AppError as error:
            wrong.append(str(error))
    if wrong:
        raise CheckError("; ".join(wrong))
    return ", ".join(said)


Check: TypeAlias = Callable[[ApiSettings], str]
"""Returns what was found, or raises with the reason why that is not ok."""

CHECKS: Mapping[str, Check] = {
    "settings": settings,
    "database": database,
    "data": data,
    "models": models,
    "golden": golden,
    "metrics": metrics,
    "cache": cache,
    "disk": disk,
    "clock": clock,
}


def verify(names: Sequence[str]) -> list[Result]:
    """Run checks and return their results; without valid settings none can run."""
    try:
        chosen = load(ApiSettings)
    except SettingsError as error:
        reasons = dict.fromkeys(["settings", *names], "not checked: there are no valid settings")
        reasons["settings"] = str(error)
        return [Result(name, ok=False, detail=why, seconds=0.0) for name, why in reasons.items()]
    return [made(name, chosen) for name in names]


def made(name: str, chosen: ApiSettings) -> Result:
    """Run one check; an error that prevents it is a failure too."""
    started = time.perf_counter()
    try:
        ok, detail = True, CHECKS[name](chosen)
    except AppError as error:
        ok, detail = False, str(error)
    except Exception as error:  # noqa: BLE001 - the other checks are to be made all the same
        ok, detail = False, f"{type(error).__name__}: {error}"
    return Result(name, ok, detail, round(time.perf_counter() - started, 3))


def table(results: Sequence[Result]) -> list[str]:
    """Return the lines of a table; long reasons continue on the next lines."""
    return [
        f"{mark:<6}  {name:<8}  {line}".rstrip()
        for one in results
        for number, line in enumerate(one.detail.splitlines() or [""])
        for mark, name in [(("ok" if one.ok else "FAILED"), one.name) if number == 0 else ("", "")]
    ]


def main() -> None:
    options = parse()
    results = verify(options.only or list(CHECKS))
    ok = all(one.ok for one in results)
    if options.json:
        print(json.dumps({"ok": ok, "checks": [asdict(one) for one in results]}, indent=2))
    else:
        print("\n".join(table(results)))
    sys.exit(0 if ok else 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Verify that the deployment works.")
    parser.add_argument("--only", nargs="+", choices=list(CHECKS), help="which (default: all)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
