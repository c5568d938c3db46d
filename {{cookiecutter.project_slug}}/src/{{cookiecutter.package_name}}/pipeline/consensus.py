"""Make the current decision, and save it."""

import argparse
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from ..shared.console import AppError, explain
from .decisions import Consensus, Decision, Forecasts, Opinion, decide
from .series import QUANTILES, Floats
from .work import Work
from .writing import json_line, read_json, read_table, replace, replace_json, replace_table

NAMES = ("step", "date", *QUANTILES, "probability")
"""The columns of forecast_path.csv; the probability of the event is that of the forecasters."""

OPINION_BYTES = 2_000_000

QUESTION = "question.json"


def live(work: Work, asked: argparse.Namespace) -> list[str]:
    """Decide, write the decision, path and question, and append to the earlier decisions.

    An identical decision is not appended, so that a repeated run counts once.

    Raises AppError.
    """
    heard = {file: opinions(file) for file in asked.opinion}
    made = decide(work, forecasts(work), asked.step, [*chain.from_iterable(heard.values())])
    decision = made.decision
    history = work.path("artifacts/decisions.jsonl")
    before = past(history)
    if decision.id not in {one.id for one in before}:
        lines = [json_line(one.model_dump()) for one in [*before, decision]]
        replace(history, "".join(f"{line}\n" for line in lines).encode())
    replace_table(work.path("artifacts/forecast_path.csv"), NAMES, rows(made))
    file = work.path("artifacts/decision.json")
    replace_json(file, decision.model_dump())
    replace_json(work.path(f"artifacts/{QUESTION}"), question(work, made))
    heading = f"{file}: {decision.action} ({decision.event}, {decision.date})"
    silent = [f"{file}: it contains no opinion" for file, found in heard.items() if not found]
    return [heading, *decision.reasons, *silent]


def question(work: Work, made: Consensus) -> dict[str, Any]:
    """Return the question for other opinions: the forecast, and the event it is about.

    It is the payload of the job `explain`, which a worker can answer.
    """
    decision, place = made.decision, made.decision.step - 1
    middle = float(made.quantiles[place][list(QUANTILES).index("q50")])
    return {
        "forecast": {
            "target_key": decision.date,
            "prediction": {
                work.series: round(middle, 1),
                decision.event: round(float(made.probabilities[place]), 4),
            },
            "units": {work.series: decision.unit, decision.event: "probability"},
        },
        "event": f"{decision.event} ({work.series} {decision.threshold:g} {decision.unit} "
        f"or {decision.side})",
    }


def forecasts(work: Work) -> Forecasts:
    """Return the predictions, and the losses of their forecasters; raises AppError."""
    file, judged = work.path("artifacts/predictions.csv"), work.path("artifacts/evaluation.json")
    table, report = read_table(file, "predict"), read_json(judged, "evaluate")
    try:
        names = list(dict.fromkeys(row["forecaster"] for row in table))
        paths = {name: path(table, name) for name in names}
        first = [row for row in table if row["forecaster"] == names[0]]
        origin, dates = first[0]["origin"], [row["date"] for row in first]
    except (KeyError, TypeError, ValueError) as error:
        raise AppError(f"{file} was not made by this version: run the stage predict") from error
    try:
        losses = {name: float(report["forecasters"][name]["pinball"]) for name in names}
    except (KeyError, TypeError, ValueError):
        raise AppError(
            f"{judged} does not evaluate {', '.join(names)}; run the stage evaluate"
            f" (--model {names[0]})"
        ) from None
    if len({len(one) for one in paths.values()}) > 1:
        raise AppError(f"{file}: the paths have different lengths; run the stage predict")
    return Forecasts(origin, dates, paths, losses)


def path(table: Sequence[dict[str, str]], forecaster: str) -> Floats:
    """Return the path [steps, quantiles] of one forecaster."""
    own = [row for row in table if row["forecaster"] == forecaster]
    return np.array([[float(row[name]) for name in QUANTILES] for row in own])


class Result(BaseModel):
    """The result of a job that asked for several opinions."""

    opinions: list[Opinion] | None = None


class Job(BaseModel):
    """A job, as returned by `GET /jobs/{id}`."""

    state: str
    result: Result | None = None


def opinions(file: Path) -> list[Opinion]:
    """Return the opinions in a file: a single one, or those of a job that has ended.

    Raises AppError, naming what is wrong with the file.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(OPINION_BYTES)
        if not is_job(content):
            return [Opinion.model_validate_json(content)]
        job = Job.model_validate_json(content)
    except OSError as error:
        raise AppError(f"cannot read {explain(error)}") from error
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, details['loc'])) or 'the file'}: {details['msg']}"
            for details in error.errors()
        ]
        needed = "an opinion has member, warn, confidence and explanation"
        raise AppError(f"{file}: {'; '.join(wrong)}; {needed}") from None
    if job.result is None:
        never = job.state in {"dead", "cancelled"}
        then = f"post {QUESTION} again" if never else "try again when it is done"
        raise AppError(f"{file}: the job is {job.state}: {then}")
    if job.result.opinions is None:
        raise AppError(f"{file}: the job was submitted without an event: post {QUESTION}")
    return job.result.opinions


def is_job(content: bytes) -> bool:
    """Return whether this is a job rather than one opinion."""
    try:
        told = from_json(content)
    except ValueError:
        return False
    return isinstance(told, dict) and "state" in told


def past(file: Path) -> list[Decision]:
    """Return the saved decisions in their order; raises AppError."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise AppError(f"cannot read {file}: {error}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(Decision.model_validate_json(line))
        except ValidationError as error:
            place = error.errors()[0]
            name = ".".join(map(str, place["loc"])) or "the line"
            raise AppError(
                f"{file}:{number}: {name}: {place['msg']}; correct or remove that line"
            ) from None
    return found


def rows(made: Consensus) -> list[list[object]]:
    """Return the rows of forecast_path.csv."""
    return [
        [step, date, *quantiles, probability]
        for step, (date, quantiles, probability) in enumerate(
            zip(made.dates, made.quantiles.tolist(), made.probabilities.tolist(), strict=True), 1
        )
    ]
