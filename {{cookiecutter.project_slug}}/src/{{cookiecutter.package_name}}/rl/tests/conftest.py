"""A project with the data, and folders of its own for what trainings leave."""

from pathlib import Path

import pytest

from ...settings import Settings, load
from ...shared.valuefiles import variable
from ...tests.conftest import DATA, ROOT
from ..environment import Days, days

NO_TORCH = "what trains is not installed: pip install -r services/worker-rl/torch.txt"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of the developer's environment reach a test."""
    monkeypatch.chdir(ROOT)
    for key in Settings.model_fields:
        monkeypatch.delenv(key.upper(), raising=False)
        monkeypatch.delenv(variable(key), raising=False)


@pytest.fixture(scope="session")
def parts() -> tuple[Days, Days]:
    return days(DATA)


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set the environment of a project in an empty folder."""
    values = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/app.db",
        "MODELS_DIR": str(tmp_path / "models"),
        "SERVING_DIR": str(tmp_path / "run/serving"),
        "DATA_FILE": str(DATA),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.fixture
def settings(variables: dict[str, str]) -> Settings:
    del variables
    return load(Settings)
