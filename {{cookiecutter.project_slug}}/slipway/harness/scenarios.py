"""The scenarios: the pytest modules of tests/scenarios, run against a stack that is up."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from slipway.core.errors import Refused
from slipway.core.redaction import mask_stream
from slipway.harness.chaos import Chaos
from slipway.harness.http import ScenarioClient
from slipway.harness.report import FAILED, PASSED, SKIPPED, HarnessCase

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from slipway.harness.chaos import HarnessStack

FOLDER = "tests/scenarios"
PART = "scenarios"
HEALTHY = "healthy"
"""The fixture that each scenario starts with; once it has failed, it fails for all that follow."""
OPTIONS = (
    *("-o", "addopts=", "--import-mode=importlib", "--strict-markers", "--strict-config"),
    *("-p", "no:cacheprovider", "--capture=sys", "--log-level=INFO", "-rA", "-v"),
)
"""Independent of what the repository runs its other tests with."""


class ScenarioSelection:
    """A plugin of pytest that keeps the scenarios with a text in their title."""

    __name__ = "slipway-harness"
    """What tests/scenarios/conftest.py knows the plugin by."""

    def __init__(self, text: str = "") -> None:
        """Take the text; the default selects every scenario."""
        self.text = text
        self.titles: list[str] = []
        self.selected: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Deselect the other scenarios."""
        self.titles = [title(item.name) for item in items]
        items[:] = [item for item in items if self.text.lower() in title(item.name).lower()]
        self.selected = [title(item.name) for item in items]


class ScenarioRun(ScenarioSelection):
    """A plugin of pytest that has the fixtures of scenarios, and reports each scenario once."""

    def __init__(
        self, stack: HarnessStack, text: str, report: Callable[[HarnessCase], None]
    ) -> None:
        """Take the stack, the text to select by, and what is told of each scenario."""
        super().__init__(text)
        self._stack = stack
        self._client = ScenarioClient(stack.url)
        self._report = report
        self._unhealthy = ""
        self._seconds = 0.0
        self._skipped = ""
        self._failures: list[str] = []

    @pytest.fixture(scope="session")
    def stack(self) -> HarnessStack:
        """Return the stack that the scenarios run against."""
        return self._stack

    @pytest.fixture
    def client(self) -> ScenarioClient:
        """Return a client of the stack, outside it, as its users are."""
        self._client.last = ""
        return self._client

    @pytest.fixture
    def disturb(self, stack: HarnessStack) -> Iterator[Chaos]:
        """Return what disturbs the stack; all of it is undone at the end of the scenario."""
        chaos = Chaos(stack)
        try:
            yield chaos
        finally:
            chaos.undo_all()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        """Wait for no scenario's healthy stack after one has waited for it in vain."""
        if fixturedef.argname != HEALTHY:
            return (yield)
        if self._unhealthy:
            pytest.fail(self._unhealthy, pytrace=False)
        try:
            return (yield)
        except Exception as error:  # noqa: BLE001 - whatever it is, the stack is not ready
            self._unhealthy = f"the stack was not healthy before it: {error}{self._last(error)}"
            pytest.fail(self._unhealthy, pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note how one phase of a scenario ended; after the last, report the scenario."""
        said = yield
        if said.when != "setup":
            self._seconds += said.duration
        if said.failed and call.excinfo:
            self._failures.append(self._reason(item, call.excinfo))
        if said.skipped:
            reason = said.longrepr[2] if isinstance(said.longrepr, tuple) else ""
            self._skipped = reason or getattr(said, "wasxfail", "") or SKIPPED
        if said.when == "teardown":
            self._close(item)
        return said

    def _close(self, item: pytest.Item) -> None:
        state = FAILED if self._failures else SKIPPED if self._skipped else PASSED
        detail = "; ".join(self._failures) or self._skipped
        self._report(HarnessCase(PART, title(item.name), state, self._seconds, detail))
        self._seconds, self._skipped, self._failures = 0.0, "", []

    def _reason(self, item: pytest.Item, error: pytest.ExceptionInfo[BaseException]) -> str:
        """Say where in a scenario's module something went wrong, and what."""
        value = error.value
        said = str(value) or type(value).__name__
        lines = [entry.lineno + 1 for entry in error.traceback if entry.path == item.path]
        where = f"{item.path.name}:{lines[-1]}: " if lines else ""
        first, *more = said.splitlines()
        return "\n".join([f"{where}{first}{self._last(value)}", *more])

    def _last(self, error: BaseException) -> str:
        known = isinstance(error, AssertionError) and self._client.last
        return f" (last answer: {known})" if known else ""


def title(name: str) -> str:
    """Return what a scenario is called: the name of its function as words."""
    return name.removeprefix("test_").replace("_", " ")


def select(root: Path, text: str) -> list[str]:
    """Return the titles of the scenarios that have a text in their title.

    Raises:
        Refused: none has, or the modules cannot be imported.
    """
    selection, log = ScenarioSelection(text), io.StringIO()
    code = _pytest(root, log, selection, "--collect-only", "-q")
    if code not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        raise Refused(f"{FOLDER} cannot be collected:\n{log.getvalue().strip()}")
    if not selection.selected:
        names = "\n  ".join(selection.titles)
        raise Refused(f"no scenario has {text!r} in its name; there are\n  {names}", code=2)
    return selection.selected


def run(root: Path, plugin: ScenarioRun, *, log: TextIO, junit: Path) -> None:
    """Run the scenarios; what pytest prints goes to a log, without secrets.

    Raises:
        KeyboardInterrupt: pytest was interrupted.
        Refused: pytest could not run them.
    """
    options = (f"--junitxml={junit}", "-o", f"junit_suite_name={PART}")
    mask_stream(log)
    code = _pytest(root, log, plugin, *options)
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        raise Refused(f"pytest ended with exit code {int(code)}: read {log.name}")


def _pytest(root: Path, log: TextIO, plugin: ScenarioSelection, *options: str) -> int:
    where = ["--rootdir", str(root), "-c", str(root / "pyproject.toml"), str(root / FOLDER)]
    with redirect_stdout(log):
        return pytest.main([*OPTIONS, *options, *where], plugins=[plugin])
