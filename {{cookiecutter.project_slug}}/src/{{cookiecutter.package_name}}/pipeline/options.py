"""The options of the stages, and the parser of the command line.

Unknown names are refused with the closest known one. Nothing here ends the process, so that stages
can also be run by a function.
"""

import argparse
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

from ..shared.console import AppError
from . import rules
from .work import ARTIFACTS, DATA, INTERVALS, Work, folder

SHIPPED = Path("data/seattle-weather.csv")
SEED = 2026
HORIZON = 7
"""Periods to forecast by default."""

FOLDS = 5
LONGEST_HORIZON = 60
"""Beyond two months, a forecast from recent days says nothing that the season does not."""

MODELS = ("gbm", "tft")


class UsageError(AppError):
    """The command line is invalid."""

    exit_code = 2


class Asks(Protocol):
    """The attributes of a stage that are read here."""

    @property
    def name(self) -> str:
        """Return its name."""

    @property
    def about(self) -> str:
        """Return a sentence about it."""

    @property
    def options(self) -> Callable[[argparse.ArgumentParser], None]:
        """Return the function that adds its options to a parser."""


Asked = TypeVar("Asked", bound=Asks)


class Parser(argparse.ArgumentParser):
    """A parser that raises its errors."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}; see {self.prog} --help")


def read(
    stages: Mapping[str, Asked], arguments: Sequence[str]
) -> tuple[Asked, Work, argparse.Namespace]:
    """Return the stage that the arguments name, its work and its options.

    Raises UsageError for an unknown name or option, RulesError for invalid rules.
    """
    stage = stages[one_of("stage", arguments[0], stages)]
    parser = make_parser(stage)
    asked, unknown = parser.parse_known_args(arguments[1:])
    for text in unknown:
        known = [name for action in parser._actions for name in action.option_strings]  # noqa: SLF001 - argparse tells its options nowhere else
        parser.error(f"unknown argument {text}{meant(text.split('=')[0], known)}")
    found = rules.load(asked.rules)
    series = one_of("series", asked.series, found.series)
    name = folder(series, asked.interval)
    work = Work(series, asked.interval, found, asked.data / name, asked.artifacts / name)
    return stage, work, asked


def make_parser(stage: Asks) -> Parser:
    """Return the parser of one stage's command line."""
    program = f"python -m {__package__} {stage.name}"
    parser = Parser(prog=program, description=stage.about, allow_abbrev=False)
    parser.add_argument("--series", required=True, help="a series of the rules, such as temp_max")
    parser.add_argument(
        "--interval", required=True, type=interval, help=f"length of a period: {known(INTERVALS)}"
    )
    parser.add_argument(
        "--data", type=Path, default=DATA, help="folder of generated data (%(default)s)"
    )
    parser.add_argument("--artifacts", type=Path, default=ARTIFACTS, help="results (%(default)s)")
    parser.add_argument("--rules", type=Path, default=rules.FILE, help="rules file (%(default)s)")
    stage.options(parser)
    return parser


def fetch(parser: argparse.ArgumentParser) -> None:
    """Add the options of fetch."""
    parser.add_argument("--url", help="an http(s) source of CSV (default: PIPELINE_SOURCE_URL)")
    parser.add_argument(
        "--sha256", help="its expected checksum (default: PIPELINE_SOURCE_SHA256, if set)"
    )
    parser.add_argument(
        "--file", type=Path, default=SHIPPED, help="used if there is no URL (%(default)s)"
    )
    parser.add_argument(
        "--tries", type=count, default=5, help="attempts before giving up (%(default)s)"
    )
    parser.add_argument(
        "--seconds-max", type=above_zero, default=300.0, help="for the whole download (%(default)s)"
    )
    parser.add_argument(
        "--wait-seconds-max",
        type=above_zero,
        default=10.0,
        help="without any new bytes (%(default)s)",
    )
    parser.add_argument(
        "--megabytes-max",
        type=above_zero,
        default=100.0,
        help="maximum size of the file (%(default)s)",
    )


def process(parser: argparse.ArgumentParser) -> None:
    """Add the options of process."""
    parser.add_argument(
        "--gap-days-max",
        type=whole,
        default=0,
        help="consecutive days that may be missing: filled from the day before (%(default)s)",
    )


def train(parser: argparse.ArgumentParser) -> None:
    add_fitting(parser)


def predict(parser: argparse.ArgumentParser) -> None:
    add_horizon(parser)


def evaluate(parser: argparse.ArgumentParser) -> None:
    """Add the options of evaluate."""
    add_fitting(parser)
    add_folds(parser)


def consensus_live(parser: argparse.ArgumentParser) -> None:
    """Add the options of consensus-live."""
    parser.add_argument(
        "--opinion",
        type=Path,
        action="append",
        default=[],
        help="a JSON file: member, warn (true or false), confidence (0 to 1), explanation; or a job"
        " explain submitted with an event, as returned by GET /jobs/<id>; can be passed more than"
        " once",
    )
    add_step(parser)


def consensus_eval(parser: argparse.ArgumentParser) -> None:
    """Add the options of consensus-eval."""
    parser.add_argument(
        "--backfill",
        type=whole,
        default=0,
        help="also decide for this many past origins, each from what was known then",
    )
    add_fitting(parser)
    add_step(parser)


def add_fitting(parser: argparse.ArgumentParser) -> None:
    """Add the options for fitting a model."""
    parser.add_argument("--model", type=model, default="gbm", help=f"{known(MODELS)} (%(default)s)")
    parser.add_argument("--seed", type=whole, default=SEED, help="random seed (%(default)s)")
    add_horizon(parser)


def add_horizon(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--horizon", type=horizon, default=HORIZON, help="periods to forecast (%(default)s)"
    )


def add_step(parser: argparse.ArgumentParser) -> None:
    """Add the option for the period to decide about."""
    parser.add_argument(
        "--step",
        type=count,
        default=1,
        help="the period to decide about (%(default)s: the next)",
    )


def add_folds(parser: argparse.ArgumentParser) -> None:
    """Add the options for the origins to evaluate."""
    parser.add_argument(
        "--folds", type=count, default=FOLDS, help="number of times a model is fitted (%(default)s)"
    )
    parser.add_argument(
        "--fold-size", type=count, help="origins in each (default: as the rows allow, up to 60)"
    )


def one_of(what: str, name: str, names: Iterable[str]) -> str:
    """Return a name that is known.

    Raises UsageError, which lists all names and suggests the closest.
    """
    known_names = list(names)
    if name in known_names:
        return name
    raise UsageError(
        f"there is no {what} {name!r:.60}{meant(name, known_names)} Known: {known(known_names)}"
    )


def meant(name: str, names: Iterable[str]) -> str:
    """Return ": did you mean ...?" if a known name is similar, else a full stop."""
    close = get_close_matches(name, list(names), 1, 0.5)
    return f": did you mean {close[0]}?" if close else "."


def known(names: Iterable[str]) -> str:
    return ", ".join(names)


def interval(text: str) -> str:
    return one_of("interval", text, INTERVALS)


def model(text: str) -> str:
    return one_of("model", text, MODELS)


def whole(text: str) -> int:
    """Parse a whole number, zero or above."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"should be a whole number, not {text[:20]!r}")
    return int(text)


def count(text: str) -> int:
    """Parse a whole number above zero."""
    if (number := whole(text)) < 1:
        raise argparse.ArgumentTypeError("should be 1 or more")
    return number


def horizon(text: str) -> int:
    """Parse a number of periods that can be forecast."""
    if (number := count(text)) > LONGEST_HORIZON:
        raise argparse.ArgumentTypeError(f"should be {LONGEST_HORIZON} or less")
    return number


def above_zero(text: str) -> float:
    """Parse a number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"should be a number above zero, not {text[:20]!r}")
    return number
