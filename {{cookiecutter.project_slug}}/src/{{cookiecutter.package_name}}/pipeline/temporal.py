"""The temporal fusion transformer, by a library that is installed only where it is wanted."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec

from ..console import AppError
from .series import Floats, Series


def fit_transformer(
    known: Series, horizon: int, seed: int
) -> Callable[[Series, Sequence[int]], Floats]:
    """Fit it; raises AppError where the library is missing."""
    del known, horizon, seed
    if not find_spec("pytorch_forecasting"):
        raise AppError("--model tft needs a library that is not installed")
    raise AppError("--model tft is not there yet")
