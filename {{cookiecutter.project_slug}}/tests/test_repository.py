"""Whether pages, locks, pins and the schema of variables are up to date."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from slipway.config import reference, schema, usage
from slipway.config.compose_file import PROFILE_FILES
from slipway.core.project import load
from slipway.stack import inventory
from slipway.stack.build.locks import WHOLE, compile_commands, image_locks

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = load(REPOSITORY)
ON_TOP = {"services/pipeline/ray.txt", "services/worker-llm/transformers.txt"}
"""Locks of what is installed beside the rest, and only on request."""
LOCKS = WHOLE | image_locks(REPOSITORY)


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def pins(lock: str) -> set[tuple[str, str]]:
    """Return names without extras, and versions."""
    return {*re.findall(r"^([a-z0-9._-]+)\S*==(\S+)", read(lock), flags=re.MULTILINE)}


@pytest.mark.parametrize("name", [reference.PAGE, reference.EXAMPLE])
def test_pages_about_variables_are_up_to_date(name: str) -> None:
    write = {reference.PAGE: reference.page, reference.EXAMPLE: reference.example}[name]
    assert read(name) == write(schema.read(PROJECT)), "to renew it, run: inv env.docs"


def test_the_inventory_is_up_to_date() -> None:
    readers = schema.read_by(item for item in schema.read(PROJECT) if not item.setting)
    page = inventory.inventory_page(inventory.read_components(REPOSITORY, readers))
    renew = f"to renew it, run: inv stack.inventory > {inventory.PAGE}"
    assert read(inventory.PAGE) == page, renew


def test_the_schema_describes_the_variables_that_are_used() -> None:
    findings = [*usage.findings(usage.find_usage(PROJECT), schema.read(PROJECT))]
    assert findings == []


@pytest.mark.parametrize("profile", PROFILE_FILES.values())
def test_every_folder_of_services_is_included_once(profile: str) -> None:
    entries = yaml.safe_load(read(profile))["include"]
    included = [entry["path"][0] if isinstance(entry, dict) else entry for entry in entries]
    folders = REPOSITORY.glob("services/*/compose.yaml")
    assert sorted(included) == sorted(str(path.relative_to(REPOSITORY)) for path in folders)


@pytest.mark.parametrize("lock", LOCKS.values())
def test_every_locked_package_has_a_hash(lock: str) -> None:
    text = re.sub(r"^ *#.*\n", "", read(lock), flags=re.MULTILINE)
    assert "://" not in text, "a lock names no package index"
    for entry in re.split(r"\n(?=[a-z])", text):
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+ ", entry), entry
        assert "--hash=sha256:" in entry, entry


@pytest.mark.parametrize("lock", sorted({*image_locks(REPOSITORY).values()} - ON_TOP))
def test_images_have_the_versions_of_requirements_txt(lock: str) -> None:
    assert pins(lock) <= pins("requirements.txt")


def test_locks_hold_what_the_in_files_ask_for(tmp_path: Path) -> None:
    shared = (str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("src/*/*/*.in"))
    for name in (*LOCKS, *LOCKS.values(), *shared):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    for lock, command in compile_commands(tmp_path, upgrade=False).items():
        done = subprocess.run(
            [*command, "--offline"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"the package cache is incomplete: {done.stderr.strip()[:200]}")
        assert locked(tmp_path / lock) == locked(REPOSITORY / lock), "run: inv deps.lock"


def locked(lock: Path) -> str:
    """Read packages and hashes, without the comments and platform markers.

    After a service was removed, a lock may still name more of both.
    """
    text = re.sub(r"^ *#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return re.sub(r" ; .*(?= \\$)", "", text, flags=re.MULTILINE)


def test_hooks_run_the_locked_tools() -> None:
    repositories = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    hooks = [hook for repository in repositories for hook in repository["hooks"]]
    pinned = {need for hook in hooks for need in hook.get("additional_dependencies", [])}
    locked_tools = {f"{name}=={version}" for name, version in pins("requirements-dev.txt")}
    assert {need for need in pinned if "==" in need} <= locked_tools
