"""The dashboard: one page that shows what the API at API_URL forecasts, and how good that was.

A script of its own, run by `streamlit run`: it imports nothing of this package and knows no target
by name. Tiers, targets, kinds, units, measures and baselines are read from the API's answers.
"""

import datetime as dt
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import altair as alt
import httpx
import streamlit as st
from pydantic import BaseModel, FiniteFloat, TypeAdapter, ValidationError
from streamlit.delta_generator import DeltaGenerator

# Answers are kept this long: however often a page is drawn, and by however many readers, the API is
# asked some 25 times a minute at most for two tiers. By default it allows 100 of each path.
HEALTH_SECONDS = 5
MODELS_SECONDS = 10
FORECAST_SECONDS = 60
WATCH_SECONDS = 15
TIMEOUT = httpx.Timeout(5.0, connect=2.0)

TITLE = Path(__file__).parent.name.replace("_", " ").title()
BINS = 10
MISSING = "n/a"
HEIGHT, COUNTS_HEIGHT, SCATTER_HEIGHT = 320, 160, 496
LABELS, FEW, CROWDED = 44, 5, 100
COLUMNS, NARROW = 3, 2
HISTORY = 1000
SOURCES = {"backtest": "Held-out backtest", "api": "Asked of the API"}
PERIODS = {"Last 60": 60, "Last 180": 180, "All": HISTORY}

# Legible on a light and on a dark page.
BLUE, GREY, AMBER = "#3d8bef", "#94a1b2", "#e59b2c"
HAPPENED, DID_NOT, UNKNOWN = "Happened", "Did not happen", "Not known yet"
MEASURES = {"mae": "mean absolute error", "brier": "Brier score", "ece": "calibration error"}
OK, FAILING = ":green-badge[:material/check: ok]", ":red-badge[:material/close: failing]"
T = TypeVar("T")
Rows = list[dict[str, Any]]
STYLE = """<style>
[data-testid="stMainBlockContainer"] { max-width: 1180px; margin: 0 auto; }
</style>"""


# What the API answers


class Target(BaseModel):
    """What a model forecasts, and how good it was on held-out rows; less is better."""

    name: str = ""
    kind: Literal["probability", "quantity"]
    unit: str = ""
    score: str
    model: dict[str, float | None]
    baselines: dict[str, dict[str, float | None]]
    beats_baselines: bool


class Model(BaseModel):
    """A loaded model; its metrics are by target."""

    tier: str
    version: str
    description: str = ""
    trained_at: dt.datetime
    loaded_at: dt.datetime
    metrics: dict[str, Target]

    @property
    def targets(self) -> list[Target]:
        """Return the targets, each with its name."""
        return [target.model_copy(update={"name": name}) for name, target in self.metrics.items()]


class Forecast(BaseModel):
    """A forecast, with its outcome where that is known."""

    key: int | str
    target_key: int | str | None = None
    prediction: dict[str, FiniteFloat]
    outcome: dict[str, FiniteFloat | None] | None = None

    @property
    def about(self) -> int | str:
        """Return the key it is about: the newest row's own where there is no horizon."""
        return self.key if self.target_key is None else self.target_key

    def truth(self, target: str) -> float | None:
        """Return what came of a target, or None while nobody knows."""
        return (self.outcome or {}).get(target)


class Check(BaseModel):
    """One part of the stack, as the API sees it."""

    ok: bool
    detail: str = ""


class Health(BaseModel):
    """The state of the stack."""

    checks: dict[str, Check]
    version: str = ""


# Asking the API


class ApiError(Exception):
    """The API gave nothing to show: what happened, what to do about it and what to type."""

    def __init__(self, what: str, advice: str, command: str = "inv deploy.status") -> None:
        """Keep the parts of the message apart."""
        super().__init__(what)
        self.what, self.advice, self.command = what, advice, command


def api_url() -> str:
    """Return the address of the API."""
    return os.environ.get("API_URL", "http://127.0.0.1:8000").rstrip("/")


@st.cache_resource(show_spinner=False)
def client() -> httpx.Client:
    """Return the one HTTP client of the process."""
    return httpx.Client(timeout=TIMEOUT, trust_env=False)


def ask(method: str, url: str, also: int = httpx.codes.OK, **request: Any) -> Any:  # noqa: ANN401 (JSON)
    """Return the JSON of an answer with status 200 (or `also`); say what happened otherwise."""
    try:
        response = client().request(method, url, **request)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        what = f"API_URL is `{api_url()}`, which is not an http address."
        raise ApiError(what, "Correct it in the environment file.", "inv doctor") from error
    except httpx.TimeoutException as error:
        what = f"The API at `{api_url()}` did not answer in time."
        raise ApiError(what, "It may be busy or still starting. See how it is:") from error
    except httpx.HTTPError as error:
        what = f"The API at `{api_url()}` cannot be reached."
        raise ApiError(what, "See what runs (and start it with `inv deploy.up`):") from error
    if response.status_code not in {httpx.codes.OK, also}:
        raise refusal(response)
    try:
        return response.json()
    except ValueError as error:
        raise nonsense(url, "not JSON") from error


def refusal(response: httpx.Response) -> ApiError:
    """Return what to say of an answer with an error status."""
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        wait = response.headers.get("Retry-After", "")
        when = f"in {wait} s" if wait.isdigit() else "in a minute"
        return ApiError(
            "The API limits how often it is asked, and the limit is reached.",
            f"Load this page again {when}. RATE_LIMIT_PER_MINUTE sets the limit. See what runs:",
        )
    return ApiError(
        f"The API answered {response.request.url.path} with {response.status_code}: "
        f"{plain(reason(response))}",
        "Its log says more (`inv deploy.logs`). See what runs:",
    )


def reason(response: httpx.Response) -> str:
    """Return the reason that an error answer gives."""
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
    return detail if isinstance(detail, str) else response.reason_phrase


def nonsense(url: str, problem: str) -> ApiError:
    """Return what to say of an answer that is not what this page knows how to read."""
    path = httpx.URL(url).path
    return ApiError(
        f"The API answered {path} with something this page cannot read: {plain(problem)}.",
        f"Is `{api_url()}` this project's API, of the same version? See what runs:",
    )


def read(kind: type[T], url: str, answer: object) -> T:
    """Return an answer as the type it should be."""
    try:
        return TypeAdapter(kind).validate_python(answer)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the answer"
        raise nonsense(url, f"{where}: {first['msg'].lower()}") from error


@st.cache_data(ttl=HEALTH_SECONDS, show_spinner=False)
def health_answer(url: str) -> object:
    """Ask for the state of the stack, which comes with status 503 when a part fails."""
    return ask("GET", url, also=httpx.codes.SERVICE_UNAVAILABLE)


@st.cache_data(ttl=MODELS_SECONDS, show_spinner=False)
def models_answer(url: str) -> object:
    """Ask which models are loaded."""
    return ask("GET", url)


@st.cache_data(ttl=FORECAST_SECONDS, show_spinner="Asking for a forecast")
def forecast_answer(url: str, tier: str, version: str) -> object:
    """Ask for the next forecast of a tier; a new version is asked at once."""
    del version
    return ask("POST", url, json={"tier": tier})


@st.cache_data(ttl=FORECAST_SECONDS, show_spinner="Reading past forecasts")
def history_answer(url: str, tier: str, source: str) -> object:
    """Ask for the newest past forecasts of a tier."""
    return ask("GET", url, params={"tier": tier, "source": source, "limit": HISTORY})


def fetch_health() -> Health:
    """Return the state of the stack."""
    url = f"{api_url()}/health"
    return read(Health, url, health_answer(url))


def fetch_models() -> list[Model]:
    """Return the loaded models, of which there must be one."""
    url = f"{api_url()}/models"
    models = read(list[Model], url, models_answer(url))
    if not models:
        raise ApiError("The API serves no model yet.", "Train one:", "inv models.train")
    return models


def fetch_forecast(model: Model) -> Forecast:
    """Return a model's forecast from the newest rows there are."""
    url = f"{api_url()}/predict"
    return read(Forecast, url, forecast_answer(url, model.tier, model.version))


def fetch_history(tier: str, source: str) -> list[Forecast]:
    """Return a tier's past forecasts, newest first, one for each key."""
    url = f"{api_url()}/predictions"
    return newest_per_key(read(list[Forecast], url, history_answer(url, tier, source)))


# From answers to what is shown: plain functions


@dataclass(frozen=True)
class Pair:
    """A forecast of one target and what came of it."""

    forecast: float
    outcome: float


@dataclass(frozen=True)
class Bin:
    """The forecasts of one interval of probability, and how often the event came."""

    low: float
    high: float
    count: int
    forecast: float
    frequency: float
    frequency_low: float
    frequency_high: float


def newest_per_key(forecasts: Sequence[Forecast]) -> list[Forecast]:
    """Keep the first (the newest) forecast about each key."""
    kept: dict[int | str, Forecast] = {}
    for forecast in forecasts:
        kept.setdefault(forecast.about, forecast)
    return list(kept.values())


def pairs(forecasts: Sequence[Forecast], target: str) -> list[Pair]:
    """Return the forecasts of a target whose outcome is known."""
    return [
        Pair(forecast.prediction[target], truth)
        for forecast in forecasts
        if (truth := forecast.truth(target)) is not None and target in forecast.prediction
    ]


def calibration_bins(known: Sequence[Pair], count: int = BINS) -> list[Bin]:
    """Group probabilities into intervals of equal width; the empty ones are left out."""
    groups: dict[int, list[Pair]] = {}
    for pair in known:
        groups.setdefault(min(int(pair.forecast * count), count - 1), []).append(pair)
    return [
        summary(number / count, (number + 1) / count, groups[number]) for number in sorted(groups)
    ]


def summary(low: float, high: float, group: Sequence[Pair]) -> Bin:
    """Summarize the forecasts of one interval."""
    size = len(group)
    happened = sum(pair.outcome for pair in group)
    forecast = sum(pair.forecast for pair in group) / size
    return Bin(low, high, size, forecast, happened / size, *wilson(happened, size))


def wilson(happened: float, size: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a frequency (Wilson, 1927, J. Am. Stat. Assoc. 22)."""
    share, scale = happened / size, 1 + z * z / size
    middle = (share + z * z / (2 * size)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / size + z * z / (4 * size * size))
    return max(0.0, middle - half), min(1.0, middle + half)


def score(known: Sequence[Pair], target: Target) -> str:
    """Say how far the forecasts were from what came."""
    if not known:
        return "no outcome is known yet"
    if target.kind == "probability":
        brier = sum((pair.forecast - pair.outcome) ** 2 for pair in known) / len(known)
        return f"Brier score {brier:.3f} ({len(known)} known outcomes)"
    mae = sum(abs(pair.forecast - pair.outcome) for pair in known) / len(known)
    return f"mean absolute error {quantity(mae, target.unit)} ({len(known)} known outcomes)"


def label(name: str) -> str:
    """Return a name as words: `temp_max` is "Temp max"."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def title(target: Target) -> str:
    """Return a target's name with its unit, as an axis has it."""
    has_unit = target.kind == "quantity" and target.unit
    return f"{label(target.name)} ({target.unit})" if has_unit else label(target.name)


def number(value: float) -> str:
    """Return a number as short as it stays meaningful."""
    return f"{value:,.1f}" if abs(value) >= 1 or value == 0 else f"{value:.2g}"


def quantity(value: float, unit: str) -> str:
    """Return a number with its unit."""
    return f"{number(value)} {unit}".strip()


def shown(value: float, target: Target) -> str:
    """Return a forecast as it is shown: 73 % or 8.9 °C."""
    return (
        f"{value:.0%}".replace("%", " %")
        if target.kind == "probability"
        else quantity(value, target.unit)
    )


def shown_in(forecast: Forecast, target: Target) -> str:
    """Return the forecast of a target as it is shown."""
    value = forecast.prediction.get(target.name)
    return MISSING if value is None else shown(value, target)


def plain(text: str) -> str:
    """Return text that Markdown leaves as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#$~|:])", r"\\\1", text)


def date_of(key: int | str) -> dt.date | None:
    """Return the date that a key is, or None when it is something else."""
    try:
        return dt.date.fromisoformat(str(key)) if isinstance(key, str) else None
    except ValueError:
        return None


def day(key: int | str) -> str:
    """Return a key for people: "Friday 1 January 2016", or the key itself where it is no date."""
    date = date_of(key)
    return f"{date:%A} {date.day} {date:%B %Y}" if date else str(key)


def moment(when: dt.datetime) -> str:
    """Return a time for people."""
    return f"{when.day} {when:%b %Y, %H:%M} {when.tzname() or ''}".strip()


def fate(truth: float | None) -> str:
    """Return what came of a forecast probability, in words."""
    if truth is None:
        return UNKNOWN
    return HAPPENED if truth else DID_NOT


def measure_rows(target: Target) -> list[dict[str, str]]:
    """Return a table: a row for each measure, a column for the model and each baseline."""
    return [
        {"Measure": label(measure_name(measure)), "Model": figure(value)}
        | {label(who): figure(by.get(measure)) for who, by in target.baselines.items()}
        for measure, value in target.model.items()
    ]


def measure_name(measure: str) -> str:
    """Return a measure's name in words."""
    return MEASURES.get(measure, measure)


def figure(value: float | None) -> str:
    """Return a measured value with three decimals."""
    return MISSING if value is None else f"{value:.3f}"


def verdict(target: Target) -> str:
    """Say in plain words whether a model is worth having for a target."""
    name = label(target.name).lower()
    if target.beats_baselines:
        return f":green[:material/check:] Better than every baseline on {name}."
    return (
        f":orange[:material/warning:] **Not better than every baseline on {name}**: "
        f"{comparison(target)}."
    )


def comparison(target: Target) -> str:
    """Return the score that counts, of the model and of each baseline."""
    others = (f"{who} {figure(by.get(target.score))}" for who, by in target.baselines.items())
    own = f"{measure_name(target.score)} {figure(target.model.get(target.score))}"
    return ", ".join([own, *others])


def history_rows(forecasts: Sequence[Forecast], target: Target) -> list[dict[str, str]]:
    """Return a table: a row for each forecast with its outcome."""
    return [
        {
            "About": day(past.about),
            "Forecast": shown_in(past, target),
            "Outcome": outcome(past.truth(target.name), target),
        }
        for past in forecasts
    ]


def outcome(truth: float | None, target: Target) -> str:
    """Return what came of a forecast, in words or with its unit."""
    if truth is None or target.kind == "probability":
        return fate(truth)
    return quantity(truth, target.unit)


# What charts draw: rows of plain values


def event_rows(forecasts: Sequence[Forecast], target: str) -> Rows:
    """Return each forecast probability with what came, oldest first."""
    return [
        {
            "key": plotted(past.about),
            "Forecast": past.prediction[target],
            "Outcome": fate(past.truth(target)),
        }
        for past in reversed(forecasts)
        if target in past.prediction
    ]


def quantity_rows(forecasts: Sequence[Forecast], target: str) -> Rows:
    """Return each forecast quantity, and each known outcome, oldest first."""
    rows: Rows = []
    for past in reversed(forecasts):
        if target in past.prediction:
            rows.append(
                {"key": plotted(past.about), "series": "Forecast", "value": past.prediction[target]}
            )
            rows.append(
                {"key": plotted(past.about), "series": "Outcome", "value": past.truth(target)}
            )
    return [row for row in rows if row["value"] is not None]


def plotted(key: int | str) -> int | str:
    """Return a key for a chart: a date as the reader's midnight (a bare one would be UTC's)."""
    return f"{key}T00:00:00" if date_of(key) else key


def key_field(rows: Rows) -> str:
    """Return the field of the keys: times where every key is a date, names otherwise."""
    dated = rows and all(str(row["key"]).endswith("T00:00:00") for row in rows)
    return "key:T" if dated else "key:O"


# Charts


def key_axis(rows: Rows) -> alt.X:
    """Return the horizontal axis of a history."""
    if key_field(rows) == "key:T":
        return alt.X("key:T", timeUnit="yearmonthdate", title="Day of the forecast")
    return alt.X("key:O", title="Row of the forecast", axis=alt.Axis(labelOverlap="greedy"))


def key_tooltip(rows: Rows) -> alt.Tooltip:
    """Return the line of a tooltip that says which forecast it is."""
    dated = key_field(rows) == "key:T"
    return alt.Tooltip(key_field(rows), title="Day" if dated else "Row")


def coloured(field: str, colours: Mapping[str, str]) -> alt.Color:
    """Return a colour for each value of a field, explained above the chart."""
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color(f"{field}:N", title=None, scale=scale, legend=alt.Legend(orient="top"))


def share_axis() -> alt.Axis:
    """Return an axis of percentages, of one width wherever it stands."""
    return alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1], minExtent=36)


def picture(height: int, *layers: alt.Chart) -> alt.LayerChart:
    """Return layers as one chart."""
    return alt.LayerChart(layer=list(layers), height=height)


def table(rows: Sequence[Mapping[str, Any] | Bin | Pair]) -> alt.Chart:
    """Return rows (mappings or dataclasses) as what a chart draws from."""
    values = [asdict(row) if isinstance(row, (Bin, Pair)) else row for row in rows]
    return alt.Chart(alt.InlineData(values=values))


def share(field: str, name: str | None) -> dict[str, Any]:
    """Return an axis from 0 to 100 %, of one width wherever it stands."""
    axis = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1], minExtent=LABELS)
    return {"shorthand": field, "title": name, "axis": axis, "scale": alt.Scale(domain=[0, 1])}


def event_chart(rows: Rows, target: Target) -> alt.LayerChart:
    """Draw probabilities as bars, coloured by what came."""
    colours = {HAPPENED: BLUE, DID_NOT: GREY, UNKNOWN: AMBER}
    there = {row["Outcome"] for row in rows}
    bars = table(rows).mark_bar(binSpacing=1 if len(rows) < CROWDED else 0)
    return picture(
        HEIGHT,
        bars.encode(
            x=key_axis(rows),
            y=alt.Y(**share("Forecast:Q", f"Probability of {label(target.name).lower()}")),
            color=coloured("Outcome", {name: colours[name] for name in colours if name in there}),
            tooltip=[key_tooltip(rows), alt.Tooltip("Forecast:Q", format=".1%"), "Outcome:N"],
        ),
    )


def quantity_chart(rows: Rows, target: Target) -> alt.LayerChart:
    """Draw forecasts and outcomes: lines over days, points where keys are no dates."""
    dated = key_field(rows) == "key:T"
    chart = table(rows)
    drawn = chart.mark_line(point={"size": 16}) if dated else chart.mark_point(filled=True)
    return picture(
        HEIGHT,
        drawn.encode(
            x=key_axis(rows),
            y=alt.Y("value:Q", title=title(target), scale=alt.Scale(zero=False)),
            color=coloured("series", {"Forecast": BLUE, "Outcome": GREY}),
            tooltip=[key_tooltip(rows), "series:N", alt.Tooltip("value:Q", title=title(target))],
        ),
    )


def diagonal(low: float, high: float) -> alt.Chart:
    """Draw the line on which outcome and forecast are the same."""
    line: alt.Chart = table([{"x": low, "y": low}, {"x": high, "y": high}]).mark_line(
        color=GREY, strokeDash=[5, 4]
    )
    return line.encode(x="x:Q", y="y:Q")


def reliability_chart(bins: Sequence[Bin], target: Target) -> alt.LayerChart:
    """Draw how often it came against the forecast: the nearer to the diagonal the better."""
    chart = table(bins)
    x = alt.X(**share("forecast:Q", None))
    name = f"{label(target.name)}: how often it came"
    dots = chart.mark_line(color=BLUE, point={"color": BLUE, "size": 64})
    return picture(
        HEIGHT,
        diagonal(0, 1),
        chart.mark_rule(color=BLUE, opacity=0.5, strokeWidth=2).encode(
            x=x, y="frequency_low:Q", y2="frequency_high:Q", tooltip=bin_tooltip()
        ),
        dots.encode(x=x, y=alt.Y(**share("frequency:Q", name)), tooltip=bin_tooltip()),
    )


def count_chart(bins: Sequence[Bin], target: Target) -> alt.LayerChart:
    """Draw how many forecasts fell into each interval of probability."""
    name = f"Forecast probability of {label(target.name).lower()}"
    bars = table(bins).mark_bar(color=GREY)
    return picture(
        COUNTS_HEIGHT,
        bars.encode(
            x=alt.X(**share("low:Q", name), bin="binned"),
            x2="high:Q",
            y=alt.Y("count:Q", title="Forecasts", axis=alt.Axis(tickCount=3, minExtent=LABELS)),
            tooltip=bin_tooltip(),
        ),
    )


def bin_tooltip() -> list[alt.Tooltip]:
    """Return the lines of a tooltip about an interval of probability."""
    return [
        alt.Tooltip("forecast:Q", format=".1%", title="Mean forecast"),
        alt.Tooltip("frequency:Q", format=".1%", title="It came"),
        alt.Tooltip("count:Q", title="Forecasts"),
    ]


def scatter_chart(known: Sequence[Pair], target: Target) -> alt.LayerChart:
    """Draw outcomes against forecasts: the nearer to the diagonal the better."""
    values = [value for pair in known for value in (pair.forecast, pair.outcome)]
    name, scale = title(target), alt.Scale(zero=False, nice=True)
    points = table(known).mark_point(filled=True, color=BLUE, opacity=0.5, size=30)
    return picture(
        SCATTER_HEIGHT,
        diagonal(min(values), max(values)),
        points.encode(
            x=alt.X("forecast:Q", title=f"Forecast: {name}", scale=scale),
            y=alt.Y("outcome:Q", title=f"Outcome: {name}", scale=scale),
            tooltip=["forecast:Q", "outcome:Q"],
        ),
    )


# The page


def draw(chart: alt.LayerChart, description: str) -> None:
    """Show a chart as wide as its place, with words for who cannot see it."""
    st.altair_chart(chart, width="stretch", alt=description)


def show_failure(error: ApiError) -> None:
    """Say what is wrong with the API, and what to type."""
    st.error(f"**{error.what}**  \n{error.advice}", icon=":material/cloud_off:")
    st.code(error.command, language=None)


def cells(count: int) -> Iterator[DeltaGenerator]:
    """Return that many places side by side, a few in a row; they stack on a narrow screen."""
    for start in range(0, count, COLUMNS):
        yield from st.columns(min(COLUMNS, count - start), border=True)


@st.fragment(run_every=WATCH_SECONDS)
def status_badge() -> None:
    """Show in a word how the stack is; looks again by itself."""
    try:
        checks = fetch_health().checks
    except ApiError:
        st.badge("state unknown", icon=":material/cloud_off:", color="red")
        return
    failing = [name for name, check in checks.items() if not check.ok]
    if failing:
        st.badge(f"{', '.join(failing)}: failing", icon=":material/error:", color="red")
    else:
        st.badge("all checks pass", icon=":material/check_circle:", color="green")


def forecasts_section(models: Sequence[Model]) -> None:
    """Show what each tier forecasts next."""
    for model, place in zip(models, cells(len(models)), strict=True):
        with place:
            forecast_card(model)


def forecast_card(model: Model) -> None:
    """Show a tier's forecast in big numbers."""
    st.markdown(
        f"**{model.tier}** :gray-badge[{model.version}]  \n:gray[{plain(model.description)}]"
    )
    try:
        forecast = fetch_forecast(model)
    except ApiError as error:
        show_failure(error)
        return
    places = st.columns(len(model.targets), wrap=len(model.targets) > NARROW)
    for target, place in zip(model.targets, places, strict=True):
        place.metric(metric_label(target), shown_in(forecast, target))
    st.caption(basis(forecast))


def basis(forecast: Forecast) -> str:
    """Say what a forecast is about, and up to where the data reached."""
    if forecast.about == forecast.key:
        return f"For **{day(forecast.key)}**"
    return f"For **{day(forecast.about)}**, from data up to {day(forecast.key)}"


def metric_label(target: Target) -> str:
    """Return what stands above a big number."""
    kind = "Probability of " if target.kind == "probability" else ""
    return label(f"{kind}{target.name}".lower())


@st.fragment
def history_section(models: Sequence[Model]) -> None:
    """Show what came of past forecasts, of the tier, source and period that the reader chooses."""
    st.subheader("What came of past forecasts", anchor=False)
    with st.container(horizontal=True):
        tier = choice("Tier", {model.tier: model.tier for model in models})
        source = choice("Forecasts", SOURCES)
        period = choice("Period", {name: name for name in PERIODS})
    model = next(model for model in models if model.tier == tier)
    try:
        forecasts = fetch_history(tier, source)
    except ApiError as error:
        show_failure(error)
        return
    if not forecasts:
        st.info("There are no such forecasts yet.", icon=":material/hourglass_empty:")
        return
    recent = forecasts[: PERIODS[period]]
    for target, place in zip(model.targets, cells(len(model.targets)), strict=True):
        with place:
            history_of(target, recent)
    accuracy_section(model, forecasts)


def choice(name: str, options: Mapping[str, str]) -> str:
    """Let the reader choose one of a few; the first one stands until then."""
    first = next(iter(options))
    words = options.__getitem__
    return st.segmented_control(
        name, list(options), default=first, format_func=words, required=True
    )


def history_of(target: Target, forecasts: Sequence[Forecast]) -> None:
    """Show forecast and outcome of a target over time, as a table while they are few."""
    st.markdown(f"**{label(target.name)}** :gray[{score(pairs(forecasts, target.name), target)}]")
    if len(forecasts) < FEW:
        st.table(history_rows(forecasts, target), hide_index=True)
    elif target.kind == "probability":
        chart = event_chart(event_rows(forecasts, target.name), target)
        draw(chart, "Forecast probabilities, coloured by outcome")
    else:
        chart = quantity_chart(quantity_rows(forecasts, target.name), target)
        draw(chart, "Forecasts and outcomes")


def accuracy_section(model: Model, forecasts: Sequence[Forecast]) -> None:
    """Show whether probabilities came as often as they say, and how near quantities were."""
    known = [(target, pairs(forecasts, target.name)) for target in model.targets]
    known = [(target, each) for target, each in known if each]
    if not known:
        return
    st.subheader("How far the forecasts can be trusted", anchor=False)
    for (target, each), place in zip(known, cells(len(known)), strict=True):
        with place:
            accuracy_of(target, each)


def accuracy_of(target: Target, known: Sequence[Pair]) -> None:
    """Show outcomes against forecasts of one target."""
    name = label(target.name)
    if target.kind == "probability":
        st.markdown(f"**{name}: calibration** :gray[{len(known)} forecasts]")
        bins = calibration_bins(known)
        draw(reliability_chart(bins, target), "Observed share against forecast probability")
        draw(count_chart(bins, target), "Number of forecasts by probability")
        st.caption("Dashed: it comes as often as forecast. Upright lines: 95 % intervals.")
    else:
        st.markdown(f"**{name}: outcome against forecast** :gray[{len(known)} forecasts]")
        draw(scatter_chart(known, target), "Outcomes against forecasts")
        st.caption("Dashed: the outcome is what was forecast.")


def models_section(models: Sequence[Model]) -> None:
    """Show the versions, and what they are worth beside the baselines."""
    st.subheader("Models", anchor=False)
    for model, place in zip(models, cells(len(models)), strict=True):
        with place:
            model_card(model)


def model_card(model: Model) -> None:
    """Show a model's version, and its measures on held-out rows."""
    st.markdown(f"**{model.tier}** :gray-badge[{model.version}]")
    st.caption(f"Trained {moment(model.trained_at)}  \nServed since {moment(model.loaded_at)}")
    for target in model.targets:
        st.markdown(f"**{title(target)}**")
        st.table(measure_rows(target), hide_index=True)
        st.markdown(verdict(target))


@st.fragment(run_every=WATCH_SECONDS)
def stack_section() -> None:
    """Show each part of the stack; looks again by itself."""
    st.subheader("State of the stack", anchor=False)
    try:
        health = fetch_health()
    except ApiError as error:
        show_failure(error)
        return
    for (name, check), place in zip(health.checks.items(), cells(len(health.checks)), strict=True):
        with place:
            st.markdown(f"**{label(name)}** {OK if check.ok else FAILING}")
            st.caption(plain(check.detail))
    if not all(check.ok for check in health.checks.values()):
        st.code("inv deploy.status", language=None)


@st.fragment(run_every=HEALTH_SECONDS)
def wait_for_api() -> None:
    """Draw the page again once the API answers."""
    with suppress(ApiError):
        fetch_models()
        st.rerun()


def models_or_message() -> list[Model]:
    """Return the loaded models; where there are none, say why and wait for some."""
    try:
        return fetch_models()
    except ApiError as error:
        show_failure(error)
        wait_for_api()
        return []


def main() -> None:
    """Draw the page."""
    st.set_page_config(TITLE, "\N{CHART WITH UPWARDS TREND}", layout="wide")
    st.html(STYLE)
    head = st.container(horizontal=True, vertical_alignment="center")
    head.title(TITLE, anchor=False, width="content")
    if models := models_or_message():
        with head:
            status_badge()
        forecasts_section(models)
        history_section(models)
        models_section(models)
        stack_section()


if __name__ == "__main__":
    main()
