"""Numbers, dates and metrics as the page says them."""

import datetime as dt
import re
from collections.abc import Sequence

from .api_types import ForecastRecord, ForecastTarget
from .scores import OutcomePair, brier_score, mean_absolute_error

MISSING = "n/a"
HAPPENED, DID_NOT_HAPPEN, NOT_YET_KNOWN = "Happened", "Did not happen", "Not yet known"
METRICS = {"mae": "mean absolute error", "brier": "Brier score", "ece": "calibration error"}


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#$~|:])", r"\\\1", text)


def format_label(name: str) -> str:
    """Return a name as words: `temp_max` becomes "Temp max"."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def target_title(target: ForecastTarget) -> str:
    """Return a target's name with its unit, as on an axis."""
    has_unit = target.kind == "quantity" and target.unit
    return f"{format_label(target.name)} ({target.unit})" if has_unit else format_label(target.name)


def target_label(target: ForecastTarget) -> str:
    """Return the label above a forecast's value."""
    kind = "Probability of " if target.kind == "probability" else ""
    return format_label(f"{kind}{target.name}".lower())


def format_number(value: float) -> str:
    """Return a number with one decimal, or two significant digits if it is below 1."""
    return f"{value:,.1f}" if abs(value) >= 1 or value == 0 else f"{value:.2g}"


def format_quantity(value: float, unit: str) -> str:
    """Return a number with its unit."""
    return f"{format_number(value)} {unit}".strip()


def format_metric(value: float | None) -> str:
    """Return a metric with three decimals."""
    return MISSING if value is None else f"{value:.3f}"


def format_value(value: float, target: ForecastTarget) -> str:
    """Return the value of a target: "73%" or "8.9 °C"."""
    return f"{value:.0%}" if target.kind == "probability" else format_quantity(value, target.unit)


def format_forecast(forecast: ForecastRecord, target: ForecastTarget) -> str:
    """Return the forecast of a target."""
    value = forecast.prediction.get(target.name)
    return MISSING if value is None else format_value(value, target)


def format_outcome(outcome: float | None, target: ForecastTarget) -> str:
    """Return the outcome of a target: in words for an event, else with its unit."""
    if outcome is None or target.kind == "probability":
        return event_outcome(outcome)
    return format_quantity(outcome, target.unit)


def event_outcome(outcome: float | None) -> str:
    """Say whether an event happened."""
    if outcome is None:
        return NOT_YET_KNOWN
    return HAPPENED if outcome else DID_NOT_HAPPEN


def parse_date(key: int | str) -> dt.date | None:
    """Return a key as a date, or None if it is not one."""
    try:
        return dt.date.fromisoformat(key) if isinstance(key, str) else None
    except ValueError:
        return None


def format_key(key: int | str) -> str:
    """Return a key: "Friday 1 January 2016" if it is a date, else as it is."""
    date = parse_date(key)
    return f"{date:%A} {date.day} {date:%B %Y}" if date else str(key)


def format_time(when: dt.datetime) -> str:
    """Return a time: "2 Nov 2026, 05:07 UTC"."""
    return f"{when.day} {when:%b %Y, %H:%M} {when.tzname() or ''}".strip()


def describe_forecast(forecast: ForecastRecord) -> str:
    """Say what a forecast is for, and where its data ended."""
    if forecast.forecast_key == forecast.key:
        return f"For **{format_key(forecast.key)}**"
    ended = format_key(forecast.key)
    return f"For **{format_key(forecast.forecast_key)}**, based on data up to {ended}"


def describe_score(pairs: Sequence[OutcomePair], target: ForecastTarget) -> str:
    """Say how close the forecasts came to their outcomes."""
    if not pairs:
        return "no outcome known yet"
    counted = f"{len(pairs)} known outcome{'' if len(pairs) == 1 else 's'}"
    if target.kind == "probability":
        return f"Brier score {format_metric(brier_score(pairs))} ({counted})"
    error = format_quantity(mean_absolute_error(pairs), target.unit)
    return f"mean absolute error {error} ({counted})"


def describe_baselines(target: ForecastTarget) -> str:
    """Say whether a model beats the baselines on a target, with the scores if it does not."""
    name = format_label(target.name).lower()
    if target.beats_baselines:
        return f":green[:material/check:] Better than every baseline on {name}."
    return (
        f":orange[:material/warning:] **Not better than every baseline on {name}**: "
        f"{compare_scores(target)}."
    )


def compare_scores(target: ForecastTarget) -> str:
    """Return the score that decides, for the model and for each baseline."""
    own = f"{metric_name(target.score)} {format_metric(target.model.get(target.score))}"
    baselines = (
        f"{name} {format_metric(metrics.get(target.score))}"
        for name, metrics in target.baselines.items()
    )
    return ", ".join([own, *baselines])


def metric_name(metric: str) -> str:
    """Return a metric's full name."""
    return METRICS.get(metric, metric)


def metric_table(target: ForecastTarget) -> list[dict[str, str]]:
    """Return a row per metric, with a column for the model and for each baseline."""
    return [
        {"Metric": format_label(metric_name(metric)), "Model": format_metric(value)}
        | {
            format_label(name): format_metric(metrics.get(metric))
            for name, metrics in target.baselines.items()
        }
        for metric, value in target.model.items()
    ]


def history_table(
    forecasts: Sequence[ForecastRecord], target: ForecastTarget
) -> list[dict[str, str]]:
    """Return a row per forecast, with its outcome."""
    return [
        {
            "For": format_key(past.forecast_key),
            "Forecast": format_forecast(past, target),
            "Outcome": format_outcome(past.known_outcome(target.name), target),
        }
        for past in forecasts
    ]
