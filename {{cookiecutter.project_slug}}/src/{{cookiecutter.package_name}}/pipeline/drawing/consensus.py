"""The decision: the combined path, and the members' contributions."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from ..page import Shown, Table
from ..work import Work
from ..writing import read_json, read_table
from .qualitative import BAND, paths
from .style import BLUE, GREY, INK, RED, Mark, Sheet, days, line, marks

TICKS = 8
"""Most dates to print below the path."""


def draw(work: Work) -> Shown:
    """Draw the path, the members and the decision; raises AppError."""
    decision = read_json(work.path("artifacts/decision.json"), "consensus-live")
    path = read_table(work.path("artifacts/forecast_path.csv"), "consensus-live")
    members: Sequence[Mapping[str, Any]] = decision["members"]
    looks = marks(member["member"] for member in members)
    with Sheet(11, 5) as sheet:
        left, right = sheet.figure.subplots(1, 2, width_ratios=[1.5, 1])
        together(left, path, decision, work)
        alone(left, work, looks)
        left.legend(loc="upper left", bbox_to_anchor=(0, -0.14), ncols=3)
        voices(right, members, decision, looks)
        png = sheet.png()
    reasons = " ".join(f"{one[:1].upper()}{one[1:]}." for one in decision["reasons"])
    return Shown(f"Decision: {words(decision)}", reasons, png, tables=past(work))


def words(decision: Mapping[str, Any]) -> str:
    """Return a decision in a few words."""
    doing = {"warn": "warn of", "hold": "do not warn of"}[decision["action"]]
    return f"{doing} {decision['event']} ({decision['date']})"


def together(
    axes: Axes, path: Sequence[Mapping[str, str]], decision: Mapping[str, Any], work: Work
) -> None:
    """Draw the combined path, the threshold, and the period of the decision."""
    dates = [dt.date.fromisoformat(row["date"]) for row in path]
    low, middle, high = ([float(row[name]) for row in path] for name in ("q10", "q50", "q90"))
    axes.fill_between(days(dates), low, high, color=GREY, alpha=BAND, linewidth=0)
    axes.plot(days(dates), middle, color=INK, linewidth=2.6, label="combined, 80 % interval")
    limit, unit = decision["threshold"], decision["unit"]
    axes.axhline(limit, color=RED, linewidth=1.4, linestyle=(0, (6, 3)))
    axes.annotate(
        f"{decision['event']}: {limit:g} {unit} or {decision['side']}",
        (0, limit),
        xycoords=("axes fraction", "data"),
        xytext=(4, 4),
        textcoords="offset points",
        color=RED,
        fontsize=9,
    )
    at = decision["step"] - 1
    axes.plot(
        days([dates[at]]), [middle[at]], marker="o", markersize=15, markerfacecolor="none",
        markeredgecolor=RED, markeredgewidth=2, linestyle="none",
        label=f"decision for: {decision['date']}",
    )  # fmt: skip
    axes.set_title(f"The path of {work.series}")
    axes.set_ylabel(f"{work.series} ({unit})")
    axes.margins(y=0.15)
    few = dates[:: math.ceil(len(dates) / TICKS)]
    axes.set_xticks(days(few), [f"{date.day} {date:%b}" for date in few])
    axes.set_xlabel(f"{dates[0]:%Y}{', weeks starting on' if work.length.days > 1 else ''}")


def alone(axes: Axes, work: Work, looks: Mapping[str, Mark]) -> None:
    """Draw the path of each forecaster, if it still exists."""
    file = work.path("artifacts/predictions.csv")
    for path in paths(read_table(file, "predict")) if file.is_file() else ():
        look = {**line(looks.get(path.forecaster, Mark(BLUE, "o", "-"))), "markersize": 4}
        axes.plot(
            days(path.dates), path.middle, label=path.forecaster, **{**look, "linewidth": 1.1}
        )


def voices(
    axes: Axes,
    members: Sequence[Mapping[str, Any]],
    decision: Mapping[str, Any],
    looks: Mapping[str, Mark],
) -> None:
    """Draw each member's probability of the event, and its weight."""
    rows = range(len(members))
    for row, member in zip(rows, members, strict=True):
        mark = looks[member["member"]]
        axes.barh(row, member["probability"], height=0.5, color=mark.color, alpha=0.85)
        axes.annotate(
            f"{member['probability']:.0%}",
            (member["probability"], row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
        )
    axes.axvline(decision["warn_from"], color=RED, linestyle=(0, (6, 3)), linewidth=1.4)
    axes.axvline(decision["probability"], color=INK, linewidth=2)
    labels = [f"{member['member']}\nweight {member['weight']:.0%}" for member in members]
    axes.set_yticks([*rows], labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(
        f"probability of {decision['event']} ({decision['date']})\n"
        f"black: combined, {decision['probability']:.0%};"
        f" dashed: warn from {decision['warn_from']:.0%}"
    )
    axes.set_title(words(decision).capitalize())


def past(work: Work) -> tuple[Table, ...]:
    """Return the scores of past decisions, if there are any."""
    file = work.path("artifacts/consensus_evaluation.json")
    if not file.is_file():
        return ()
    report = read_json(file, "consensus-eval")
    rows = [
        [name, str(one["decisions"]), str(one["scored"]), _part(one["hit_rate"]),
         _number(one["brier"]), _number((one["cost"] or {}).get("decided"))]
        for name, one in report["scores"].items()
    ]  # fmt: skip
    head = ("past decisions", "made", "scored", "right", "Brier score", "cost")
    return (Table(head, rows, str(report["said"])),)


def _part(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
