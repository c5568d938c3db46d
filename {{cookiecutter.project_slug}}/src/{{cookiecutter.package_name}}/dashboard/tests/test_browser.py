"""The page in a browser, with the real API."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from ..api_types import ServedModel
from ..words import format_label, format_metric, format_value
from .conftest import DASHBOARD

PACKAGE = DASHBOARD.parent
ROOT = PACKAGE.parents[1]
START_SECONDS = 120
PAGE_SECONDS = 60


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(*command: str, env: Mapping[str, str], log: Path, url: str) -> Iterator[None]:
    """Run a Python module until the end of the block, which begins once its URL responds."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=env, stdout=output, stderr=output
        )
        try:
            wait_for_url(url, process, log)
            yield
        finally:
            stop_process(process)


def wait_for_url(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a URL responds, for as long as its process runs."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(url, timeout=5, trust_env=False)
            return
        time.sleep(0.2)
    pytest.fail(f"{url} did not respond; {log.name} ends with:\n{log.read_text()[-2000:]}")


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process, and kill it if it does not stop."""
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
        "PYTHONPATH": str(PACKAGE.parent),
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
    """Run the real API, with models trained on the included data; return its address."""
    for module in (["alembic", "upgrade", "head"], [f"{PACKAGE.name}.prepare"]):
        subprocess.run(
            [sys.executable, "-m", *module],
            cwd=ROOT,
            env=environment,
            check=True,
            timeout=START_SECONDS,
        )
    log, url = tmp_path_factory.mktemp("logs") / "api.log", environment["API_URL"]
    port = url.rpartition(":")[2]
    command = ("uvicorn", f"{PACKAGE.name}.api:app", "--host", "127.0.0.1", "--port", port)
    with running(*command, env=environment, log=log, url=f"{url}/health"):
        yield url


@pytest.fixture(scope="module")
def address(
    api: str, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Run the real dashboard with the real API; return its address."""
    assert api == environment["API_URL"]
    log, port = tmp_path_factory.mktemp("logs") / "dashboard.log", str(free_port())
    options = ("--server.port", port, "--server.address", "127.0.0.1", "--server.headless", "true")
    url = f"http://127.0.0.1:{port}"
    command = ("streamlit", "run", str(DASHBOARD), *options)
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
        opened = webdriver.Chrome(browser_options(binary, profile), Service(driver))
        try:
            opened.set_page_load_timeout(PAGE_SECONDS)
            yield opened
        finally:
            opened.quit()


def browser_options(binary: str, profile: str) -> webdriver.ChromeOptions:
    """Return options that keep chromium to itself."""
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    flags = """--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic
        --no-first-run --disable-background-networking --disable-component-update --disable-sync
        --window-size=1280,900"""
    for flag in (*flags.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return options


def element_texts(browser: webdriver.Chrome, kind: str) -> list[str]:
    """Return the texts of the elements that Streamlit marks as that kind."""
    return [each.text for each in browser.find_elements(By.CSS_SELECTOR, f'[data-testid="{kind}"]')]


def served_models(api: str) -> list[ServedModel]:
    """Return the models that an API serves."""
    models = httpx.get(f"{api}/models", timeout=30, trust_env=False).raise_for_status().json()
    return [ServedModel.model_validate(each) for each in models]


def forecast_texts(api: str, model: ServedModel) -> list[str]:
    """Return the forecast of a model as the page should show it, number by number."""
    body = {"tier": model.tier}
    forecast = httpx.post(f"{api}/predict", json=body, timeout=30, trust_env=False).json()
    return [format_value(forecast["prediction"][each.name], each) for each in model.targets]


def open_page(browser: webdriver.Chrome, address: str, charts: int) -> str:
    """Open the page, wait until it is complete, and return its text."""
    drawn = '[data-testid="stVegaLiteChart"] svg.marks'
    browser.get(address)
    wait = WebDriverWait(browser, PAGE_SECONDS)
    wait.until(lambda opened: "Stack health" in opened.page_source)
    wait.until(lambda opened: len(opened.find_elements(By.CSS_SELECTOR, drawn)) == charts)
    return page_text(browser)


def wait_for_texts(browser: webdriver.Chrome, wanted: set[str]) -> None:
    """Wait until a page has all those texts: tables are drawn after what surrounds them."""
    deadline = time.monotonic() + PAGE_SECONDS
    while missing := {each for each in wanted if each not in page_text(browser)}:
        assert time.monotonic() < deadline, missing
        time.sleep(0.2)


def page_text(browser: webdriver.Chrome) -> str:
    """Return the text of a page as it is now."""
    return browser.find_element(By.TAG_NAME, "body").text


def test_the_page_shows_the_numbers_from_the_api(
    browser: webdriver.Chrome, api: str, address: str
) -> None:
    models = served_models(api)
    charts = sum(3 if each.kind == "probability" else 2 for each in models[0].targets)
    text = open_page(browser, address, charts)

    assert element_texts(browser, "stException") == []
    assert element_texts(browser, "stMetricValue") == [
        value for each in models for value in forecast_texts(api, each)
    ]
    assert [each.version for each in models if each.version not in text] == []
    targets = [target for each in models for target in each.targets]
    rows = [row for each in targets for row in (each.model, *each.baselines.values())]
    wait_for_texts(browser, {format_metric(value) for row in rows for value in row.values()})
    console = browser.execute("getLog", {"type": "browser"})["value"]
    assert [entry for entry in console if entry["level"] == "SEVERE"] == []


def test_the_page_shows_each_health_check(
    browser: webdriver.Chrome, api: str, address: str
) -> None:
    checks = httpx.get(f"{api}/health", timeout=30, trust_env=False).json()["checks"]
    names = [format_label(name) for name in checks]
    browser.get(address)
    WebDriverWait(browser, PAGE_SECONDS).until(
        lambda opened: all(name in opened.page_source for name in names)
    )
