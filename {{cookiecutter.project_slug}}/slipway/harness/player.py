"""Playing scenarios: each from a healthy stack, each put back, each with a reason if it fails."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from docker.errors import DockerException

from slipway.core.errors import Refused
from slipway.harness import http
from slipway.harness.report import FAILED, PASSED, Case
from slipway.harness.scenarios import (
    Disturb,
    Examples,
    Expected,
    Inside,
    Send,
    at,
    described,
    differences,
    fill,
    matches,
    repeated,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slipway.harness.chaos import Stage
    from slipway.harness.http import Answer
    from slipway.harness.scenarios import Scenario, Step, Table

PART = "scenarios"
DESCRIPTION = Send("GET /openapi.json", Expected(status=(200,)))
PAUSE = 0.25
"""Seconds between two tries of a request that has some time to come out as expected."""


class UnexpectedError(Exception):
    """A step did not come out as expected; the message says in what."""


FAILURES = (UnexpectedError, Refused, DockerException, OSError)


class Player:
    """Plays scenarios on a stage, and writes down what was done and what was answered."""

    def __init__(self, stage: Stage, known: Mapping[str, Any], note: Callable[[str], None]) -> None:
        """Take what steps may name as `$name`; `note` takes each line that is written down."""
        self.stage = stage
        self.base = stage.url
        self.given = known
        self.known = dict(known)
        self.note = note

    def play(self, table: Table) -> Iterator[Case]:
        """Play the scenarios, one after another.

        When the stack is not healthy before one, that one and all after it fail.
        """
        sick = ""
        for scenario in table.scenarios:
            self.note(f"\n--- {scenario.name}")
            sick = sick or self._made_ready(table.before)
            case = Case(PART, scenario.name, FAILED, 0.0, sick)
            case = case if sick else self._played(scenario)
            self.note(f"{case.state} after {case.seconds:.1f} s {case.detail}".rstrip())
            yield case

    def _made_ready(self, before: Sequence[Step]) -> str:
        """Wait for health and prepare what comes; return what is wrong."""
        self.known = dict(self.given)
        wrong = self._tried(self.stage.await_health) or self._tried(lambda: self._walk(before))
        return f"not played, for the stack was not well before it: {wrong}" if wrong else ""

    def _played(self, scenario: Scenario) -> Case:
        start = time.monotonic()
        wrong = self._tried(lambda: self._walk(scenario.steps))
        left = self._tried(self.stage.restore)
        why = "; ".join(filter(None, [wrong, left and f"not put back: {left}"]))
        state = FAILED if why else PASSED
        return Case(PART, scenario.name, state, time.monotonic() - start, why)

    def _tried(self, action: Callable[[], None]) -> str:
        try:
            action()
        except FAILURES as error:
            return str(error)
        return ""

    def _walk(self, steps: Sequence[Step]) -> None:
        for number, step in enumerate(steps, 1):
            self.note(f"{number}. {described(step)}")  # its `$names` may be secrets
            try:
                self._take(step)
            except FAILURES as error:
                raise UnexpectedError(f"step {number} ({described(step)}): {error}") from error

    def _take(self, step: Step) -> None:
        match step:
            case Send():
                self._send(step)
            case Examples():
                self._send_examples(step)
            case Inside():
                self._run(step)
            case Disturb():
                self.stage.disturb(step)
            case _:
                self.stage.restore()

    def _send(self, step: Send) -> None:
        """Send until it comes out as expected, as long and as often as the step allows."""
        filled = replace(
            step,
            send=fill(step.send, self.known),
            body=fill(step.body, self.known),
            headers=fill(dict(step.headers), self.known),
        )
        deadline, left = time.monotonic() + step.within, step.tries
        while True:
            answers = self._answers(filled)
            wrong = self._wrong(step, answers)
            left -= 1
            if not wrong:
                break
            if left <= 0 and time.monotonic() >= deadline:
                raise UnexpectedError(wrong)
            time.sleep(PAUSE if step.within else 0)
        self.note(f"   {len(answers)} x {answers[-1]}")
        said = answers[-1].json()
        self.known |= {name: at(said, path) for path, name in step.keep.items()}

    def _answers(self, step: Send) -> list[Answer]:
        meanwhile = step.during
        if meanwhile is None:
            return http.ask_many(self.base, step)
        return http.ask_during(self.base, step, lambda: self.stage.disturb(meanwhile))

    def _wrong(self, step: Send, answers: Sequence[Answer]) -> str:
        """Return in what the first of the answers that is not as expected differs."""
        bad = [
            (answer, wrong)
            for answer in answers
            if (wrong := "; ".join(differences(step.expect, answer, self.known)))
        ]
        if bad:
            answer, wrong = bad[0]
            of = f" ({len(bad)} of {len(answers)} answers)" if len(answers) > 1 else ""
            return f"{wrong}{of}: {answer}"
        path = step.expect.distinct
        return f"{path} is the same in some answers" if path and repeated(path, answers) else ""

    def _send_examples(self, step: Examples) -> None:
        """Send what the description of the API has as examples of a request."""
        method, _, path = step.examples.partition(" ")
        described_as = at(http.ask(self.base, DESCRIPTION).json(), "paths") or {}
        body = at(described_as.get(path), f"{method.lower()}.requestBody.content") or {}
        examples = at(body.get("application/json"), "examples") or {}
        if not examples:
            raise UnexpectedError(f"the API's description has no examples of {step.examples}")
        for name, example in examples.items():
            self.note(f"   {name}")
            self._send(Send(step.examples, step.expect, body=example["value"]))

    def _run(self, step: Inside) -> None:
        code, said, errors = self.stage.inside(
            step.inside, shlex.split(fill(step.command, self.known))
        )
        self.note(f"   exit code {code}: {said}{errors}".rstrip())
        if code != step.code:
            (*_, last) = ["", *f"{said}{errors}".strip().splitlines()]
            raise UnexpectedError(f"exit code {code}, not {step.code}: {last}")
        if step.text and not matches(step.text, said):
            raise UnexpectedError(f"it does not print {step.text}: {said}")
