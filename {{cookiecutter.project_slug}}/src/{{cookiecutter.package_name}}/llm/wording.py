"""A forecast in words: the prompt for a model, and the template used without one."""

import datetime as dt
import re

from .backends import Prompt
from .checking import label
from .kinds import PROBABILITY, Forecast
from .stances import QUESTION

SYSTEM = """\
You explain a forecast to people who are no experts, in two or three plain English sentences, \
without lists, headings or advice.
State every figure you are given once, digit for digit and with its unit, in the same sentence as \
its name; call each by the words of its name.
State no other number, date, range or comparison, and no probability of the opposite: each number \
you write is checked, and one that is not in the forecast has your text thrown away."""
THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL | re.IGNORECASE)
"""Phrases with which some models start their answer."""


def prompt(forecast: Forecast, event: str | None = None) -> Prompt:
    """Return the prompt, which also asks for a stance if there is an event."""
    lines = [
        f"- {label(name)}: {figure(value, forecast.units[name])}"
        for name, value in forecast.prediction.items()
    ]
    asked = [QUESTION.format(event=event)] if event else []
    return Prompt(SYSTEM, "\n".join([f"The forecast for {day(forecast)}:", *lines, *asked]))


def template(forecast: Forecast) -> str:
    """Return the forecast in words, without any model."""
    parts = [
        f"{label(name)} {figure(value, forecast.units[name])}"
        for name, value in forecast.prediction.items()
    ]
    return f"The forecast for {day(forecast)}: {', '.join(parts)}."


def day(forecast: Forecast) -> str:
    """Return the forecast period: a date with its weekday, or any other key as it is."""
    key: object = forecast.target_key
    if not isinstance(key, dt.date):
        return str(key)
    return f"{key:%A}, {key.day} {key:%B %Y}"


def figure(value: float, unit: str) -> str:
    """Return a number with its unit, as precise as is useful.

    A probability is in percent, with a decimal if it is nearly certain or nearly impossible.
    """
    if unit == PROBABILITY:
        percent = 100 * value
        certain = 1 <= percent <= 99 or percent in {0, 100}  # noqa: PLR2004 - of a hundred
        return f"{percent:.{0 if certain else 1}f} %"
    return f"{round(value, 1) + 0.0:.1f} {unit}".strip()


def tidied(text: str) -> str:
    """Return the lines of an answer, without the model's reasoning."""
    lines = (" ".join(line.split()) for line in THOUGHTS.sub("\n", text).splitlines())
    return "\n".join(line for line in lines if line)
