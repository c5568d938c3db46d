"""What the requests share, and the work they ask for."""

import logging
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter
from pydantic import ValidationError
from redis.exceptions import RedisError
from sqlalchemy import Engine

from . import observations, predictions
from .cache import Link, PredictionCache, cache_key
from .database import DatabaseError, make_engine, transaction
from .forecasting import Forecast, forecast, history
from .observations import key_of
from .problem import HISTORY, KEY, TARGETS
from .ratelimit import RateLimiter
from .schemas import Check, PredictRequest, PredictResponse
from .serving import Model, Models
from .settings import ApiSettings

log = logging.getLogger(__name__)

UNITS = {target.name: target.unit for target in TARGETS}


@dataclass(frozen=True)
class Service:
    """The database, the models, Redis and what is kept in it; opened once."""

    engine: Engine
    models: Models
    link: Link
    cache: PredictionCache
    limiter: RateLimiter
    answered: Counter

    @classmethod
    def open(cls, settings: ApiSettings, registry: CollectorRegistry) -> "Service":
        """Load the models; the database and Redis are connected when they are first used."""
        link = Link(settings.redis_url)
        service = cls(
            engine=make_engine(settings.database_url),
            models=Models(settings.models_dir),
            link=link,
            cache=PredictionCache(link, settings.cache_seconds),
            limiter=RateLimiter(link, settings.rate_limit_per_minute),
            answered=Counter(
                "predictions", "Forecasts given", ["tier", "version", "cached"], registry=registry
            ),
        )
        for reason in service.models.missing.values():
            log.error("%s", reason)
        return service

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()
        self.link.client.close()

    def predict(self, model: Model, asked: PredictRequest) -> PredictResponse:
        """Forecast, from the cache where the same was asked of this model, and log it.

        Raises HistoryError where rows are missing, DatabaseError.
        """
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

    def recall(self, key: str) -> Forecast | None:
        """Return the forecast that is cached, None where there is none that can be read."""
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
        """Tell whether every tier has a model."""
        names = [model.name for model in self.models.loaded.values()]
        missing = self.models.missing.values()
        return Check(ok=not missing, detail=", ".join([*names, *missing]))

    def check_database(self) -> Check:
        """Tell whether the database has the rows of a forecast, and how new they are."""
        try:
            with transaction(self.engine) as connection:
                rows = observations.newest(connection, HISTORY)
        except DatabaseError as error:
            log.warning("%s", error)
            return Check(ok=False, detail=error.advice)
        if reason := observations.lack(rows):
            return Check(ok=False, detail=f"no forecast can be made from the newest rows: {reason}")
        return Check(ok=True, detail=f"newest {KEY} {key_of(rows[-1])}")

    def check_cache(self) -> Check:
        """Tell whether Redis answers."""
        try:
            self.link.check()
        except RedisError as error:
            log.warning("Redis failed: %s", error)
            return Check(ok=False, detail=f"Redis does not answer ({type(error).__name__})")
        return Check(ok=True, detail="answers")
