"""Examples of forecasts: the current one, and three past ones with the actual values."""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from ..page import Shown
from ..series import load
from ..work import Work
from ..writing import read_table
from .style import GREY, INK, Sheet, dated, days, line, marks

SHOWN = 45
"""Observations before the current forecast."""
BEFORE = 14
"""Observations before a past forecast."""
BAND = 0.22


@dataclass(frozen=True)
class Path:
    """One forecaster's path from one origin, and the actual values, if known."""

    forecaster: str
    origin: dt.date
    dates: Sequence[dt.date]
    low: Sequence[float]
    middle: Sequence[float]
    high: Sequence[float]
    truths: Sequence[float] = ()

    @property
    def error(self) -> float:
        """The mean absolute error of the medians."""
        pairs = zip(self.middle, self.truths, strict=True)
        return sum(abs(said - came) for said, came in pairs) / len(self.middle)


def draw(work: Work) -> Shown:
    """Draw the current forecast and three past ones; raises AppError."""
    series = load(work)
    known = [*zip(series.dates, series.values.tolist(), strict=True)]
    now = paths(read_table(work.path("artifacts/predictions.csv"), "predict"))
    model = now[0].forecaster
    past = [
        path
        for path in paths(read_table(work.path("artifacts/folds.csv"), "evaluate"))
        if path.forecaster == model
    ]
    chosen = examples(past)
    with Sheet(11, 7.4) as sheet:
        ((top,), (bottom,)) = sheet.figure.subfigures(2, 1, squeeze=False, height_ratios=[1.25, 1])
        axes = top.subplots()
        forecast(axes, now, known[-SHOWN:], work)
        axes.legend(loc="upper left", ncols=4, bbox_to_anchor=(0, 1.02))
        axes.margins(y=0.25)
        for one, (title, path) in zip(
            bottom.subplots(1, len(chosen), sharey=True), chosen.items(), strict=True
        ):
            example(one, title, path, known, work)
        png = sheet.png()
    count = f"{len(past)} past forecasts"
    said = (
        f"The line is the median, the band the 80 % interval of {model}. Below: one of the best,"
        f" a typical one and one of the worst of {count}, by their error, with the actual values."
    )
    return Shown("Forecasts", said, png)


def paths(table: Sequence[dict[str, str]]) -> list[Path]:
    """Return the paths in a table, those of the first forecaster first."""
    found = defaultdict(list)
    for row in table:
        found[row["forecaster"], row["origin"]].append(row)
    return [
        Path(
            name,
            dt.date.fromisoformat(origin),
            [dt.date.fromisoformat(row["date"]) for row in rows],
            [float(row["q10"]) for row in rows],
            [float(row["q50"]) for row in rows],
            [float(row["q90"]) for row in rows],
            [float(row["value"]) for row in rows if "value" in row],
        )
        for (name, origin), rows in found.items()
    ]


def examples(past: Sequence[Path]) -> dict[str, Path]:
    """Return a good, an average and a bad forecast: at 5, 50 and 95 % of all by their error."""
    ordered = sorted(past, key=lambda path: (path.error, path.origin))
    places = {"One of the best": 0.05, "A typical one": 0.5, "One of the worst": 0.95}
    return {title: ordered[round(part * (len(ordered) - 1))] for title, part in places.items()}


def fan(axes: Axes, path: Path, color: str, label: str = "") -> None:
    """Draw the interval and the median of a path."""
    axes.fill_between(days(path.dates), path.low, path.high, color=color, alpha=BAND, linewidth=0)
    axes.plot(
        days(path.dates), path.middle, color=color, marker="o", markersize=4, label=label or None
    )


def forecast(
    axes: Axes, now: Sequence[Path], known: Sequence[tuple[dt.date, float]], work: Work
) -> None:
    """Draw the last observations, followed by every forecaster's path."""
    dates, values = zip(*known, strict=True)
    axes.plot(days(dates), values, color=INK, label="observed", linewidth=1.4)
    looks = marks(path.forecaster for path in now)
    fan(axes, now[0], looks[now[0].forecaster].color, f"{now[0].forecaster}, 80 % interval")
    for path in now[1:]:
        look = {**line(looks[path.forecaster]), "markersize": 3, "linewidth": 1.2}
        axes.plot(days(path.dates), path.middle, label=path.forecaster, **look)
    axes.axvline(*days([now[0].origin]), color=GREY, linewidth=1)
    axes.set_title(
        f"{work.series}: the {len(now[0].dates)} {work.length.word}s after {now[0].origin}"
    )
    axes.set_ylabel(f"{work.series} ({work.rule.unit})")
    dated(axes)


def example(
    axes: Axes, title: str, path: Path, known: Sequence[tuple[dt.date, float]], work: Work
) -> None:
    """Draw one past forecast with the actual values."""
    start = path.origin - dt.timedelta(days=BEFORE * work.length.days)
    shown = [(date, value) for date, value in known if start <= date <= path.dates[-1]]
    dates, values = zip(*shown, strict=True)
    fan(axes, path, marks([path.forecaster])[path.forecaster].color)
    axes.plot(days(dates), values, color=INK, linewidth=1.4)
    axes.axvline(*days([path.origin]), color=GREY, linewidth=1)
    axes.set_title(f"{title} ({path.error:.1f} {work.rule.unit} off)")
    axes.set_ylabel(f"{work.series} ({work.rule.unit})")
    axes.label_outer()
    dated(axes)
