"""The page: its sections, from top to bottom."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import altair as alt
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from .api_types import ForecastRecord, ForecastTarget, ServedModel
from .charts import (
    count_chart,
    event_chart,
    event_rows,
    quantity_chart,
    quantity_rows,
    reliability_chart,
    scatter_chart,
)
from .client import (
    HEALTH_SECONDS,
    HISTORY_LIMIT,
    ApiError,
    fetch_forecast,
    fetch_health,
    fetch_history,
    fetch_models,
)
from .scores import OutcomePair, calibration_bins, outcome_pairs
from .words import (
    describe_baselines,
    describe_forecast,
    describe_score,
    escape_markdown,
    format_forecast,
    format_label,
    format_time,
    history_table,
    metric_table,
    target_label,
    target_title,
)

TITLE = Path(__file__).resolve().parents[1].name.replace("_", " ").title()
STYLE = """<style>
[data-testid="stMainBlockContainer"] { max-width: 1180px; margin: 0 auto; }
</style>"""
WATCH_SECONDS = 15
CARDS_PER_ROW, WRAP_ABOVE = 3, 2
CHART_FROM = 5
"""With fewer forecasts, a table says more than a chart."""
SOURCES = {"backtest": "Held-out backtest", "api": "API requests"}
PERIODS = {"Last 60": 60, "Last 180": 180, "All": HISTORY_LIMIT}
OK, FAILING = ":green-badge[:material/check: ok]", ":red-badge[:material/close: failing]"


def draw_page() -> None:
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
        health_section()


def models_or_message() -> list[ServedModel]:
    """Return the models that are served; if there are none, say why and wait for some."""
    try:
        return fetch_models()
    except ApiError as error:
        show_error(error)
        wait_for_api()
        return []


@st.fragment(run_every=HEALTH_SECONDS)
def wait_for_api() -> None:
    """Draw the page again once the API serves a model."""
    with suppress(ApiError):
        fetch_models()
        st.rerun()


def show_error(error: ApiError) -> None:
    """Show what went wrong with the API, and what to type."""
    st.error(f"**{error.what}**  \n{error.advice}", icon=":material/cloud_off:")
    st.code(error.command, language=None)


def show_chart(chart: alt.LayerChart, description: str) -> None:
    """Show a chart at full width, with a description for screen readers."""
    st.altair_chart(chart, width="stretch", alt=description)


def card_grid(count: int) -> Iterator[DeltaGenerator]:
    """Yield places for cards, a few in a row; they stack on a narrow screen."""
    for start in range(0, count, CARDS_PER_ROW):
        yield from st.columns(min(CARDS_PER_ROW, count - start), border=True)


@st.fragment(run_every=WATCH_SECONDS)
def status_badge() -> None:
    """Show the health of the stack in a few words; refreshed regularly."""
    try:
        checks = fetch_health().checks
    except ApiError:
        st.badge("health unknown", icon=":material/cloud_off:", color="red")
        return
    failing = [name for name, check in checks.items() if not check.ok]
    if failing:
        st.badge(f"{', '.join(failing)}: failing", icon=":material/error:", color="red")
    else:
        st.badge("all checks pass", icon=":material/check_circle:", color="green")


# What comes next


def forecasts_section(models: Sequence[ServedModel]) -> None:
    """Show the next forecast of each tier."""
    for model, place in zip(models, card_grid(len(models)), strict=True):
        with place:
            forecast_card(model)


def forecast_card(model: ServedModel) -> None:
    """Show a tier's next forecast in big numbers."""
    description = escape_markdown(model.description)
    st.markdown(f"**{model.tier}** :gray-badge[{model.version}]  \n:gray[{description}]")
    try:
        forecast = fetch_forecast(model)
    except ApiError as error:
        show_error(error)
        return
    places = st.columns(len(model.targets), wrap=len(model.targets) > WRAP_ABOVE)
    for target, place in zip(model.targets, places, strict=True):
        place.metric(target_label(target), format_forecast(forecast, target))
    st.caption(describe_forecast(forecast))


# What came before


@st.fragment
def history_section(models: Sequence[ServedModel]) -> None:
    """Show past forecasts and their outcomes, for the tier, source and period that is chosen."""
    st.subheader("Past forecasts and their outcomes", anchor=False)
    with st.container(horizontal=True):
        tier = choose_one("Tier", {model.tier: model.tier for model in models})
        source = choose_one("Forecasts", SOURCES)
        period = choose_one("Period", {name: name for name in PERIODS})
    model = next(model for model in models if model.tier == tier)
    try:
        forecasts = fetch_history(tier, source)
    except ApiError as error:
        show_error(error)
        return
    if not forecasts:
        st.info("There are no forecasts from this source yet.", icon=":material/hourglass_empty:")
        return
    recent = forecasts[: PERIODS[period]]
    for target, place in zip(model.targets, card_grid(len(model.targets)), strict=True):
        with place:
            history_card(target, recent)
    accuracy_section(model, forecasts)


def choose_one(name: str, options: Mapping[str, str]) -> str:
    """Let the reader choose an option; the first one is the default."""
    first = next(iter(options))
    labels = options.__getitem__
    return st.segmented_control(
        name, list(options), default=first, format_func=labels, required=True
    )


def history_card(target: ForecastTarget, forecasts: Sequence[ForecastRecord]) -> None:
    """Show past forecasts of a target and their outcomes."""
    score = describe_score(outcome_pairs(forecasts, target.name), target)
    st.markdown(f"**{format_label(target.name)}** :gray[{score}]")
    if len(forecasts) < CHART_FROM:
        st.table(history_table(forecasts, target), hide_index=True)
    elif target.kind == "probability":
        chart = event_chart(event_rows(forecasts, target.name), target)
        show_chart(chart, "Forecast probabilities, colored by outcome")
    else:
        chart = quantity_chart(quantity_rows(forecasts, target.name), target)
        show_chart(chart, "Forecasts and outcomes")


def accuracy_section(model: ServedModel, forecasts: Sequence[ForecastRecord]) -> None:
    """Show how accurate the forecasts of each target were."""
    paired = [(target, outcome_pairs(forecasts, target.name)) for target in model.targets]
    known = [(target, pairs) for target, pairs in paired if pairs]
    if not known:
        return
    st.subheader("Accuracy", anchor=False)
    for (target, pairs), place in zip(known, card_grid(len(known)), strict=True):
        with place:
            accuracy_card(target, pairs)


def accuracy_card(target: ForecastTarget, pairs: Sequence[OutcomePair]) -> None:
    """Show the calibration of probabilities, or outcomes against forecasts."""
    name = format_label(target.name)
    if target.kind == "probability":
        st.markdown(f"**{name}: calibration** :gray[{len(pairs)} forecasts]")
        bins = calibration_bins(pairs)
        show_chart(reliability_chart(bins, target), "Observed frequency by forecast probability")
        show_chart(count_chart(bins, target), "Number of forecasts by forecast probability")
        st.caption("Dashed line: perfect calibration. Vertical lines: 95% confidence intervals.")
    else:
        st.markdown(f"**{name}: outcome vs. forecast** :gray[{len(pairs)} forecasts]")
        show_chart(scatter_chart(pairs, target), "Outcomes against forecasts")
        st.caption("Dashed line: perfect forecasts.")


# What is running


def models_section(models: Sequence[ServedModel]) -> None:
    """Show the versions, and their metrics beside the baselines'."""
    st.subheader("Models", anchor=False)
    for model, place in zip(models, card_grid(len(models)), strict=True):
        with place:
            model_card(model)


def model_card(model: ServedModel) -> None:
    """Show a model's version, and its metrics on held-out rows."""
    st.markdown(f"**{model.tier}** :gray-badge[{model.version}]")
    trained, loaded = format_time(model.trained_at), format_time(model.loaded_at)
    st.caption(f"Trained {trained}  \nServing since {loaded}")
    for target in model.targets:
        st.markdown(f"**{target_title(target)}**")
        st.table(metric_table(target), hide_index=True)
        st.markdown(describe_baselines(target))


@st.fragment(run_every=WATCH_SECONDS)
def health_section() -> None:
    """Show the health of each part of the stack; refreshed regularly."""
    st.subheader("Stack health", anchor=False)
    try:
        checks = fetch_health().checks
    except ApiError as error:
        show_error(error)
        return
    for (name, check), place in zip(checks.items(), card_grid(len(checks)), strict=True):
        with place:
            st.markdown(f"**{format_label(name)}** {OK if check.ok else FAILING}")
            st.caption(escape_markdown(check.detail))
    if not all(check.ok for check in checks.values()):
        st.code("inv deploy.status", language=None)
