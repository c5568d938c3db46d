import json
import re
from pathlib import Path

import pytest

from devtools import bake

SETTINGS = bake.settings()


def test_at_most_eight_questions_each_with_a_prompt_of_its_own() -> None:
    assert list(SETTINGS["__prompts__"]) == bake.questions()
    assert len(bake.questions()) <= 8
    assert len({*SETTINGS["__prompts__"].values()}) == len(bake.questions())


def test_a_preset_names_services_that_exist() -> None:
    for services in SETTINGS["_presets"].values():
        assert {*re.findall(r"[\w-]+", services)} <= {*SETTINGS["__services"]}


def test_every_preset_is_named_in_its_prompt() -> None:
    for preset in SETTINGS["_presets"]:
        assert preset in SETTINGS["__prompts__"]["preset"]


def test_every_license_is_named_in_its_prompt_and_the_default_is_one() -> None:
    assert SETTINGS["license"] in SETTINGS["_licenses"]
    for name in SETTINGS["_licenses"]:
        assert name in SETTINGS["__prompts__"]["license"]


def test_services_need_services_that_exist() -> None:
    for entry in SETTINGS["__services"].values():
        assert {*entry["needs"]} <= {*SETTINGS["__services"]}


def test_every_folder_of_services_is_in_the_table_and_the_other_way_round() -> None:
    places = (bake.TEMPLATE / "services").iterdir()
    assert {path.name for path in places if path.is_dir()} == {*SETTINGS["__services"]}


def test_the_table_lists_few_paths() -> None:
    listed = [path for entry in SETTINGS["__services"].values() for path in entry.get("paths", ())]
    assert len(listed) <= 22


def test_every_owned_path_exists(template_files: set[str]) -> None:
    for service in SETTINGS["__services"]:
        for pattern in bake.owned_paths([service], "{{cookiecutter.package_name}}"):
            assert any(
                Path(name).match(pattern) or name.startswith(f"{pattern}/")
                for name in template_files
            ), f"{service} owns {pattern}, which matches no file"


@pytest.mark.parametrize("profile", ["compose.yaml", "compose.staging.yaml", "compose.prod.yaml"])
def test_every_profile_includes_each_service_by_one_line(profile: str) -> None:
    text = (bake.TEMPLATE / profile).read_text(encoding="utf-8")
    for service in SETTINGS["__services"]:
        assert text.count(f"  - path: [services/{service}/compose.yaml") == 1


def test_cookiecutter_json_is_plain_json() -> None:
    assert json.loads((bake.ROOT / "cookiecutter.json").read_bytes()) == SETTINGS
