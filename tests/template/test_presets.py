from pathlib import Path

import pytest

from devtools import bake, presets

LATER = [*bake.settings()["_presets"]][1:]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Return what each preset but the first runs of its tests."""
    parent = tmp_path_factory.mktemp("presets")
    for preset in LATER:
        asked = {"preset": preset, "services": ", ".join(sorted(presets.checked(preset)))}
        bake.bake_as(parent / preset, asked)
    sessions = {preset: presets.parts(parent / preset, preset) for preset in LATER}
    assert all(session["lint"] == [] for session in sessions.values())
    return {preset: {*session["tests"]} for preset, session in sessions.items()}


def test_the_tests_of_each_service_run_with_the_preset_that_brings_it(
    parts: dict[str, set[str]],
) -> None:
    source = "src/weather_forecast"
    workers = {f"{source}/{name}/tests" for name in ("jobs", "llm", "rl")}
    assert parts["workers"] == {presets.REPOSITORY, *workers}
    assert parts["pipeline"] == {presets.REPOSITORY, f"{source}/pipeline/tests"}


def test_what_the_first_preset_tests_is_left_to_it(
    parts: dict[str, set[str]], tmp_path: Path
) -> None:
    bake.bake_as(tmp_path / "serving")
    first = {*presets.own_tests(tmp_path / "serving", presets.named("serving"))}
    assert "src/weather_forecast/dashboard/tests" in first
    assert first.isdisjoint(set().union(*parts.values()))
