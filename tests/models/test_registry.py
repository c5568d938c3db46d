from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from slipway.core.errors import Refused
from slipway.core.project import Project
from slipway.models import maintenance, registry


def write(folder: Path, tier: str, version: str, *, current: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / f"{tier}_{version}_2026-11-22.onnx"
    file.write_bytes(f"{tier} {version}".encode())
    metrics = {
        "rain": {
            "score": "brier",
            "model": {"brier": 0.2},
            "baselines": {"climatology": {"brier": 0.19}, "persistence": {"brier": 0.3}},
            "beats_baselines": False,
        }
    }
    said = {
        "tier": tier,
        "version": version,
        "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "metrics": metrics,
    }
    file.with_suffix(".json").write_text(json.dumps(said))
    if current:
        (folder / f"{tier}_current.onnx").symlink_to(file.name)
    return file


def test_versions_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for version in ("v1.10", "v1.9", "v2.0"):
        write(tmp_path, "tier1", version, current=version == "v1.10")
    found = registry.list_models(tmp_path)
    assert [(item.version, item.current) for item in found] == [
        ("v1.9", False),
        ("v1.10", True),
        ("v2.0", False),
    ]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"tier": "tier1", "version": "v1.0"}'])
def test_without_complete_metadata_there_is_no_model(tmp_path: Path, text: str) -> None:
    write(tmp_path, "tier1", "v1.0").with_suffix(".json").write_text(text)
    assert registry.list_models(tmp_path) == []


def test_without_its_artifact_there_is_no_model(tmp_path: Path) -> None:
    write(tmp_path, "tier1", "v1.0").unlink()
    assert registry.list_models(tmp_path) == []


def test_find_takes_a_version_or_what_is_current(tmp_path: Path) -> None:
    write(tmp_path, "tier1", "v1.0")
    write(tmp_path, "tier1", "v1.1", current=True)
    assert registry.find_model(tmp_path, "tier1", "").version == "v1.1"
    assert registry.find_model(tmp_path, "tier1", "1.0").version == "v1.0"
    with pytest.raises(Refused, match=r"no model tier1 v9.9; there are: tier1 v1.0, tier1 v1.1"):
        registry.find_model(tmp_path, "tier1", "v9.9")


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    file = write(tmp_path, "tier1", "v1.0", current=True)
    (model,) = registry.list_models(tmp_path)
    assert registry.find_damage(model) == ""
    file.write_bytes(b"tier1 v1.1")
    assert "sha256" in registry.find_damage(model)


def test_a_pointer_to_nothing_is_still_a_tier(tmp_path: Path) -> None:
    write(tmp_path, "tier1", "v1.0", current=True).unlink()
    write(tmp_path, "tier2", "v1.0")
    assert registry.served_tiers(tmp_path) == ["tier1"]


def test_a_tier_that_does_not_beat_its_baselines_says_so(tmp_path: Path) -> None:
    write(tmp_path, "tier1", "v1.0")
    (model,) = registry.list_models(tmp_path)
    assert registry.score_summary(model) == {
        "rain": "brier 0.200 (climatology 0.190)",
        "beats baselines": "not in rain",
    }


def test_the_link_of_a_tier_is_moved_and_taken_away(tmp_path: Path) -> None:
    for version in ("v1.0", "v1.1"):
        file = write(tmp_path, "tier1", version)
        registry.point_link(tmp_path, "tier1", file.name)
        assert registry.served_file(tmp_path, "tier1") == file.name
        assert (tmp_path / "tier1_current.onnx").read_bytes() == f"tier1 {version}".encode()
    registry.point_link(tmp_path, "tier1", "tier1_v2.0_2026-11-22.skops")
    assert [path.name for path in tmp_path.glob("*_current.*")] == ["tier1_current.skops"]
    registry.point_link(tmp_path, "tier1", "")
    assert registry.served_file(tmp_path, "tier1") == ""


@pytest.mark.parametrize("target", ["/etc/passwd", "../.env.dev", "../other/tier1_v1.0.onnx", ".."])
def test_a_link_out_of_the_folder_is_named_with_its_whole_target(
    tmp_path: Path, target: str
) -> None:
    folder = tmp_path / "models"
    write(folder, "tier1", "v1.0")
    registry.point_link(folder, "tier1", target)
    assert registry.served_file(folder, "tier1") == target
    assert [item.current for item in registry.list_models(folder)] == [False]
    assert registry.leftover_files(folder) == []
    with pytest.raises(Refused, match=re.escape(f"no model tier1 (current: {target});")):
        registry.find_model(folder, "tier1")


@pytest.mark.parametrize("way", ["", "./", "../models/", "{folder}/"])
def test_a_link_into_the_folder_is_named_by_its_file_whatever_its_way(
    tmp_path: Path, way: str
) -> None:
    folder = tmp_path / "models"
    file = write(folder, "tier1", "v1.0")
    registry.point_link(folder, "tier1", f"{way.format(folder=folder)}{file.name}")
    assert registry.served_file(folder, "tier1") == file.name
    assert [item.current for item in registry.list_models(folder)] == [True]


def test_what_a_killed_writer_left_is_found_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, "tier1", "v1.0", current=True)
    (tmp_path / "tier1_v1.0_2026-11-22.sig").write_text("signed")
    (tmp_path / ".gitkeep").write_text("")
    (tmp_path / "notes.txt").write_text("mine")
    left = [".tier1_current.onnx.7", ".tier1_v1.1_2026-11-22.json.7", "tier1_v1.1_2026-11-22.onnx"]
    for name in left:
        (tmp_path / name).write_text("")
    assert [path.name for path in registry.leftover_files(tmp_path)] == left


def test_metrics_stand_side_by_side(tmp_path: Path) -> None:
    for version in ("v1.0", "v1.1"):
        write(tmp_path, "tier1", version)
    old, new = registry.list_models(tmp_path)
    new.metadata["metrics"]["rain"]["model"] = {"brier": 0.15, "ece": 0.05}
    assert [*registry.metric_differences(old, new)] == [
        {"target": "rain", "metric": "brier", "v1.0": 0.2, "v1.1": 0.15, "change": "-0.050"},
        {"target": "rain", "metric": "ece", "v1.0": None, "v1.1": 0.05, "change": None},
    ]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[" * 100_000, "cannot be read: it is nested too deeply"),
        (f'{{"tier": {"[" * 500}{"]" * 500}}}', "cannot be read: it is nested too deeply"),
        ('{"metrics": NaN}', "cannot be read: it holds a number that is out of range"),
        ("[]", "cannot be read: it is not a JSON object"),
        ("{}", "lacks 'tier'"),
        ('{"tier": 1, "version": "v1.1", "file": "x"}', "cannot be read: its tier is not that of"),
        ('{"tier": "/", "version": "v1.1", "file": "x"}', "cannot be read: its tier is not that"),
        ('{"tier": "tier1", "version": ["v1.1"], "file": "x"}', "cannot be read: 'list'"),
        ('{"tier": "tier1", "version": "v1.1", "file": "../x"}', "cannot be read: Invalid name"),
    ],
)
def test_metadata_that_cannot_be_read_are_named_and_harm_no_other(
    tmp_path: Path, text: str, wrong: str
) -> None:
    write(tmp_path, "tier1", "v1.0", current=True)
    bad = write(tmp_path, "tier1", "v1.1").with_suffix(".json")
    bad.write_text(text)
    assert [model.version for model in registry.list_models(tmp_path)] == ["v1.0"]
    ((name, said),) = registry.unreadable_metadata(tmp_path).items()
    assert (name, said.startswith(wrong)) == (bad.name, True), said
    here = Project(tmp_path, "A", "a", "a")
    (tmp_path / "models").symlink_to(".")
    found = {item.check: item for item in maintenance.verify_models(here)}
    assert found[bad.name].detail == f"{said}; it counts for nothing"


def test_while_a_tier_changes_its_format_the_newer_link_counts(tmp_path: Path) -> None:
    for day, name in enumerate(["tier1_current.onnx", "tier1_current.skops"]):
        (tmp_path / name).symlink_to(f"model{Path(name).suffix}")
        os.utime(tmp_path / name, (day, day), follow_symlinks=False)
    assert registry.served_file(tmp_path, "tier1") == "model.skops"
