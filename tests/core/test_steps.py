from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from invoke.exceptions import Exit

from slipway.core import journal
from slipway.core.errors import Refused
from slipway.core.transaction import StepFailed, Steps, change

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("first", "second")


def run(root: Path, error: BaseException | None = None, within: str = "") -> None:
    with change(root, "backup.create") as made:
        steps = Steps(made, NAMES, within)
        with steps.run("first", "doing it") as step:
            step.detail = "done well"
        with steps.run("second"):
            if error:
                raise error


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [re.sub(r"\d\.\d s\b", "_ s", line) for line in capsys.readouterr().out.splitlines()]


def test_each_step_is_told_and_the_last_one_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path)
    assert told(capsys) == [
        "  1 first      doing it",
        "  1 first      ok         _ s  done well",
        "  2 second     ok         _ s",
    ]
    assert journal.entries(tmp_path)[0]["step"] == "second"


def test_steps_of_a_part_leave_the_step_of_the_whole_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, within="3.")
    assert told(capsys)[1:] == [
        "  3.1 first      ok         _ s  done well",
        "  3.2 second     ok         _ s",
    ]
    (entry,) = journal.entries(tmp_path)
    assert ("step" in entry, entry["part"]) == (False, "second")


@pytest.mark.parametrize(
    ("error", "what", "fix"),
    [
        (Refused("it is shut\nfor good", "open it"), "it is shut\nfor good", "open it"),
        (OSError(28, "No space left", "/x"), "/x: No space left", "free some space, then"),
    ],
)
def test_a_step_that_fails_is_named_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception, what: str, fix: str
) -> None:
    with pytest.raises(StepFailed) as caught:
        run(tmp_path, error)
    assert caught.value.what == f"step 2 (second): {what}"
    assert caught.value.why == what
    assert caught.value.fix.startswith(fix)
    first, *_ = what.splitlines()
    assert told(capsys)[-1] == f"  2 second     FAILED     _ s  {first}"


def test_a_step_that_is_interrupted_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exit, match="interrupted"):
        run(tmp_path, KeyboardInterrupt())
    assert told(capsys)[-1] == "  2 second     stopped    _ s"


def test_a_step_that_is_not_needed_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with change(tmp_path, "backup.create") as made:
        Steps(made, NAMES).skip("second", "nothing is there")
    assert told(capsys) == ["  2 second     skipped    _ s  nothing is there"]


def test_steps_know_what_each_took_and_stand_in_a_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with change(tmp_path, "backup.drill") as made:
        steps = Steps(made, [*"abcdefghij"])
        with steps.run("a"):
            time.sleep(0.11)
        steps.skip("b", "not needed")
        with steps.run("j"):
            pass
    assert 0.1 <= steps.seconds.pop("a") < 5
    assert steps.seconds == {"j": 0.0}
    first, *_, last = told(capsys)
    assert (first[:7], last[:7]) == ("   1 a ", "  10 j ")
