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
    assert all(said["lint"] == [] for said in sessions.values())
    return {preset: {*said["tests"], *said["engine"]} for preset, said in sessions.items()}


def of(service: str) -> set[str]:
    """Return the tests that go with a service, as the table has them."""
    entry = bake.settings()["__services"][service]
    return {path for path in entry["paths"] if path.startswith("tests/")}


def test_each_service_of_a_later_preset_is_tested_with_it(parts: dict[str, set[str]]) -> None:
    for preset in LATER:
        own = presets.named(preset) - presets.named("serving")
        assert set().union(*map(of, own)) <= parts[preset]
    assert "src/weather_forecast/llm/tests" in parts["workers"]


def test_what_goes_with_a_preset_is_tested_beside_it_and_alone(parts: dict[str, set[str]]) -> None:
    assert of("monitoring") <= parts["workers"]
    assert of("pipeline") <= parts["workers"] & parts["pipeline"]
    assert "src/weather_forecast/pipeline/tests" in parts["pipeline"] - parts["workers"]
    assert of("worker-llm").isdisjoint(parts["pipeline"])


def test_what_the_first_preset_tests_is_left_to_it(
    parts: dict[str, set[str]], tmp_path: Path
) -> None:
    bake.bake_as(tmp_path / "serving")
    first = {*presets.own_tests(tmp_path / "serving", presets.named("serving"))}
    assert {"tests/engine/test_recovery.py", "src/weather_forecast/tests"} < first
    assert first.isdisjoint(set().union(*parts.values()))
