"""From a fresh copy of the repository to a served prediction, as the README says."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.support.copies import Copy

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """Bring a fresh copy up with the one command of the README, and end it whatever happens."""
    root = tmp_path_factory.mktemp("first run") / "repository"
    made = Copy(root)
    try:
        made.inv("deploy.up", "--engine", "local")
        yield made
    finally:
        made.inv("deploy.down")


def test_every_service_is_healthy(copy: Copy) -> None:
    status = copy.status()
    assert status.keys() >= {"api", "redis"}
    assert {item["state"] for item in status.values()} == {"healthy"}
    for item in status.values():
        if item["url"]:
            with urllib.request.urlopen(item["url"], timeout=10) as answer:
                assert answer.status == 200


def test_a_prediction_is_served_by_a_model_that_is_listed(copy: Copy) -> None:
    prediction = copy.get("/predict", {})
    listed = json.loads(copy.inv("models.list", "--json"))
    assert (prediction["tier"], prediction["version"]) in {
        (item["tier"], item["version"]) for item in listed if item["current"]
    }
    shown = json.loads(copy.inv("models.show", prediction["tier"], "--json"))
    assert shown["version"] == prediction["version"]
    assert set(shown["metrics"]) == set(prediction["prediction"])


def test_tasks_work_from_a_subfolder(copy: Copy) -> None:
    assert "healthy" in copy.inv("deploy.status", cwd=copy.root / "src")


def test_doctor_finds_nothing_to_mend(copy: Copy) -> None:
    findings = json.loads(copy.inv("doctor", "--json"))
    assert {item["check"] for item in findings} == {
        "python", "engine", "disk", "env", "settings", "ports", "stack", "models", "backups",
        "drill", "rotation",
    }  # fmt: skip
    assert not [item for item in findings if item["state"] == "fail"]


def test_what_is_up_is_verified(copy: Copy) -> None:
    assert "golden" in copy.inv("deploy.verify")
    assert json.loads(copy.inv("deploy.verify", "--json"))["ok"]


def test_collecting_again_changes_nothing(copy: Copy) -> None:
    before = len(copy.get("/predictions?limit=5"))
    copy.inv("data.collect")
    assert len(copy.get("/predictions?limit=5")) == before


def test_wrong_words_are_answered_in_a_line(copy: Copy) -> None:
    assert "there is no model tier9" in copy.inv("models.show", "tier9", code=1)
    assert "there is no engine 'podman'" in copy.inv("deploy.up", "--engine", "podman", code=2)
    assert "the stack is running" in copy.inv("db.downgrade", "--yes", code=1)


def test_a_damaged_model_is_found(copy: Copy) -> None:
    (pointer, *_) = sorted((copy.root / "models").glob("*_current.*"))
    sound = pointer.read_bytes()
    pointer.resolve().write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    try:
        assert "sha256" in copy.inv("doctor", code=1)
    finally:
        pointer.resolve().write_bytes(sound)


def served(copy: Copy) -> str:
    found = {item["tier"]: item["version"] for item in copy.get("/models")}
    return str(found["tier1"])


def test_training_again_makes_a_new_version_that_is_served_once_it_is_promoted(copy: Copy) -> None:
    assert "to promote it, run: inv models.promote tier1 v1.1" in copy.inv(
        "models.train", "--tier=tier1"
    )
    assert served(copy) == "v1.0"
    assert "tier1 serves v1.1" in copy.inv("models.promote", "tier1", "v1.1", "--watch=1")
    assert served(copy) == "v1.1"
    assert "tier1 serves v1.0 again" in copy.inv("models.rollback", "tier1")
    assert served(copy) == "v1.0"
    live = json.loads(copy.inv("models.history", "--tier=tier1", "--json"))
    assert [item["version"] for item in live] == ["v1.0", "v1.1", "v1.0"]


def test_it_comes_up_again_with_its_data(copy: Copy) -> None:
    before = copy.get("/predictions?source=api")
    models = copy.inv("models.list", "--json")
    copy.inv("deploy.down")
    with pytest.raises(urllib.error.URLError):
        copy.get("/health")
    copy.inv("deploy.up", "--engine", "local")
    assert copy.get("/predictions?source=api") == before
    assert copy.inv("models.list", "--json") == models


def test_the_list_of_tasks_fits_one_screen(copy: Copy) -> None:
    lines = copy.inv("--list").splitlines()
    stages = sum(line.startswith("  pipeline.") for line in lines)
    assert len(lines) - stages <= 56  # two presets in one repository have a little more
    assert max(map(len, lines)) <= 100
