"""The style of all figures: colours that everyone can tell apart, few lines, large letters.

The colours are those of Okabe and Ito, Color Universal Design (2008). A forecaster has the same
colour, marker and dashes in every figure, so that none is identified by colour alone.
"""

import datetime as dt
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

INK, GREY, PALE = "#1b2430", "#6b7280", "#dfe4ea"
ORANGE, SKY, GREEN, BLUE, RED, PURPLE = (
    "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7",
)  # fmt: skip
DOTS_PER_INCH = 150
LOOK = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
}


@dataclass(frozen=True)
class Mark:
    """The style of one forecaster."""

    color: str
    marker: str
    dashes: str


MODEL = Mark(BLUE, "o", "-")
OTHERS = {
    "naive": Mark(ORANGE, "s", "--"),
    "seasonal-naive": Mark(GREEN, "^", ":"),
}
MORE = (Mark(PURPLE, "D", "-."), Mark(RED, "v", "--"), Mark(SKY, "P", ":"))
"""Styles for members that are not forecasters, used in turn."""


def marks(names: Iterable[str]) -> dict[str, Mark]:
    """Return the style of each forecaster; the first that is not a baseline is the model."""
    found: dict[str, Mark] = {}
    free = [MODEL, *MORE]
    for name in names:
        found[name] = OTHERS.get(name) or free[0]
        if name not in OTHERS and len(free) > 1:
            free.pop(0)
    return found


def line(mark: Mark) -> dict[str, Any]:
    return {"color": mark.color, "marker": mark.marker, "linestyle": mark.dashes, "markersize": 6}


class Sheet:
    """A figure to draw on, that becomes a PNG: `with Sheet(...) as sheet`."""

    def __init__(self, width: float, height: float) -> None:
        self._look = rc_context(LOOK)
        self._size = (width, height)

    def __enter__(self) -> Self:
        self._look.__enter__()
        self.figure = Figure(figsize=self._size, dpi=DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(self.figure)
        return self

    def __exit__(self, *error: object) -> None:
        self._look.__exit__(None, None, None)

    def png(self) -> bytes:
        """Return the picture: the same drawing gives the same bytes."""
        content = io.BytesIO()
        self.figure.savefig(content, format="png", metadata={"Software": None})
        return content.getvalue()


def days(dates: Iterable[dt.date]) -> list[float]:
    return [float(date2num(date)) for date in dates]


def dated(axes: Axes) -> None:
    """Label axes with dates, few enough not to overlap."""
    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
