from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.core.errors import Refused
from slipway.core.project import Project
from slipway.harness import plan
from slipway.harness.plan import HarnessPlan
from slipway.harness.report import HarnessCase
from tests.support.copies import REPOSITORY

PROJECT = Project(Path("/p"), "Weather", "weather", "weather_app")
PLAN = HarnessPlan(PROJECT, "staging", "20261122-063000", "ab12")
NAME = "weather-harness-20261122-063000-ab12"


def test_everything_goes_by_the_plan_s_own_name() -> None:
    assert PLAN.name == NAME
    assert PLAN.image == f"localhost/weather-test:{NAME}"
    assert PLAN.tester == f"{NAME}-tests"
    assert PLAN.folder == Path(f"/p/run/harness/{NAME}")
    assert PLAN.reports == Path("/p/reports/harness-20261122-063000")
    assert PLAN.log == Path("/p/reports/container-test-harness-20261122-063000.log")


def test_two_plans_of_the_same_second_have_different_names() -> None:
    assert plan.new_plan(PROJECT, "prod").name != plan.new_plan(PROJECT, "prod").name


def test_commands() -> None:
    build = [
        "docker", "build", "--target", "test", "--tag", f"localhost/weather-test:{NAME}",
    ]  # fmt: skip
    assert plan.build_command(PLAN, {}) == [*build, "."]
    locked = {"python:3.13": "docker-image://python:3.13@sha256:1"}
    context = "--build-context=python:3.13=docker-image://python:3.13@sha256:1"
    assert plan.build_command(PLAN, locked) == [*build, context, "."]
    assert plan.tests_command(PLAN) == [
        "docker", "run", "--init", "--name", f"{NAME}-tests", f"localhost/weather-test:{NAME}",
        "python", "-m", "pytest", "-p", "no:cacheprovider", "--junit-xml=/tmp/tests.xml",
        "--numprocesses=auto", "--dist=loadfile",
        "--ignore-glob=tests/scenarios", "--ignore-glob=tests/test_first_run.py", "src", "tests",
    ]  # fmt: skip
    assert plan.fetch_command(PLAN) == [
        "docker", "cp", f"{NAME}-tests:/tmp/tests.xml",
        "/p/reports/harness-20261122-063000/tests.xml",
    ]  # fmt: skip
    assert plan.verify_command(PLAN) == ["python", "-m", "weather_app.verify", "--json"]


@pytest.mark.parametrize("pattern", plan.ELSEWHERE)
def test_what_the_tests_leave_out_is_there_to_be_left_out(pattern: str) -> None:
    assert list(REPOSITORY.glob(pattern))


@pytest.mark.parametrize(
    ("only", "scenario", "parts"),
    [
        ("", "", ("tests", "verify", "scenarios")),
        ("verify", "", ("verify",)),
        ("scenarios,verify", "", ("verify", "scenarios")),
        ("", "a cache hit", ("scenarios",)),
    ],
)
def test_parts_are_chosen(only: str, scenario: str, parts: tuple[str, ...]) -> None:
    assert plan.chosen_parts(only, scenario) == parts


def test_unknown_parts_and_profiles_are_refused() -> None:
    with pytest.raises(Refused, match="choose from: tests, verify, scenarios"):
        plan.chosen_parts("test", "")
    with pytest.raises(Refused, match="choose one of: staging, prod"):
        plan.new_plan(PROJECT, "dev")


def test_what_the_verification_prints_becomes_cases() -> None:
    said = {"ok": False, "checks": [{"name": "disk", "ok": False, "detail": "full", "seconds": 1}]}
    assert plan.verified(json.dumps(said)) == [HarnessCase("verify", "disk", "failed", 1, "full")]
