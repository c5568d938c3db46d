"""What the requests share, and the work they ask for."""

import logging
import os
import time
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter
from pydantic import ValidationError
from redis.exceptions import RedisError
from sqlalchemy import Engine

from . import artifacts, observations, predictions, reports, serving
from .answers import Answers
from .cache import Link, PredictionCache, cache_key
from .database import DatabaseError, make_engine, transaction
from .exposition import KeepingCollector, ModelCollector
from .forecasting import Forecast, forecast, history
from .observations import key_of
from .problem import HISTORY, KEY, TARGETS, TIERS
from .ratelimit import RateLimiter
from .reports import Lag, Reporter
from .schemas import Check, PredictRequest, PredictResponse
from .serving import Model, ModelError, Models
from .settings import ApiSettings
from .shared.console import AppError, explain
from .watching import Watcher

log = logging.getLogger(__name__)

UNITS = {target.name: target.unit for target in TARGETS}

PAUSE = 0.05
"""Seconds between two looks at what the other processes say."""


class BehindError(AppError):
    """Not every process serves what the links name; the message names each that does not."""


@dataclass(frozen=True)
class Service:
    """The database, the models, Redis and what is kept in it; opened once."""

    settings: ApiSettings
    engine: Engine
    models: Models
    answers: Answers
    watcher: Watcher
    link: Link
    cache: PredictionCache
    limiter: RateLimiter
    answered: Counter

    @classmethod
    def open(cls, settings: ApiSettings, registry: CollectorRegistry) -> "Service":
        """Load the models; the database and Redis are connected when they are first used.

        The others see this process before it looks at the models' links: who moves one meanwhile
        waits for it.
        """
        link, reporter = Link(settings.redis_url), Reporter(settings.serving_dir)
        models, answers = Models(settings), Answers()
        service = cls(
            settings=settings,
            engine=make_engine(settings.database_url),
            models=models,
            answers=answers,
            watcher=Watcher(models, answers, reporter),
            link=link,
            cache=PredictionCache(link, settings.cache_seconds),
            limiter=RateLimiter(link, settings.rate_limit_per_minute),
            answered=Counter(
                "predictions", "Forecasts given", ["tier", "version", "cached"], registry=registry
            ),
        )
        registry.register(ModelCollector(service.watcher))
        registry.register(KeepingCollector(settings.recovery_dir))
        service.watcher.start()
        return service

    def close(self) -> None:
        """Let go of every connection, and be gone for the other processes."""
        self.watcher.stop()
        self.engine.dispose()
        self.link.client.close()

    def predict(self, models: list[Model], asked: PredictRequest) -> PredictResponse:
        """Forecast by the first of some models, and by the next where that one fails.

        Raises ModelError if the last fails too, HistoryError where rows are missing,
        DatabaseError.
        """
        model, *others = models
        try:
            return self.predict_by(model, asked)
        except ModelError as error:
            self.answers.fail(model.file)
            log.error("%s", error)  # noqa: TRY400 - where in a library it failed helps nobody
            if not others:
                raise
        return self.predict(others, asked)

    def predict_by(self, model: Model, asked: PredictRequest) -> PredictResponse:
        """Return a forecast, cached if possible, and log it."""
        key = cache_key(model.metadata.sha256, asked.model_dump_json(exclude={"tier"}))
        kept, metadata = self.recall(key), model.metadata
        with transaction(self.engine) as connection:
            made = kept or forecast(model, history(connection, asked))
            number, now = predictions.log(connection, metadata, [made], "api", cached=bool(kept))
        if not kept:
            self.cache.put(key, made.model_dump_json())
        self.answered.labels(metadata.tier, metadata.version, str(bool(kept)).lower()).inc()
        return PredictResponse(
            id=number,
            tier=metadata.tier,
            version=metadata.version,
            **made.model_dump(),
            units=UNITS,
            cached=bool(kept),
            created_at=now,
        )

    def reload(self) -> None:
        """Make every process retry failed loads, and wait until all serve the current models.

        Raises BehindError if one cannot, or does not within the limit.
        """
        folder = self.settings.serving_dir
        try:
            reports.touch(folder)
        except OSError as error:
            raise BehindError(f"the processes cannot be queried: {explain(error)}") from error
        limit = time.monotonic() + self.settings.reload_seconds_max
        while lags := self.lags():
            if time.monotonic() > limit or not any(lag.waits for lag in lags):
                raise BehindError("; ".join(lag.why for lag in lags))
            time.sleep(PAUSE)

    def lags(self) -> list[Lag]:
        """Return which linked models each running process does not serve yet."""
        folder, reporter = self.settings.serving_dir, self.watcher.reporter
        touch = serving.touched(folder)
        pointed = {tier: artifacts.pointed(self.settings.models_dir, tier) for tier in TIERS}
        said = {reporter.name: None, **reports.living(folder)}
        return [
            lag for name, one in said.items() for lag in reports.lags(name, one, pointed, touch)
        ]

    def recall(self, key: str) -> Forecast | None:
        """Return the cached forecast, or None if there is none or it is unreadable."""
        try:
            text = self.cache.get(key)
            return Forecast.model_validate_json(text) if text else None
        except ValidationError:
            return None

    def checks(self) -> dict[str, Check]:
        """Return the state of each part, by name."""
        return {
            "model": self.check_models(),
            "database": self.check_database(),
            "cache": self.check_cache(),
        }

    def check_models(self) -> Check:
        """Check that every tier has a model, and a link to one."""
        names = [model.name for model in self.models.loaded.values()]
        places, folder = self.models.places.values(), self.settings.models_dir
        # A link may be wrong though what it named before is in memory still.
        lost = [one for one in places if not os.path.isfile(folder / one.wanted)]  # noqa: PTH113
        wrong = [one.wrong for one in places if one.wrong]
        wrong += [f"{folder / one.wanted} is not a file" for one in lost if one.wanted]
        return Check(ok=not (self.models.missing or lost), detail=", ".join([*names, *wrong]))

    def check_database(self) -> Check:
        """Check that the database has the rows of a forecast, and how recent they are."""
        try:
            with transaction(self.engine) as connection:
                rows = observations.newest(connection, HISTORY)
        except DatabaseError as error:
            log.warning("%s", error)
            return Check(ok=False, detail=error.advice)
        if reason := observations.lack(rows):
            return Check(
                ok=False, detail=f"the newest rows cannot be used for a forecast: {reason}"
            )
        return Check(ok=True, detail=f"newest {KEY} {key_of(rows[-1])}")

    def check_cache(self) -> Check:
        """Check that Redis responds."""
        try:
            self.link.check()
        except RedisError as error:
            log.warning("Redis failed: %s", error)
            return Check(ok=False, detail=f"Redis is not responding ({type(error).__name__})")
        return Check(ok=True, detail="answers")
