from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from slipway.core import journal, transaction
from slipway.core.project import Project
from slipway.models import maintenance, registry
from tests.models.test_registry import write

if TYPE_CHECKING:
    from pathlib import Path

LEFT = {
    "verb": "models.promote",
    "tier": "tier1",
    "from": "v1.0",
    "to": "v1.1",
    "file": "tier1_v1.1_2026-11-22.onnx",
}


@pytest.fixture
def here(tmp_path: Path) -> Project:
    folder = tmp_path / "models"
    for version in ("v1.0", "v1.1", "v1.2", "v1.3"):
        write(folder, "tier1", version, current=version == "v1.0")
    return Project(tmp_path, "A", "a", "a")


def states(here: Project) -> dict[str, str]:
    return {item.check: item.state for item in maintenance.verify_models(here)}


def test_all_is_well_where_nothing_was_harmed(here: Project) -> None:
    assert states(here) == dict.fromkeys(
        [f"tier1 {version}" for version in ("v1.0", "v1.1", "v1.2", "v1.3")], "ok"
    )


def test_every_harm_is_named(here: Project) -> None:
    file = here.models / "tier1_v1.2_2026-11-22.onnx"
    file.write_bytes(b"flipped")
    (here.models / "tier1_v1.3_2026-11-22.json").write_text("{")
    registry.point_link(here.models, "tier1", "tier1_v1.3_2026-11-22.onnx")
    (here.models / ".tier1_v1.4_2026-11-22.onnx.77").write_bytes(b"half")
    found = states(here)
    assert found["tier1 v1.2"] == "fail"
    assert found["tier1_current"] == "fail"
    assert found[".tier1_v1.4_2026-11-22.onnx.77"] == "warn"
    assert "tier1_v1.3_2026-11-22.onnx" not in found  # what is served is no leftover


def test_what_a_link_names_is_never_deleted(here: Project) -> None:
    metadata = here.models / "tier1_v1.0_2026-11-22.json"
    metadata.write_text("{}")
    found = maintenance.plan_pruning(here, 0, 0)
    assert [item.version for item in found.going] == ["v1.1", "v1.2", "v1.3"]
    assert found.left == ()
    found.carry_out()
    assert (here.models / "tier1_current.onnx").read_bytes() == b"tier1 v1.0"
    assert metadata.exists()


def test_a_tier_without_a_link_is_named_with_what_brings_it_back(here: Project) -> None:
    registry.point_link(here.models, "tier1", "")
    found = {item.check: item for item in maintenance.verify_models(here)}
    assert found["tier1_current"].state == "fail"
    assert found["tier1_current"].fix == "inv models.rollback tier1 --to v1.3"


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        ("../tier1_v1.0_2026-11-22.onnx", "which is not in models/"),
        ("/etc/passwd", "which is not in models/"),
        ("gone.onnx", "which is not a complete model"),
        ("folder", "which is not a complete model"),
    ],
)
def test_a_link_that_is_wrong_is_named_with_its_whole_target(
    here: Project, target: str, detail: str
) -> None:
    (here.models / "folder").mkdir()
    registry.point_link(here.models, "tier1", target)
    (found,) = [item for item in maintenance.verify_models(here) if item.check == "tier1_current"]
    assert found.state == "fail"
    assert found.detail.startswith(f"tier1 -> {target}, {detail}: ")
    assert found.fix == "inv models.rollback tier1 --to v1.3"


@pytest.mark.parametrize("suffix", ["onnx", "skops"])
def test_a_file_in_the_place_of_a_link_is_named(here: Project, suffix: str) -> None:
    path = here.models / f"tier1_current.{suffix}"
    path.unlink(missing_ok=True)
    path.write_bytes(b"a copy")
    (found,) = [item for item in maintenance.verify_models(here) if item.check == "tier1_current"]
    assert found.detail.startswith(f"{path.name} is not a link: ")
    beside_a_link = suffix == "skops"
    assert found.fix == (
        f"rm models/{path.name}" if beside_a_link else "inv models.rollback tier1 --to v1.3"
    )


def test_where_nothing_is_whole_training_is_what_is_left(tmp_path: Path) -> None:
    write(tmp_path / "models", "tier1", "v1.0", current=True).write_bytes(b"flipped")
    (found,) = maintenance.verify_models(Project(tmp_path, "A", "a", "a"))
    assert (found.state, found.fix) == ("fail", "inv models.train --tier tier1")


def test_metrics_that_cannot_be_read_are_named_and_harm_no_other(here: Project) -> None:
    metadata = here.models / "tier1_v1.2_2026-11-22.json"
    metadata.write_text(metadata.read_text().replace('"beats_baselines": false', '"model": null'))
    assert states(here)["tier1 v1.2"] == "fail"
    rows = [registry.score_summary(model) for model in registry.list_models(here.models)]
    assert {"beats baselines": "?"} in rows


@pytest.mark.parametrize(
    ("step", "pointed", "state", "detail"),
    [
        ("load", "v1.0", "warn", "killed at step 2 (load): tier1 still serves v1.0"),
        ("pointer", "v1.0", "warn", "killed at step 6 (pointer): tier1 still serves v1.0"),
        ("watch", "v1.1", "fail", "killed at step 8 (watch): tier1 serves v1.1, which was not"),
    ],
)
def test_a_killed_promotion_is_explained(step: str, pointed: str, state: str, detail: str) -> None:
    found = maintenance.explain_interruption(
        {**LEFT, "step": step}, f"tier1_{pointed}_2026-11-22.onnx"
    )
    assert found.check == "models.promote of tier1, v1.0 to v1.1"
    assert found.state == state
    assert found.detail.startswith(detail)
    assert "finish: inv models.promote tier1 v1.1" in found.fix
    assert ("undo: inv models.rollback tier1 --to v1.0" in found.fix) == (state == "fail")


def test_a_killed_promotion_is_told_until_another_of_its_tier_followed(here: Project) -> None:
    what = "models.promote of tier1, v1.0 to v1.1"
    journal.append(here.root, outcome="killed", step="watch", **LEFT)
    assert what in states(here)
    with transaction.change(here.root, "models.train"):
        pass
    assert what in states(here)
    with transaction.change(here.root, "models.rollback", tier="tier1", to="v1.0"):
        pass
    assert what not in states(here)


def kept(here: Project, keep: int, days: int = 30) -> dict[str, str]:
    found = maintenance.kept_files(here, keep, timedelta(days=days))
    return {name.split("_")[1]: reason for name, reason in found.items()}


def test_what_is_needed_is_never_deleted(here: Project) -> None:
    assert kept(here, 1) == {"v1.0": "current", "v1.3": "one of the newest 1"}
    assert kept(here, 0) == {"v1.0": "current"}
    journal.append(here.root, "models.promote", outcome="done", tier="tier1", to="v1.1")
    assert kept(here, 0) == {"v1.0": "current", "v1.1": "was live recently"}
    manifest = here.root / "backups" / "b1" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"models": {"tier1": "tier1_v1.2_2026-11-22.onnx"}}))
    assert kept(here, 0)["v1.2"] == "in restore point b1"


def test_a_version_is_removed_with_all_that_belongs_to_it(here: Project) -> None:
    (here.models / "tier1_v1.1_2026-11-22.sig").write_text("signed")
    maintenance.remove_model(registry.find_model(here.models, "tier1", "v1.1"))
    assert not list(here.models.glob("tier1_v1.1*"))
    assert states(here).keys() == {"tier1 v1.0", "tier1 v1.2", "tier1 v1.3"}
