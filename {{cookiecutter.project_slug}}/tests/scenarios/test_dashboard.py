"""The dashboard, as it is reached from outside and as it reaches the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slipway.harness.chaos import HarnessStack
    from slipway.harness.http import ScenarioClient

ASK = (
    "import os; from urllib.request import urlopen as get;"
    "print(get('http://127.0.0.1:8501/_stcore/health').read(),"
    "get(os.environ['API_URL'] + '/models').status)"
)


def test_the_dashboard_is_up_is_reached_and_finds_the_api(
    client: ScenarioClient, stack: HarnessStack
) -> None:
    address = client.get("/dashboard")
    assert address.status_code == 302
    assert address.headers["Location"].endswith("/dashboard/")
    page = client.get("/dashboard/")
    assert page.status_code == 200
    assert "<title>Streamlit" in page.text
    said = stack.run("dashboard", "python", "-c", ASK)
    assert "ok" in said
    assert said.strip().endswith(" 200")
