"""Plot the results of the stages: PNG files, and one page with all of them.

`python -m <package>.pipeline.plots --series temp_max --interval 1d` reads the artifacts of a series
and writes into its folder `figures/`. Figures whose data does not exist yet are skipped.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..shared.console import AppError, progress, run
from . import options
from .drawing import consensus, evaluation, qualitative
from .page import Shown, written
from .work import Work
from .writing import replace


@dataclass(frozen=True)
class Figure:
    """One figure: the artifacts it needs, and the function that draws and explains it."""

    name: str
    needs: tuple[str, ...]
    draw: Callable[[Work], Shown]


FIGURES = (
    Figure("evaluation", ("artifacts/evaluation.json",), evaluation.draw),
    Figure(
        "qualitative",
        ("data/features.csv", "artifacts/predictions.csv", "artifacts/folds.csv"),
        qualitative.draw,
    ),
    Figure("consensus", ("artifacts/decision.json", "artifacts/forecast_path.csv"), consensus.draw),
)


@dataclass(frozen=True)
class Command:
    """To the parser of the command line, this is a stage."""

    name: str = "plots"
    about: str = "Plot the results of the stages."

    @staticmethod
    def options(parser: argparse.ArgumentParser) -> None:
        parser.prog = f"python -m {__name__}"


def main() -> None:
    _, work, _ = options.read({Command.name: Command()}, [Command.name, *sys.argv[1:]])
    for line in draw(work):
        progress(f"plots {work.series} {work.interval}: {line}")


def draw(work: Work, figures: Sequence[Figure] = FIGURES) -> list[str]:
    """Draw every figure whose artifacts exist; return a line for each. Raises AppError."""
    folder = work.artifacts / "figures"
    lines, shown = [], []
    for figure in figures:
        if missing := [name for name in figure.needs if not work.path(name).is_file()]:
            lines.append(f"{figure.name}: skipped, {work.path(missing[0])} does not exist yet")
            continue
        try:
            made = figure.draw(work)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            what = f"{', '.join(figure.needs)}: not made by this version ({error!r})"
            raise AppError(f"{what}; run all stages again") from error
        shown.append(made)
        lines.append(_put(folder / f"{figure.name}.png", made.png))
    if not shown:
        raise AppError(f"there is nothing to plot in {work.artifacts}; run the stages first")
    return [*lines, _put(folder / "index.html", written(work, shown).encode())]


def _put(file: Path, content: bytes) -> str:
    return f"{file}{'' if replace(file, content) else ', unchanged'}"


if __name__ == "__main__":
    run(main)
