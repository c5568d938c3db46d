"""The dashboard: what it computes, what it says when the API fails, and the page in a browser."""

import contextlib
import datetime as dt
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import streamlit as st
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from streamlit.testing.v1 import AppTest

from .. import dashboard
from ..dashboard import Bin, Forecast, Pair, Target

SCRIPT = Path(dashboard.__file__)
PACKAGE = SCRIPT.parent.name
ROOT = SCRIPT.parents[2]
START_SECONDS = 120
PAGE_SECONDS = 60

Answer = tuple[int, Any]
Handler = Callable[[httpx.Request], httpx.Response]


def target(kind: str, **changes: object) -> Target:
    """Return a target of that kind, with the metrics of a model that beats its baselines."""
    measured = {"model": {"mae": 1.25}, "baselines": {"mean": {"mae": 2.5}}, "score": "mae"}
    defaults = {"name": "temp_max", "kind": kind, "unit": "°C", "beats_baselines": True}
    return Target.model_validate({**defaults, **measured, **changes})


def past(key: int | str, value: float, outcome: float | None = None) -> Forecast:
    """Return a forecast of `rain` about a key."""
    return Forecast(key=0, target_key=key, prediction={"rain": value}, outcome={"rain": outcome})


# What is computed


def test_bins_hold_the_probabilities_from_their_lower_edge_up_to_the_next() -> None:
    known = [Pair(0.0, 0), Pair(0.05, 1), Pair(0.1, 0), Pair(0.3, 1), Pair(0.99, 1), Pair(1.0, 1)]
    bins = dashboard.calibration_bins(known)
    assert [(each.low, each.high, each.count) for each in bins] == [
        (0.0, 0.1, 2),
        (0.1, 0.2, 1),
        (0.3, 0.4, 1),
        (0.9, 1.0, 2),
    ]
    assert [each.frequency for each in bins] == [0.5, 0.0, 1.0, 1.0]
    assert [each.forecast for each in bins] == pytest.approx([0.025, 0.1, 0.3, 0.995])


def test_no_forecasts_make_no_bins() -> None:
    assert dashboard.calibration_bins([]) == []


def test_a_bin_spans_the_frequencies_its_count_cannot_rule_out() -> None:
    bins = dashboard.calibration_bins([Pair(0.75, 1)] * 8 + [Pair(0.75, 0)] * 2)
    expected = Bin(0.7, 0.8, 10, 0.75, 0.8, 0.4902, 0.9433)
    assert vars(bins[0]) == pytest.approx(vars(expected), abs=1e-4)


def test_the_newest_forecast_about_a_key_counts() -> None:
    kept = dashboard.newest_per_key([past("b", 0.2), past("a", 0.3), past("b", 0.4)])
    assert [(each.about, each.prediction["rain"]) for each in kept] == [("b", 0.2), ("a", 0.3)]


def test_without_a_horizon_a_forecast_is_about_its_own_key() -> None:
    assert Forecast(key=7, prediction={}).about == 7


def test_only_forecasts_with_an_outcome_are_paired() -> None:
    history = [past("c", 0.9), past("b", 0.2, 1), past("a", 0.3, 0)]
    assert dashboard.pairs(history, "rain") == [Pair(0.2, 1), Pair(0.3, 0)]
    assert dashboard.pairs(history, "snow") == []


def test_charts_draw_the_oldest_first_and_days_as_the_readers_own() -> None:
    history = [past("2016-01-02", 0.9), past("2016-01-01", 0.2, 1), past("2015-12-31", 0.3, 0)]
    rows = dashboard.event_rows(history, "rain")
    assert rows[0] == {"key": "2015-12-31T00:00:00", "Forecast": 0.3, "Outcome": "Did not happen"}
    assert [row["Outcome"] for row in rows[1:]] == ["Happened", "Not known yet"]
    assert dashboard.key_field(rows) == "key:T"


def test_keys_that_are_no_dates_are_drawn_as_names() -> None:
    rows = dashboard.quantity_rows([past(12, 0.9), past(11, 0.2, 0.5)], "rain")
    assert [(row["key"], row["series"], row["value"]) for row in rows] == [
        (11, "Forecast", 0.2),
        (11, "Outcome", 0.5),
        (12, "Forecast", 0.9),
    ]
    assert dashboard.key_field(rows) == "key:O"


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (0.734, "probability", "73 %"),
        (1.0, "probability", "100 %"),
        (8.93, "quantity", "8.9 °C"),
        (-0.04, "quantity", "-0.04 °C"),
        (0.0, "quantity", "0.0 °C"),
        (12345.6, "quantity", "12,345.6 °C"),
    ],
)
def test_a_forecast_is_shown_with_its_unit(value: float, kind: str, words: str) -> None:
    assert dashboard.shown(value, target(kind)) == words


def test_a_quantity_without_a_unit_is_a_bare_number() -> None:
    assert dashboard.shown(152.13, target("quantity", unit="")) == "152.1"
    assert dashboard.title(target("quantity", unit="")) == "Temp max"


def test_titles_carry_units() -> None:
    assert dashboard.title(target("quantity")) == "Temp max (°C)"
    assert dashboard.title(target("probability", unit="probability")) == "Temp max"


def test_days_and_times_are_for_people() -> None:
    assert dashboard.day("2016-01-01") == "Friday 1 January 2016"
    assert dashboard.day(440) == "440"
    assert (
        dashboard.moment(dt.datetime(2026, 11, 2, 5, 7, tzinfo=dt.UTC)) == "2 Nov 2026, 05:07 UTC"
    )


def test_metrics_stand_beside_the_baselines() -> None:
    baselines = {"climatology": {"mae": 2.5}, "persistence": {"mae": None}}
    assert dashboard.measure_rows(target("quantity", baselines=baselines)) == [
        {
            "Measure": "Mean absolute error",
            "Model": "1.250",
            "Climatology": "2.500",
            "Persistence": "n/a",
        }
    ]


def test_a_model_that_is_no_better_says_so_with_its_figures() -> None:
    assert "Better than every baseline on temp max." in dashboard.verdict(target("quantity"))
    worse = dashboard.verdict(target("quantity", beats_baselines=False))
    assert "**Not better than every baseline on temp max**" in worse
    assert worse.endswith("mean absolute error 1.250, mean 2.500.")


def test_past_forecasts_are_scored() -> None:
    known = [Pair(0.5, 1), Pair(0.5, 0)]
    assert dashboard.score(known, target("probability")) == "Brier score 0.250 (2 known outcomes)"
    assert (
        dashboard.score([Pair(3, 1)], target("quantity"))
        == "mean absolute error 2.0 °C (1 known outcomes)"
    )
    assert dashboard.score([], target("quantity")) == "no outcome is known yet"


def test_few_forecasts_are_a_table() -> None:
    rows = dashboard.history_rows([past("2016-01-01", 0.734)], target("probability", name="rain"))
    assert rows == [
        {"About": "Friday 1 January 2016", "Forecast": "73 %", "Outcome": "Not known yet"}
    ]
    rows = dashboard.history_rows([past(7, 3.0, 2.5)], target("quantity", name="rain", unit="mm"))
    assert rows == [{"About": "7", "Forecast": "3.0 mm", "Outcome": "2.5 mm"}]


def test_text_of_others_is_no_markdown() -> None:
    assert dashboard.plain("a_b *c* [d](e)") == r"a\_b \*c\* \[d\](e)"


# The page, drawn from made-up answers


class FakeApi:
    """Answers by path, and counts what it was asked."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        status, body = self.answers[request.url.path]
        return httpx.Response(status, json=body)


def metrics(kind: str, unit: str) -> dict[str, Any]:
    """Return the metrics of a target as the API gives them."""
    return target(kind, unit=unit).model_dump(exclude={"name"})


def model(tier: str, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return a loaded model as the API gives it."""
    when = "2026-11-22T05:10:00Z"
    about = {"description": "Two_words", "trained_at": when, "loaded_at": when, "unknown": 1}
    return {"tier": tier, "version": "v1.0", "metrics": measured, **about}


def health(*, ok: bool) -> Answer:
    """Return a state of the stack, in which only the cache may fail."""
    checks = {
        "model": {"ok": True, "detail": "m v1.0"},
        "cache": {"ok": ok, "detail": "refused_it"},
    }
    return (200 if ok else 503), {"status": "ok" if ok else "failing", "checks": checks}


def good_answers() -> dict[str, Answer]:
    """Return the answers of a healthy API with two targets and one tier."""
    measured = {
        "rain": metrics("probability", "probability"),
        "temp_max": metrics("quantity", "°C"),
    }
    prediction = {"rain": 0.734, "temp_max": 8.93}
    forecast = {"key": "2015-12-31", "target_key": "2016-01-01", "prediction": prediction}
    outcome = {"rain": 1.0, "temp_max": 9.5}
    return {
        "/health": health(ok=True),
        "/models": (200, [model("tier1", measured)]),
        "/predict": (200, forecast),
        "/predictions": (200, [{**forecast, "outcome": outcome}]),
    }


def tabular_answers() -> dict[str, Answer]:
    """Return the answers for one quantity without a unit, with integer keys and no horizon."""
    forecast = {"key": 441, "target_key": None, "prediction": {"progression": 152.13}}
    measured = {"progression": metrics("quantity", "")}
    return {
        "/health": health(ok=True),
        "/models": (200, [model(name, measured) for name in ("small", "large")]),
        "/predict": (200, forecast),
        "/predictions": (200, [{**forecast, "outcome": {"progression": 140.0}}]),
    }


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Handler], AppTest]]:
    """Return what draws the page from the answers of a handler, with nothing remembered."""
    make = httpx.Client
    monkeypatch.setenv("API_URL", "http://api.test:8000")

    def draw(handler: Handler) -> AppTest:
        transport = httpx.MockTransport(handler)
        monkeypatch.setattr(httpx, "Client", lambda **_: make(transport=transport))
        return AppTest.from_file(str(SCRIPT), default_timeout=START_SECONDS).run()

    forget()
    yield draw
    forget()


def forget() -> None:
    """Empty what Streamlit keeps between pages."""
    st.cache_data.clear()
    st.cache_resource.clear()


def texts(page: AppTest) -> str:
    """Return the words of a page that Markdown, captions and errors show."""
    assert not page.exception
    return "\n".join(each.value for each in [*page.markdown, *page.caption, *page.error])


def test_the_forecast_is_shown_in_big_numbers(page: Callable[[Handler], AppTest]) -> None:
    drawn = page(FakeApi(good_answers()))
    assert [(each.label, each.value) for each in drawn.metric] == [
        ("Probability of rain", "73 %"),
        ("Temp max", "8.9 °C"),
    ]
    words = texts(drawn)
    assert "For **Friday 1 January 2016**, from data up to Thursday 31 December 2015" in words
    assert "all checks pass" in words


def test_another_problem_is_shown_as_well(page: Callable[[Handler], AppTest]) -> None:
    drawn = page(FakeApi(tabular_answers()))
    assert [(each.label, each.value) for each in drawn.metric] == [("Progression", "152.1")] * 2
    assert "For **441**" in texts(drawn)


def test_a_page_drawn_again_asks_nothing_new(page: Callable[[Handler], AppTest]) -> None:
    api = FakeApi(good_answers())
    drawn = page(api)
    assert sorted(api.asked) == ["/health", "/models", "/predict", "/predictions"]
    for _ in range(5):
        drawn.run()
    assert len(api.asked) <= 6, "only short-lived answers may have been asked again"


def test_forecasts_that_nobody_asked_for_are_missing_in_words(
    page: Callable[[Handler], AppTest],
) -> None:
    drawn = page(FakeApi({**good_answers(), "/predictions": (200, [])}))
    assert not drawn.exception
    assert [each.value for each in drawn.info] == ["There are no such forecasts yet."]


def test_a_failing_check_is_named_with_its_reason(page: Callable[[Handler], AppTest]) -> None:
    drawn = page(FakeApi({**good_answers(), "/health": health(ok=False)}))
    words = texts(drawn)
    assert "cache: failing" in words
    assert r"refused\_it" in words
    assert [each.value for each in drawn.code] == ["inv deploy.status"]


def test_one_refused_forecast_leaves_the_rest_of_the_page(
    page: Callable[[Handler], AppTest],
) -> None:
    refused = (422, {"detail": [{"msg": "odd"}]})
    drawn = page(FakeApi({**good_answers(), "/predict": refused}))
    assert "/predict with 422" in texts(drawn)
    assert [each.value for each in drawn.subheader][-1] == "State of the stack"


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
        (silent, "The API at `http://api.test:8000` did not answer in time.", "inv deploy.status"),
        (limited, "Load this page again in 17 s.", "inv deploy.status"),
        (broken, "The API answered /models with 500: Internal Server Error", "inv deploy.status"),
        (web_page, "something this page cannot read: not JSON.", "inv deploy.status"),
        (
            something_else,
            "cannot read: 0.tier: input should be a valid string.",
            "inv deploy.status",
        ),
        (untrained, "The API serves no model yet.", "inv models.train"),
    ],
)
def test_a_failing_api_is_explained(
    page: Callable[[Handler], AppTest], handler: Handler, what: str, command: str
) -> None:
    drawn = page(handler)
    assert not drawn.exception
    assert what in drawn.error[0].value.replace("\\", "")
    assert [each.value for each in drawn.code] == [command]


def test_an_address_that_is_none_is_explained(
    page: Callable[[Handler], AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_URL", "here")

    def refuse(_request: httpx.Request) -> httpx.Response:
        message = "no scheme"
        raise httpx.UnsupportedProtocol(message)

    drawn = page(refuse)
    assert "API_URL is `here`" in texts(drawn).replace("\\", "")
    assert [each.value for each in drawn.code] == ["inv doctor"]


def test_the_page_comes_by_itself_once_the_api_answers(page: Callable[[Handler], AppTest]) -> None:
    api = FakeApi({**good_answers(), "/models": (503, {"detail": "starting"})})
    drawn = page(api)
    assert "starting" in texts(drawn)
    api.answers = good_answers()
    drawn.run()
    assert not drawn.error
    assert len(drawn.metric) == 2


# The page in a browser, on the real API


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(*command: str, env: Mapping[str, str], log: Path, url: str) -> Iterator[None]:
    """Run a Python module until the end of the block; begin once its URL answers."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=env, stdout=output, stderr=output
        )
        try:
            wait_for(url, process, log)
            yield
        finally:
            end(process)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a URL answers, for as long as its process runs."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(url, timeout=5, trust_env=False)
            return
        time.sleep(0.2)
    pytest.fail(f"{url} did not answer; {log.name} ends in:\n{log.read_text()[-2000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, gently first."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of a stack with a database and models of its own."""
    folder = tmp_path_factory.mktemp("stack")
    own = {
        "PYTHONPATH": str(SCRIPT.parents[1]),
        "DATABASE_URL": f"sqlite:///{folder / 'app.db'}",
        "MODELS_DIR": str(folder / "models"),
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
        "API_KEY": "only-for-this-test-of-the-dashboard",
        "API_URL": f"http://127.0.0.1:{free_port()}",
    }
    names = ("PATH", "HOME", "TMPDIR", "PYTHONDONTWRITEBYTECODE")
    return {name: os.environ[name] for name in names if name in os.environ} | own


@pytest.fixture(scope="module")
def api(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the real API with models trained on the shipped data; return its address."""
    for module in (["alembic", "upgrade", "head"], [f"{PACKAGE}.prepare"]):
        subprocess.run(
            [sys.executable, "-m", *module],
            cwd=ROOT,
            env=environment,
            check=True,
            timeout=START_SECONDS,
        )
    log, url = tmp_path_factory.mktemp("logs") / "api.log", environment["API_URL"]
    port = url.rpartition(":")[2]
    command = ("uvicorn", f"{PACKAGE}.api:app", "--host", "127.0.0.1", "--port", port)
    with running(*command, env=environment, log=log, url=f"{url}/health"):
        yield url


@pytest.fixture(scope="module")
def address(
    api: str, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Run the real dashboard on the real API; return its address."""
    assert api == environment["API_URL"]
    log, port = tmp_path_factory.mktemp("logs") / "dashboard.log", str(free_port())
    options = ("--server.port", port, "--server.address", "127.0.0.1", "--server.headless", "true")
    url = f"http://127.0.0.1:{port}"
    command = ("streamlit", "run", str(SCRIPT), *options)
    with running(*command, env=environment, log=log, url=f"{url}/_stcore/health"):
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """Return Debian's chromium, without a window."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver):
        message = "no chromium and chromedriver (Debian: apt-get install chromium chromium-driver)"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(message)
        pytest.skip(message)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        opened = webdriver.Chrome(options(binary, profile), Service(driver))
        try:
            opened.set_page_load_timeout(PAGE_SECONDS)
            yield opened
        finally:
            opened.quit()


def options(binary: str, profile: str) -> webdriver.ChromeOptions:
    """Return options that keep chromium to itself."""
    chosen = webdriver.ChromeOptions()
    chosen.binary_location = binary
    flags = """--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic
        --no-first-run --disable-background-networking --disable-component-update --disable-sync
        --window-size=1280,900"""
    for flag in (*flags.split(), f"--user-data-dir={profile}"):
        chosen.add_argument(flag)
    chosen.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return chosen


def found(browser: webdriver.Chrome, kind: str) -> list[str]:
    """Return the texts of the elements that Streamlit marks as that kind."""
    return [each.text for each in browser.find_elements(By.CSS_SELECTOR, f'[data-testid="{kind}"]')]


def models_of(api: str) -> list[dashboard.Model]:
    """Return the models that an API has loaded."""
    answer = httpx.get(f"{api}/models", timeout=30, trust_env=False).raise_for_status().json()
    return [dashboard.Model.model_validate(each) for each in answer]


def shown_by(api: str, model: dashboard.Model) -> list[str]:
    """Return the forecast of a model as the page should show it, number for number."""
    body = {"tier": model.tier}
    answer = httpx.post(f"{api}/predict", json=body, timeout=30, trust_env=False).json()
    return [dashboard.shown(answer["prediction"][each.name], each) for each in model.targets]


def open_page(browser: webdriver.Chrome, address: str, charts: int) -> str:
    """Open the page, wait until it is drawn to its end, and return its words."""
    drawn = '[data-testid="stVegaLiteChart"] svg.marks'
    browser.get(address)
    waiting = WebDriverWait(browser, PAGE_SECONDS)
    waiting.until(lambda opened: "State of the stack" in opened.page_source)
    waiting.until(lambda opened: len(opened.find_elements(By.CSS_SELECTOR, drawn)) == charts)
    return text_of(browser)


def await_words(browser: webdriver.Chrome, wanted: set[str]) -> None:
    """Wait until a page says all of that: tables are drawn after what stands around them."""
    deadline = time.monotonic() + PAGE_SECONDS
    while missing := {each for each in wanted if each not in text_of(browser)}:
        assert time.monotonic() < deadline, missing
        time.sleep(0.2)


def text_of(browser: webdriver.Chrome) -> str:
    """Return the words of a page as they are now."""
    return browser.find_element(By.TAG_NAME, "body").text


def test_the_page_shows_the_numbers_that_the_api_gave(
    browser: webdriver.Chrome, api: str, address: str
) -> None:
    models = models_of(api)
    charts = sum(3 if each.kind == "probability" else 2 for each in models[0].targets)
    words = open_page(browser, address, charts)

    assert found(browser, "stException") == []
    assert found(browser, "stMetricValue") == [
        text for each in models for text in shown_by(api, each)
    ]
    assert [each.version for each in models if each.version not in words] == []
    targets = [measured for each in models for measured in each.targets]
    measures = [row for each in targets for row in (each.model, *each.baselines.values())]
    await_words(browser, {dashboard.figure(value) for row in measures for value in row.values()})
    console = browser.execute("getLog", {"type": "browser"})["value"]
    assert [entry for entry in console if entry["level"] == "SEVERE"] == []


def test_the_page_names_each_check_of_the_stack(
    browser: webdriver.Chrome, api: str, address: str
) -> None:
    checks = httpx.get(f"{api}/health", timeout=30, trust_env=False).json()["checks"]
    names = [dashboard.label(name) for name in checks]
    browser.get(address)
    WebDriverWait(browser, PAGE_SECONDS).until(
        lambda opened: all(name in opened.page_source for name in names)
    )
