from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from slipway.config.compose_file import (
    PROFILE_FILES,
    merged_entries,
    needed_services,
    read_profiles,
    read_services,
    read_yaml,
)
from slipway.core.errors import Refused
from tests.support.copies import REPOSITORY

if TYPE_CHECKING:
    from tests.support.scratch import Scratch


def test_included_files_are_read(scratch: Scratch) -> None:
    scratch.write(
        "compose.yaml", "include: [services/a/compose.yaml, {path: services/b/compose.yaml}]"
    )
    scratch.write("services/a/compose.yaml", "services: {a: {image: a}}")
    scratch.write("services/b/compose.yaml", "services: {b: {image: b}}")
    folder = scratch.root / "services"
    assert read_services(scratch.root) == {
        "a": {"folder": folder / "a", "image": "a"},
        "b": {"folder": folder / "b", "image": "b"},
    }


@pytest.mark.parametrize(
    ("files", "message", "fix"),
    [
        ({"compose.yaml": "include: [gone.yaml]"}, "gone.yaml", "each `include`"),
        ({"compose.yaml": "services: {a: ["}, "compose.yaml", "edit .*compose.yaml"),
        ({"compose.yaml": "- a list"}, "not a mapping", "edit .*compose.yaml"),
        (
            {"compose.yaml": "include: [b.yaml]\nservices: {a: {}}", "b.yaml": "services: {a: {}}"},
            "b.yaml: the service a is defined in another file too",
            "rename",
        ),
        (
            {
                "compose.yaml": "include: [b.yaml]",
                "b.yaml": "services: {b: {extends: {file: c.yaml, service: c}}}",
                "c.yaml": "services: {d: {}}",
            },
            "c.yaml has no service 'c'",
            "edit .*b.yaml",
        ),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_place(
    scratch: Scratch, files: dict[str, str], message: str, fix: str
) -> None:
    for name, text in files.items():
        scratch.write(name, text)
    with pytest.raises(Refused, match=f"(?s){message}.*-> {fix}"):
        read_services(scratch.root)


def test_only_profiles_with_a_file_are_read(scratch: Scratch) -> None:
    assert [*read_profiles(scratch.root)] == ["dev"]
    scratch.write("compose.prod.yaml", "services: {web: {image: web}}")
    assert read_profiles(scratch.root)["prod"] == {"web": {"folder": scratch.root, "image": "web"}}


def test_a_plain_list_of_needs_has_composes_usual_condition() -> None:
    assert needed_services({"depends_on": ["a"]}) == {"a": "service_started"}
    assert needed_services({"depends_on": {"a": {"condition": "service_healthy"}}}) == {
        "a": "service_healthy"
    }


def test_profiles_are_composed_as_compose_does_it() -> None:
    if not shutil.which("docker"):
        pytest.skip("no `docker compose` to compare with")
    for file in PROFILE_FILES.values():
        command = ["docker", "compose", "--profile", "*", "--file", file, "config"]
        done = subprocess.run(
            [*command, "--no-interpolate", "--format", "json"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        theirs = json.loads(done.stdout)["services"]
        ours = read_services(REPOSITORY, file)
        assert theirs.keys() == ours.keys()
        for name, service in theirs.items():
            assert service["image"] == ours[name]["image"]
            assert service.get("command") == ours[name].get("command")
            assert len(service.get("ports", [])) == len(ours[name].get("ports", []))
            assert len(service.get("volumes", [])) == len(ours[name].get("volumes", []))
            assert {*service.get("environment", {})} == {*ours[name].get("environment", {})}
            assert {*service.get("depends_on", {})} == {*ours[name].get("depends_on", {})}


def test_what_is_put_on_top_wins_and_lists_are_put_together() -> None:
    below = {"command": ["a"], "ports": ["1"], "deploy": {"limits": {"cpus": "1", "pids": 5}}}
    above = {"command": ["b"], "ports": ["1", "2"], "deploy": {"limits": {"cpus": "2"}}}
    assert merged_entries(below, above) == {
        "command": ["b"],
        "ports": ["1", "2"],
        "deploy": {"limits": {"cpus": "2", "pids": 5}},
    }


@pytest.mark.parametrize("file", PROFILE_FILES.values())
def test_every_folder_of_services_is_included_once(file: str) -> None:
    included = [entry["path"][0] for entry in read_yaml(REPOSITORY / file)["include"]]
    folders = [
        str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("services/*/compose.yaml")
    ]
    assert sorted(included) == sorted(folders)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("a: " + "[" * 100_000, "nested too deeply"),
        ("{a: " * 5000, "nested too deeply"),
        ("- " * 5000, "nested too deeply"),
        ("a: 2026-99-99", "month must be in"),
        ("a: \x00", "control characters"),
        ("[1]", "its top level is not a mapping"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(scratch: Scratch, text: str, wrong: str) -> None:
    """The quick loader follows any depth, and ends the process with a signal."""
    scratch.write("compose.yaml", text)
    with pytest.raises(Refused, match=f"compose.yaml: .*{wrong}"):
        read_yaml(scratch.root / "compose.yaml")
