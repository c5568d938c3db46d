import hashlib
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from devtools import bake as baking
from tests.conftest import Bake, cut
from tests.support.copies import git

SETTINGS = baking.settings()
TABLE = SETTINGS["__services"]
# Every preset as it is, and every service alone with what it needs.
MATRIX = [
    *({"preset": preset} for preset in SETTINGS["_presets"]),
    *({"services": service} for service in TABLE),
]
PROFILES = ("compose.yaml", "compose.staging.yaml", "compose.prod.yaml")
NAMES = {
    "project_name": "Wetter für Köln & Umgebung's #1",
    "description": "It's fine: really; 100 % of it -- & <b>more</b>, #1",
    "author": "Zoë: O'Neill, d'après 日本",
}
matrix = pytest.mark.parametrize("answers", MATRIX, ids=lambda answers: "-".join(answers.values()))


@pytest.fixture(scope="module")
def bake_once(template: Path, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Bake:
    """Return a function that bakes the first time that answers are given; nobody changes it."""
    made: dict[frozenset[tuple[str, str]], Path] = {}

    def baked(**answers: str) -> Path:
        said = frozenset(answers.items())
        if said not in made:
            made[said] = cut(template, home, tmp_path_factory.mktemp("once"), **answers)
        return made[said]

    return baked


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def chosen(answers: dict[str, str]) -> set[str]:
    """Work out which services a bake has, apart from the hook that does it."""
    named = answers.get("services") or SETTINGS["_presets"][answers["preset"]]
    return needed(re.findall(r"[\w-]+", named))


def needed(services: list[str]) -> set[str]:
    found = {*services}
    while more := {need for service in found for need in TABLE[service]["needs"]} - found:
        found |= more
    return found


def paths(services: Collection[str]) -> set[str]:
    return baking.owned_paths(services, "weather_forecast")


def owned(name: str, patterns: set[str]) -> bool:
    return any(Path(name).match(pattern) or name.startswith(f"{pattern}/") for pattern in patterns)


def digest(project: Path) -> str:
    parts = (path.read_bytes() for path in sorted(project.rglob("*.py")))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def is_needed(name: str, there: set[str]) -> bool:
    """Say whether any service there needs a module of slipway/, and all folders that it is in."""
    file = baking.TEMPLATE / name
    folders = (folder / "__init__.py" for folder in file.parents if folder != baking.TEMPLATE)
    said = [path.read_text(encoding="utf-8") for path in (file, *folders) if path.is_file()]
    needs = [one for text in said for one in re.findall(r"^NEEDS = \((.*)\)", text, re.MULTILINE)]
    return all(there & {*re.findall(r'"([\w-]+)"', services)} for services in needs)


@matrix
def test_a_bake_holds_exactly_the_files_of_its_services(
    bake: Bake, answers: dict[str, str], template_files: set[str]
) -> None:
    there = chosen(answers)
    gone = {name: (paths([name]), paths(there - needed([name]))) for name in {*TABLE} - there}
    rendered = (
        name.replace("{{cookiecutter.package_name}}", "weather_forecast") for name in template_files
    )
    assert files(bake(**answers)) == {
        name
        for name in rendered
        if (not name.startswith("slipway/") or is_needed(name, there))
        and not any(owned(name, own) and not owned(name, shared) for own, shared in gone.values())
    }


@matrix
def test_a_bake_includes_exactly_its_services(bake_once: Bake, answers: dict[str, str]) -> None:
    project, services = bake_once(**answers), chosen(answers)
    for profile in PROFILES:
        compose = yaml.safe_load((project / profile).read_text(encoding="utf-8"))
        included = [entry["path"][0] for entry in compose["include"]]
        assert sorted(included) == sorted(
            f"services/{service}/compose.yaml" for service in services
        )
    required = re.findall("-r (.*)", (project / "requirements.in").read_text(encoding="utf-8"))
    assert all((project / name).is_file() for name in required)


@matrix
def test_a_bake_s_inventory_is_of_its_services(
    bake_once: Bake, answers: dict[str, str], tools: Path
) -> None:
    project = bake_once(**answers)
    done = subprocess.run(
        [tools / "inv", "stack.inventory"], cwd=project, capture_output=True, text=True, check=True
    )
    assert done.stdout == (project / "docs" / "inventory.md").read_text(encoding="utf-8")
    assert {*re.findall(r"^## (.*)", done.stdout, re.MULTILINE)} == chosen(answers)


@matrix
def test_a_bake_describes_the_variables_of_its_services(
    bake_once: Bake, answers: dict[str, str], tools: Path
) -> None:
    project = bake_once(**answers)
    pages = [project / "docs" / "env.md", project / ".env.example"]
    before = [page.read_text(encoding="utf-8") for page in pages]
    given = dict.fromkeys(
        ("API_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD"), "a-key-that-was-made-up"
    )
    for task in (["env.docs"], ["env.check", "--json"]):
        done = subprocess.run(
            [tools / "inv", *task],
            cwd=project,
            env={**os.environ, **given},
            capture_output=True,
            text=True,
            check=True,
        )
    assert [page.read_text(encoding="utf-8") for page in pages] == before
    assert [found["state"] for found in json.loads(done.stdout)] == ["ok"]


def composed(project: Path, *names: str) -> dict[str, Any]:
    """Ask compose what becomes of files that are put on top of each other."""
    if not shutil.which("docker"):
        if os.environ.get("REQUIRE_ENGINE") == "1":
            pytest.fail("REQUIRE_ENGINE=1, and there is no docker compose")
        pytest.skip("no docker compose to ask")
    done = subprocess.run(
        [
            *("docker", "compose", "--profile", "*"),
            *(word for name in names for word in ("--file", name)),
            "config",
        ],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return services


@matrix
@pytest.mark.parametrize("profile", PROFILES)
def test_compose_takes_every_profile_of_a_bake(
    bake_once: Bake, answers: dict[str, str], profile: str
) -> None:
    project = bake_once(**answers)
    files = (project / "services" / name / "compose.yaml" for name in chosen(answers))
    read = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in files)
    assert {name for file in read for name in file["services"]} <= composed(project, profile).keys()


@pytest.mark.parametrize("profile", PROFILES)
def test_gpus_are_for_what_trains_and_what_serves(bake_once: Bake, profile: str) -> None:
    services = composed(bake_once(), profile, "compose.gpu.yaml")
    limits = {name: service["deploy"]["resources"] for name, service in services.items()}
    held = {name: limit["reservations"] for name, limit in limits.items() if len(limit) > 1}
    (devices,) = held["api"].values()
    assert [(one["driver"], one["capabilities"]) for one in devices] == [("nvidia", ["gpu"])]
    assert held == {"api": {"devices": devices}, "prepare": {"devices": devices}}
    assert all(limit["limits"]["memory"] for limit in limits.values())


@matrix
def test_a_bake_has_no_markers_left(bake_once: Bake, answers: dict[str, str]) -> None:
    project = bake_once(**answers)
    for name in files(project):
        text = (project / name).read_bytes().decode(errors="ignore")
        copied = any(fnmatch(name, pattern) for pattern in SETTINGS["_copy_without_render"])
        marker = r"cookiecutter\." if copied else r"cookiecutter\.|\{\{|\{%"
        assert not re.search(marker, f"{name}\n{text}"), f"{name} holds a marker"


CHECKED: dict[str, str] = {}


@matrix
def test_a_bake_is_clean_as_it_comes_out(
    bake_once: Bake, answers: dict[str, str], tools: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = bake_once(**answers)
    if (code := digest(project)) in CHECKED:
        return  # the same code has been checked in another bake
    CHECKED[code] = project.name
    cache = tmp_path_factory.getbasetemp() / "mypy"
    for command in (
        ["ruff", "check", "--no-cache", "--output-format=concise"],
        ["ruff", "format", "--check", "--no-cache"],
        ["mypy", "--cache-dir", str(cache)],
    ):
        done = subprocess.run(
            [tools / command[0], *command[1:]],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_baking_twice_gives_the_same_bytes(bake: Bake, tmp_path: Path) -> None:
    one, two = bake(tmp_path / "one"), bake(tmp_path / "two")
    assert files(one) == files(two)
    for name in files(one):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_slipway_is_the_same_in_every_repository(bake: Bake) -> None:
    project = bake(project_name="Something Else")
    for name in files(project / "slipway"):
        assert (project / "slipway" / name).read_bytes() == (
            baking.TEMPLATE / "slipway" / name
        ).read_bytes()


def test_a_bake_with_awkward_names_is_valid_in_every_syntax(bake: Bake) -> None:
    project = bake(**NAMES)
    for path in project.rglob("*.toml"):
        tomllib.loads(path.read_text(encoding="utf-8"))
    for path in (*project.rglob("*.yaml"), *project.rglob("*.yml")):
        list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def test_the_answers_and_the_template_are_recorded(bake: Bake, template: Path) -> None:
    recorded = tomllib.loads((bake(**NAMES) / "project.toml").read_text(encoding="utf-8"))
    assert {key: recorded["answers"][key] for key in NAMES} == NAMES
    assert [*recorded["answers"]] == baking.questions()
    version = SETTINGS["_template_version"]
    assert recorded["template"] == {"address": str(template), "commit": "", "version": version}
    assert recorded["project"]["slug"] == "wetter-fur-koln-umgebung-s-1"


def test_the_template_is_valid_toml_in_place() -> None:
    for path in baking.TEMPLATE.rglob("*.toml"):
        tomllib.loads(path.read_text(encoding="utf-8"))


def test_locks_name_no_index() -> None:
    locks = [*baking.ROOT.glob("requirements*.txt"), *baking.TEMPLATE.glob("requirements*.txt")]
    assert len(locks) == 4
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index" not in text
        assert text.count("--hash=sha256:") > text.count("==")


def test_a_bake_on_a_path_with_spaces_offers_its_tasks(
    bake: Bake, tmp_path: Path, tools: Path
) -> None:
    project = bake(tmp_path / "a path with späces")
    done = subprocess.run(
        [tools / "inv", "--list"], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "deploy.up" in done.stdout


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Wetter für Köln", "wetter-fur-koln"),
        ("日本 Weather", "ri-ben-weather"),
        (
            "A very long name, much longer than any folder should be called",
            "a-very-long-name-much-longer-than-any-be",
        ),
    ],
)
def test_a_name_becomes_a_folder_and_a_package(bake: Bake, name: str, slug: str) -> None:
    project = bake(project_name=name)
    assert project.name == slug
    assert (project / "src" / slug.replace("-", "_")).is_dir()


@pytest.mark.parametrize(
    ("answers", "first", "last"),
    [
        ({}, "Copyright (c) A B. All rights reserved.", "copyright holder."),
        ({"license": "MIT"}, "MIT License", "SOFTWARE."),
        ({"license": "Apache-2.0"}, "                                 Apache License", "License."),
    ],
)
def test_a_bake_has_the_license_that_was_chosen(
    bake: Bake, answers: dict[str, str], first: str, last: str
) -> None:
    project = bake(author="A B", **answers)
    text = (project / "LICENSE").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert (lines[0], lines[-1].endswith(last)) == (first, True)
    assert text.endswith("\n")
    assert not re.search(r"\n\n$|[{}]", text)
    assert sum("Copyright" in line and "A B" in line for line in lines) == 1
    readme = (project / "README.md").read_text(encoding="utf-8")
    assert f"\n{answers.get('license', 'proprietary')}: see [LICENSE](LICENSE)." in readme


def test_lines_end_with_lf_also_in_a_clone_that_would_change_them(
    bake: Bake, template: Path, tmp_path: Path
) -> None:
    for number, folder in enumerate((template, bake())):
        first, clone = (tmp_path / f"{kind}-{number}" for kind in ("first", "clone"))
        shutil.copytree(folder, first)
        git(first, "init", "--quiet")
        git(first, "add", "--all")
        git(first, "commit", "--quiet", "--message", "All")
        git(tmp_path, "clone", "--quiet", "--config", "core.autocrlf=true", str(first), str(clone))
        texts = {name for name in files(clone) if not name.startswith(".git/")}
        assert texts > {".gitattributes", "README.md"}
        broken = {name for name in texts if b"\r\n" in (clone / name).read_bytes()}
        assert {name for name in broken if not name.endswith(".png")} == set()
