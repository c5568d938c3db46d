"""services/api/models.md of a bake, followed to the letter."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Bake
from tests.template.test_your_model import Reader

CRON = re.compile(r"^```cron\n.*\.venv/bin/(inv .*?) >>.*\n```", re.MULTILINE)


@pytest.fixture
def reader(bake: Bake, tools: Path, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(bake(), tools)
    reader.variables["HOME"] = str(tmp_path)
    yield reader
    reader.type("inv deploy.down")


def test_the_page_of_the_models_can_be_followed(reader: Reader) -> None:
    page = (reader.project / "services" / "api" / "models.md").read_text(encoding="utf-8")
    (nightly,) = CRON.findall(page)
    reader.type("inv deploy.up")
    reader.follow(re.sub(r"^```(?:text|cron)\n.*?^```", "", page, flags=re.DOTALL | re.MULTILINE))
    assert '"version":"v1.0"' in reader.said  # the last thing on it is a link moved back by hand
    assert "tier1  v1.2" in reader.type("inv models.history")
    # Nothing new was collected, so the same models are trained again.
    assert "tier2 v1.1 is identical to the served model and was deleted." in reader.type(nightly)
