"""The page as Streamlit draws it, without a browser."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

DASHBOARD = Path(__file__).resolve().parents[1]
DRAW_SECONDS = 120

DrawPage = Callable[[Callable[[httpx.Request], httpx.Response]], AppTest]


@pytest.fixture
def draw_page(monkeypatch: pytest.MonkeyPatch) -> Iterator[DrawPage]:
    """Return what draws the page from the responses of a handler, with nothing cached."""
    make_client = httpx.Client
    monkeypatch.setenv("API_URL", "http://api.test:8000")

    def draw(handler: Callable[[httpx.Request], httpx.Response]) -> AppTest:
        transport = httpx.MockTransport(handler)
        monkeypatch.setattr(httpx, "Client", lambda **_: make_client(transport=transport))
        script = DASHBOARD / "streamlit_app.py"
        return AppTest.from_file(str(script), default_timeout=DRAW_SECONDS).run()

    clear_caches()
    yield draw
    clear_caches()


def clear_caches() -> None:
    """Empty what Streamlit keeps between pages."""
    st.cache_data.clear()
    st.cache_resource.clear()
