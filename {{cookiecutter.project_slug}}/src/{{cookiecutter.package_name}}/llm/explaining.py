"""The job `explain`: a forecast in words, by the best model whose numbers are all correct.

If no model qualifies, a template supplies the words, and the result says so.
"""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import Any

from ..jobs.job import Job, Unrecoverable
from . import configuration, wording
from .checking import Verdict, check
from .configuration import ConfigurationError
from .ensemble import Answer, Panel, best, supports
from .kinds import Explain
from .stances import Stance, parted

TEMPLATE = "template"
EXPLANATION_MAX = 4000
"""Characters of an opinion's explanation."""
PAUSE = 0.2
"""Seconds between two checks for cancellation."""


class Shared:
    """The models of this process: shared by all jobs, so that their requests are batched."""

    def __init__(self) -> None:
        self._panel: Panel | None = None
        self._lock = threading.Lock()

    def get(self) -> Panel:
        """Return them, opened if need be; raises ConfigurationError."""
        with self._lock:
            if self._panel is None:
                self._panel = Panel(configuration.load())
            return self._panel

    def close(self) -> None:
        """Close them; the next call opens them again."""
        with self._lock:
            if self._panel is not None:
                self._panel.close()
            self._panel = None


shared = Shared()


def explain(payload: Explain, job: Job) -> dict[str, Any]:
    """Explain a forecast; raises Unrecoverable if config/llm_ensemble.yaml cannot be used."""
    job.progress(0, "asking")
    try:
        asked = shared.get().ask(wording.prompt(payload.forecast, payload.event))
    except ConfigurationError as error:
        raise Unrecoverable(str(error)) from error
    answers = [replace(one, text=wording.tidied(one.text)) for one in awaited(asked, job)]
    stances = dict[str, Stance]()
    if payload.event:
        answers = [without_stance(one, stances) for one in answers]
    verdicts = {one.text: check(one.text, payload.forecast) for one in answers if one.text}
    made = result(payload, answers, verdicts)
    return {**made, "opinions": opinions(made["members"], stances)} if payload.event else made


def without_stance(answer: Answer, stances: dict[str, Stance]) -> Answer:
    """Return an answer without its last line, and record the stance in that line."""
    text, stance = parted(answer.text)
    if stance:
        stances[answer.member] = stance
    return replace(answer, text=text)


def opinions(
    members: Sequence[dict[str, Any]], stances: Mapping[str, Stance]
) -> list[dict[str, Any]]:
    """Return the members' opinions of the event; one whose text has a wrong number has none."""
    return [
        {
            "member": one["member"],
            "warn": stances[one["member"]].expected,
            "confidence": stances[one["member"]].confidence,
            "explanation": one["text"][:EXPLANATION_MAX],
        }
        for one in members
        if one["state"] == "verified" and one["member"] in stances
    ]


def awaited(asked: Sequence[Future[Answer]], job: Job) -> list[Answer]:
    """Wait for every member within its time limit; on Cancelled, withdraw the questions."""
    try:
        pending = {*asked}
        while pending:
            pending = wait(pending, PAUSE).not_done
            done = len(asked) - len(pending)
            job.progress(done / len(asked), f"{done} of {len(asked)} models")
        return [one.result() for one in asked]
    finally:
        for one in asked:
            one.cancel()


def result(
    payload: Explain, answers: Sequence[Answer], verdicts: dict[str, Verdict]
) -> dict[str, Any]:
    """Return the chosen text, its member, and the results of all members."""

    def score(answer: Answer) -> float:
        return 1.0 if answer.text in verdicts and verdicts[answer.text].verified else 0.0

    text, support = best(answers, score), supports(answers, score)
    by = [one.member for one in answers if text is not None and one.text == text]
    return {
        "text": wording.template(payload.forecast) if text is None else text,
        "by": by or [TEMPLATE],
        "why": "" if by else "no model returned a text in which every number is from the forecast",
        "members": [told(one, verdicts.get(one.text), support) for one in answers],
    }


def told(answer: Answer, verdict: Verdict | None, support: dict[str, float]) -> dict[str, Any]:
    """Return a member's result; in a rejected text, the numbers that are wrong are marked."""
    refused = verdict is not None and not verdict.verified
    return {
        "member": answer.member,
        "weight": answer.weight,
        "state": "refused" if refused else "verified" if verdict else answer.state,
        "seconds": answer.seconds,
        "text": verdict.marked if verdict else "",
        "support": support.get(answer.text, 0.0) if verdict else 0.0,
        "why": verdict.reasons if verdict else [answer.why or "returned no text"],
    }
