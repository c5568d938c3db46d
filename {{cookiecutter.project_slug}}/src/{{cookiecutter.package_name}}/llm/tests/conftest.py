"""A real server of chat completions, and an environment without anything of the developer's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .. import explaining
from ..configuration import Ensemble
from ..kinds import Forecast
from .chatserver import ChatServer, serving

ROOT = Path(__file__).absolute().parents[4]
VARIABLES = ("APP_ENV", "OLLAMA_BASE_URL", "LLM_API_KEY", "LLM_API_KEY_FILE")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    with serving() as started:
        monkeypatch.setenv("OLLAMA_BASE_URL", started.url)
        yield started


@pytest.fixture
def no_panel() -> Iterator[None]:
    yield
    explaining.shared.close()


@pytest.fixture
def forecast() -> Forecast:
    return Forecast.model_validate(
        {
            "target_key": "2016-01-01",
            "prediction": {"rain": 0.7342, "temp_max": 5.634},
            "units": {"rain": "probability", "temp_max": "°C"},
        }
    )


def ensemble(*models: str, **changes: object) -> Ensemble:
    """Return members called as the models that they ask, each of less weight than the last."""
    members = {
        model: {
            "backend": "openai",
            "base_url": "{OLLAMA_BASE_URL}/v1",
            "model": model,
            "weight": 1.0 - number / 10,
            "timeout_seconds": 0.5 if model == "slow" else 10,
            "max_tokens": 100,
        }
        for number, model in enumerate(models)
    }
    told = {"batch_wait_ms": 10, "batch_size_max": 8, "rest_seconds": 30, "members": members}
    return Ensemble.model_validate({**told, **changes})
