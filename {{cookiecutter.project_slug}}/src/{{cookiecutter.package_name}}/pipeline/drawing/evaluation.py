"""The accuracy of the model and the baselines: by fold, and by step."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ..page import Shown, Table
from ..work import Work
from ..writing import read_json
from .style import GREY, INK, Sheet, line, marks

INTERVAL = 0.8
"""Share of the values that should be within the interval from q10 to q90."""
MEASURES = {
    "mase": "MASE",
    "pinball": "pinball loss",
    "coverage": "in the 80 % interval",
    "width": "width of it",
}


def draw(work: Work) -> Shown:
    """Draw the measures of every forecaster; raises AppError."""
    report = read_json(work.path("artifacts/evaluation.json"), "evaluate")
    found: Mapping[str, Any] = report["forecasters"]
    with Sheet(11, 4.4) as sheet:
        by_fold, by_step, covered = sheet.figure.subplots(1, 3)
        folds(by_fold, report["folds"], [*found])
        steps(by_step, found, "pinball", f"pinball loss ({work.rule.unit})", work)
        by_step.set_title("Loss of all quantiles")
        steps(covered, found, "coverage", "share of values (black: target)", work)
        covered.set_title("The 80 % interval")
        covered.axhline(INTERVAL, color=INK, linewidth=1)
        covered.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        covered.set_ylim(0, 1.02)
        handles, labels = by_fold.get_legend_handles_labels()
        sheet.figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
        png = sheet.png()
    return Shown("Evaluation", told(report), png, tables=(table(work, found),))


def folds(axes: Axes, of: list[dict[str, Any]], names: list[str]) -> None:
    """Draw the scaled error of each fold."""
    numbers = [fold["fold"] for fold in of]
    for name, mark in marks(names).items():
        errors = [fold["forecasters"][name]["mase"] for fold in of]
        axes.plot(numbers, errors, label=name, **line(mark))
    axes.axhline(1, color=GREY, linewidth=1)
    axes.set_title("Error of each fold")
    axes.set_ylabel("MASE (1: one step ahead, naively)")
    axes.set_xlabel("")
    ends = [str(fold["origins"]["last"])[:7] for fold in of]
    axes.set_xticks(
        numbers, [f"{number}\n{end}" for number, end in zip(numbers, ends, strict=True)]
    )
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("fold, and its end")
    axes.set_ylim(bottom=0)


def steps(axes: Axes, of: Mapping[str, Any], measure: str, label: str, work: Work) -> None:
    """Draw a measure by the number of periods ahead."""
    for name, mark in marks(of).items():
        each = of[name]["steps"]
        axes.plot([one["step"] for one in each], [one[measure] for one in each], **line(mark))
    axes.set_xlabel(f"{work.length.word}s ahead")
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def told(report: Mapping[str, Any]) -> str:
    """Return the explanation of the figure."""
    each = report["beats_baselines"].items()
    won = [MEASURES[name] for name, better in each if better]
    lost = [MEASURES[name] for name, better in each if not better]
    said = [f"{report['model']} beats both baselines in {' and '.join(won)}"] if won else []
    said += (
        [f"{report['model']} does not beat both baselines in {' and '.join(lost)}"] if lost else []
    )
    count = len(report["folds"])
    return f"{'; '.join(said)}. {count} folds, each forecast with what was known at its start."


def table(work: Work, found: Mapping[str, Any]) -> Table:
    """Return the measures over all folds."""
    units = {"pinball": work.rule.unit, "width": work.rule.unit}
    head = [f"{words} ({units[key]})" if key in units else words for key, words in MEASURES.items()]
    rows = [
        [
            name,
            f"{one['mase']:.3f}",
            f"{one['pinball']:.3g}",
            f"{one['coverage']:.0%}",
            f"{one['width']:.3g}",
        ]
        for name, one in found.items()
    ]
    return Table(("forecaster", *head), rows)
