"""Bring the data and the models to where the API can start: run as `python -m <package>.prepare`.

Loads the data where there is none, trains the tiers that have no model, and keeps what the models
forecast for their held-out rows, so that there is a past to look at from the first minute. What is
done already is not done again: rows that were loaded since stay as they are.
"""

from . import artifacts, observations, predictions
from .collect import collect
from .database import make_engine, transaction
from .forecasting import Forecast, forecasts
from .observations import keys
from .problem import TIERS
from .samples import Samples, samples
from .serving import Model
from .serving import load as load_model
from .settings import Settings, load
from .shared.console import progress, run


def main() -> None:
    settings = load(Settings)
    collect_first(settings)
    train_missing(settings)
    backtest(settings)


def collect_first(settings: Settings) -> None:
    """Load the file of the settings into a database that has no observations."""
    engine = make_engine(settings.database_url)
    with transaction(engine) as connection:
        filled = bool(observations.newest(connection, 1))
    engine.dispose()
    if filled:
        progress(f"the database has observations: {settings.data_file} is not loaded again")
    else:
        collect(settings, settings.data_file)


def train_missing(settings: Settings) -> None:
    """Train the tiers that have no model."""
    missing = [tier for tier in TIERS if artifacts.current(settings.models_dir, tier) is None]
    if missing:
        from .training import train  # noqa: PLC0415 - loading scikit-learn takes a while

        train(settings, missing)


def backtest(settings: Settings) -> None:
    """Store the forecasts of each tier's model for its held-out rows, unless they are there."""
    engine = make_engine(settings.database_url)
    for tier in TIERS:
        model = load_model(settings, tier)
        with transaction(engine) as connection:
            if not predictions.has_backtest(connection, model.metadata):
                made = held_out_forecasts(model, samples(observations.newest(connection)))
                predictions.log(connection, model.metadata, made, "backtest")
                progress(f"{model.name}: {len(made)} held-out forecasts stored")
    engine.dispose()


def held_out_forecasts(model: Model, every: Samples) -> list[Forecast]:
    """Return a model's forecasts of its held-out rows, in the order of their keys."""
    part = model.metadata.rows["held_out"]
    first, last = keys.validate_python(part.first), keys.validate_python(part.last)
    made = forecasts(model, every.newest, every.features)
    return [forecast for forecast in made if first <= forecast.key <= last]


if __name__ == "__main__":
    run(main)
