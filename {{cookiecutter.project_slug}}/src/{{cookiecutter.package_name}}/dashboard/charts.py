"""The charts, and the rows that they are drawn from."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import altair as alt

from .api_types import ForecastRecord, ForecastTarget
from .scores import CalibrationBin, OutcomePair
from .words import (
    DID_NOT_HAPPEN,
    HAPPENED,
    NOT_YET_KNOWN,
    event_outcome,
    format_label,
    parse_date,
    target_title,
)

HEIGHT, COUNT_HEIGHT, SCATTER_HEIGHT = 320, 160, 496
AXIS_WIDTH = 44
MANY_BARS = 100
MIDNIGHT = "T00:00:00"

# Legible on a light and on a dark page.
BLUE, GRAY, AMBER = "#3d8bef", "#94a1b2", "#e59b2c"
Rows = list[dict[str, Any]]


# Rows


def event_rows(forecasts: Sequence[ForecastRecord], target: str) -> Rows:
    """Return each forecast probability with its outcome, oldest first."""
    return [
        {
            "key": chart_key(past.forecast_key),
            "Forecast": past.prediction[target],
            "Outcome": event_outcome(past.known_outcome(target)),
        }
        for past in reversed(forecasts)
        if target in past.prediction
    ]


def quantity_rows(forecasts: Sequence[ForecastRecord], target: str) -> Rows:
    """Return each forecast quantity and each known outcome, oldest first."""
    rows: Rows = []
    for past in reversed(forecasts):
        if target in past.prediction:
            key = chart_key(past.forecast_key)
            forecast, outcome = past.prediction[target], past.known_outcome(target)
            rows.append({"key": key, "series": "Forecast", "value": forecast})
            rows.append({"key": key, "series": "Outcome", "value": outcome})
    return [row for row in rows if row["value"] is not None]


def chart_key(key: int | str) -> int | str:
    """Return a date as midnight where the reader is (without a time it would be UTC's)."""
    date = parse_date(key)
    return f"{date}{MIDNIGHT}" if date else key


def all_dates(rows: Rows) -> bool:
    """Tell whether every key is a date."""
    return bool(rows) and all(str(row["key"]).endswith(MIDNIGHT) for row in rows)


# What charts share


def chart_data(rows: Sequence[Mapping[str, Any] | CalibrationBin | OutcomePair]) -> alt.Chart:
    """Return rows (mappings or dataclasses) as the data of a chart."""
    values = [row if isinstance(row, Mapping) else asdict(row) for row in rows]
    return alt.Chart(alt.InlineData(values=values))


def layer_charts(height: int, *layers: alt.Chart) -> alt.LayerChart:
    """Return layers as one chart."""
    return alt.LayerChart(layer=list(layers), height=height)


def key_axis(rows: Rows) -> alt.X:
    """Return the horizontal axis of a history: times if every key is a date, else names."""
    if all_dates(rows):
        return alt.X("key:T", timeUnit="yearmonthdate", title="Forecast day")
    return alt.X("key:O", title="Forecast row", axis=alt.Axis(labelOverlap="greedy"))


def key_tooltip(rows: Rows) -> alt.Tooltip:
    """Return the tooltip line that names the forecast."""
    field, title = ("key:T", "Day") if all_dates(rows) else ("key:O", "Row")
    return alt.Tooltip(field, title=title)


def percent_axis(field: str, title: str | None) -> dict[str, Any]:
    """Return the options of an axis from 0 to 100%, with room for the same labels everywhere."""
    axis = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1], minExtent=AXIS_WIDTH)
    return {"shorthand": field, "title": title, "axis": axis, "scale": alt.Scale(domain=[0, 1])}


def color_by(field: str, colors: Mapping[str, str]) -> alt.Color:
    """Return a color for each value of a field, with a legend above the chart."""
    scale = alt.Scale(domain=list(colors), range=list(colors.values()))
    return alt.Color(f"{field}:N", title=None, scale=scale, legend=alt.Legend(orient="top"))


def bin_tooltip() -> list[alt.Tooltip]:
    """Return the tooltip lines of a calibration bin."""
    return [
        alt.Tooltip("forecast:Q", format=".1%", title="Mean forecast"),
        alt.Tooltip("frequency:Q", format=".1%", title="Observed frequency"),
        alt.Tooltip("count:Q", title="Forecasts"),
    ]


def diagonal_line(low: float, high: float) -> alt.Chart:
    """Draw the line on which outcome and forecast are the same."""
    ends = chart_data([{"x": low, "y": low}, {"x": high, "y": high}])
    line: alt.Chart = ends.mark_line(color=GRAY, strokeDash=[5, 4])
    return line.encode(x="x:Q", y="y:Q")


# The charts


def event_chart(rows: Rows, target: ForecastTarget) -> alt.LayerChart:
    """Draw probabilities as bars, colored by outcome."""
    colors = {HAPPENED: BLUE, DID_NOT_HAPPEN: GRAY, NOT_YET_KNOWN: AMBER}
    outcomes = {row["Outcome"] for row in rows}
    shown = {outcome: color for outcome, color in colors.items() if outcome in outcomes}
    bars = chart_data(rows).mark_bar(binSpacing=1 if len(rows) < MANY_BARS else 0)
    title = f"Probability of {format_label(target.name).lower()}"
    return layer_charts(
        HEIGHT,
        bars.encode(
            x=key_axis(rows),
            y=alt.Y(**percent_axis("Forecast:Q", title)),
            color=color_by("Outcome", shown),
            tooltip=[key_tooltip(rows), alt.Tooltip("Forecast:Q", format=".1%"), "Outcome:N"],
        ),
    )


def quantity_chart(rows: Rows, target: ForecastTarget) -> alt.LayerChart:
    """Draw forecasts and outcomes: lines over dates, points over other keys."""
    data, title = chart_data(rows), target_title(target)
    marks = data.mark_line(point={"size": 16}) if all_dates(rows) else data.mark_point(filled=True)
    return layer_charts(
        HEIGHT,
        marks.encode(
            x=key_axis(rows),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
            color=color_by("series", {"Forecast": BLUE, "Outcome": GRAY}),
            tooltip=[key_tooltip(rows), "series:N", alt.Tooltip("value:Q", title=title)],
        ),
    )


def reliability_chart(bins: Sequence[CalibrationBin], target: ForecastTarget) -> alt.LayerChart:
    """Draw the observed frequency against the forecast: the closer to the diagonal the better."""
    data = chart_data(bins)
    x = alt.X(**percent_axis("forecast:Q", None))
    title = f"{format_label(target.name)}: observed frequency"
    dots = data.mark_line(color=BLUE, point={"color": BLUE, "size": 64})
    return layer_charts(
        HEIGHT,
        diagonal_line(0, 1),
        data.mark_rule(color=BLUE, opacity=0.5, strokeWidth=2).encode(
            x=x, y="frequency_low:Q", y2="frequency_high:Q", tooltip=bin_tooltip()
        ),
        dots.encode(x=x, y=alt.Y(**percent_axis("frequency:Q", title)), tooltip=bin_tooltip()),
    )


def count_chart(bins: Sequence[CalibrationBin], target: ForecastTarget) -> alt.LayerChart:
    """Draw the number of forecasts in each bin."""
    title = f"Forecast probability of {format_label(target.name).lower()}"
    bars = chart_data(bins).mark_bar(color=GRAY)
    axis = alt.Axis(tickCount=3, minExtent=AXIS_WIDTH)
    return layer_charts(
        COUNT_HEIGHT,
        bars.encode(
            x=alt.X(**percent_axis("low:Q", title), bin="binned"),
            x2="high:Q",
            y=alt.Y("count:Q", title="Forecasts", axis=axis),
            tooltip=bin_tooltip(),
        ),
    )


def scatter_chart(pairs: Sequence[OutcomePair], target: ForecastTarget) -> alt.LayerChart:
    """Draw outcomes against forecasts: the closer to the diagonal the better."""
    values = [value for pair in pairs for value in (pair.forecast, pair.outcome)]
    title, scale = target_title(target), alt.Scale(zero=False, nice=True)
    points = chart_data(pairs).mark_point(filled=True, color=BLUE, opacity=0.5, size=30)
    return layer_charts(
        SCATTER_HEIGHT,
        diagonal_line(min(values), max(values)),
        points.encode(
            x=alt.X("forecast:Q", title=f"Forecast: {title}", scale=scale),
            y=alt.Y("outcome:Q", title=f"Outcome: {title}", scale=scale),
            tooltip=["forecast:Q", "outcome:Q"],
        ),
    )
