"""The page, drawn from made-up responses."""

from collections.abc import Callable

import httpx
import pytest
from streamlit.testing.v1 import AppTest

from .conftest import DrawPage
from .fake_api import FakeApi, health_response, tabular_responses, weather_responses


def page_text(page: AppTest) -> str:
    """Return the text of a page's Markdown, captions and errors."""
    assert not page.exception
    return "\n".join(each.value for each in [*page.markdown, *page.caption, *page.error])


def test_the_forecast_is_shown_in_big_numbers(draw_page: DrawPage) -> None:
    page = draw_page(FakeApi(weather_responses()))
    assert [(each.label, each.value) for each in page.metric] == [
        ("Probability of rain", "73%"),
        ("Temp max", "8.9 °C"),
    ]
    text = page_text(page)
    assert "For **Friday 1 January 2016**, based on data up to Thursday 31 December 2015" in text
    assert "all checks pass" in text


def test_another_problem_is_shown_as_well(draw_page: DrawPage) -> None:
    page = draw_page(FakeApi(tabular_responses()))
    assert [(each.label, each.value) for each in page.metric] == [("Progression", "152.1")] * 2
    assert "For **441**" in page_text(page)


def test_drawing_the_page_again_makes_no_new_requests(draw_page: DrawPage) -> None:
    api = FakeApi(weather_responses())
    page = draw_page(api)
    assert sorted(api.requested) == ["/health", "/models", "/predict", "/predictions"]
    for _ in range(5):
        page.run()
    assert len(api.requested) <= 6, "only what is cached briefly may be requested again"


def test_a_source_without_forecasts_says_so(draw_page: DrawPage) -> None:
    page = draw_page(FakeApi({**weather_responses(), "/predictions": (200, [])}))
    assert not page.exception
    assert [each.value for each in page.info] == ["There are no forecasts from this source yet."]


def test_a_failing_check_is_shown_with_its_reason(draw_page: DrawPage) -> None:
    page = draw_page(FakeApi({**weather_responses(), "/health": health_response(ok=False)}))
    text = page_text(page)
    assert "cache: failing" in text
    assert r"refused\_it" in text
    assert [each.value for each in page.code] == ["inv deploy.status"]


def test_one_failed_forecast_leaves_the_rest_of_the_page(draw_page: DrawPage) -> None:
    invalid = (422, {"detail": [{"msg": "odd"}]})
    page = draw_page(FakeApi({**weather_responses(), "/predict": invalid}))
    assert "status 422 for /predict" in page_text(page)
    assert [each.value for each in page.subheader][-1] == "Stack health"


def test_the_page_appears_once_the_api_serves_a_model(draw_page: DrawPage) -> None:
    api = FakeApi({**weather_responses(), "/models": (503, {"detail": "starting"})})
    page = draw_page(api)
    assert "starting" in page_text(page)
    api.responses = weather_responses()
    page.run()
    assert not page.error
    assert len(page.metric) == 2


# What it says when the API fails


def unreachable(request: httpx.Request) -> httpx.Response:
    message = "refused"
    raise httpx.ConnectError(message, request=request)


def silent(request: httpx.Request) -> httpx.Response:
    message = "silent"
    raise httpx.ReadTimeout(message, request=request)


def limited(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(429, json={"detail": "slow down"}, headers={"Retry-After": "17"})


def broken(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(500, text="Internal Server Error")


def web_page(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text="<html>hello</html>")


def something_else(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=[{"tier": 1}])


def untrained(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=[])


@pytest.mark.parametrize(
    ("handler", "what", "command"),
    [
        (unreachable, "The API at `http://api.test:8000` cannot be reached.", "inv deploy.status"),
        (silent, "`http://api.test:8000` did not respond in time.", "inv deploy.status"),
        (limited, "Reload this page in 17 s.", "inv deploy.status"),
        (broken, "status 500 for /models: Internal Server Error", "inv deploy.status"),
        (web_page, "response to /models cannot be read: not JSON.", "inv deploy.status"),
        (
            something_else,
            "cannot be read: 0.tier: input should be a valid string.",
            "inv deploy.status",
        ),
        (untrained, "The API does not serve a model yet.", "inv models.train"),
    ],
)
def test_a_failing_api_is_explained(
    draw_page: DrawPage,
    handler: Callable[[httpx.Request], httpx.Response],
    what: str,
    command: str,
) -> None:
    page = draw_page(handler)
    assert not page.exception
    assert what in page.error[0].value.replace("\\", "")
    assert [each.value for each in page.code] == [command]


def test_an_address_that_is_not_one_is_explained(
    draw_page: DrawPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_URL", "here")

    def reject(_request: httpx.Request) -> httpx.Response:
        message = "no scheme"
        raise httpx.UnsupportedProtocol(message)

    page = draw_page(reject)
    assert "API_URL is `here`" in page_text(page).replace("\\", "")
    assert [each.value for each in page.code] == ["inv doctor"]
