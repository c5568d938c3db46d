"""The lock file of images, without an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from slipway.stack.build import digests
from slipway.stack.build.dockerfile import base_images
from tests.support.copies import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO, THREE = (f"sha256:{digit * 64}" for digit in "123")
WANTED = digests.ExternalImages(
    {"api": ("astral/uv:latest", "python:3.13-slim"), "job": ("python:3.13-slim",), "own": ()},
    {"db": "r.example:5000/postgres:17"},
)
DIGESTS = {
    "astral/uv:latest": ONE,
    "python:3.13-slim": TWO,
    "r.example:5000/postgres:17": THREE,
}


def test_the_dockerfiles_of_this_repository_have_base_images() -> None:
    found = {name: base_images(path.read_text(encoding="utf-8")) for name, path in FILES}
    assert all(found.values())


FILES = [
    (str(path.relative_to(REPOSITORY)), path)
    for path in (REPOSITORY / "Dockerfile", *REPOSITORY.glob("services/*/Dockerfile"))
]


def test_the_scheduler_has_the_tools_of_the_server_s_own_version() -> None:
    folder = REPOSITORY / "services"
    if not (folder / "scheduler").is_dir():
        pytest.skip("this repository has no scheduler")
    server = yaml.safe_load((folder / "postgres" / "compose.yaml").read_text())["services"]
    text = (folder / "scheduler" / "Dockerfile").read_text(encoding="utf-8")
    assert text.count(f"FROM {server['postgres']['image']} AS base\n") == 1


def test_what_is_wanted_comes_from_the_models_and_their_dockerfiles(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.13-slim\n")
    model = {
        "api": {"image": "shop-api:dev", "build": {"context": str(tmp_path)}},
        "migrate": {"image": "shop-api:dev"},
        "cache": {"image": "redis"},
        "db": {"image": "postgres:17"},
    }
    without_db = {name: entry for name, entry in model.items() if name != "db"}
    found = digests.external_images([{"services": model}, {"services": without_db}], tmp_path)
    assert found == digests.ExternalImages(
        {"api": ("python:3.13-slim",)}, {"cache": "redis:latest"}, ("db",)
    )
    assert (
        digests.external_images([{"services": without_db}, {"services": model}], tmp_path) == found
    )
    assert found.names == ["python:3.13-slim", "redis:latest"]


def test_the_lock_is_a_compose_file_that_builds_and_deployments_use() -> None:
    uv = f"docker-image://astral/uv:latest@{ONE}"
    python = f"docker-image://python:3.13-slim@{TWO}"
    assert digests.lock_content(WANTED, DIGESTS) == {
        "services": {
            "api": {
                "build": {"additional_contexts": {"astral/uv": uv, "python:3.13-slim": python}}
            },
            "db": {"image": f"r.example:5000/postgres:17@{THREE}"},
            "job": {"build": {"additional_contexts": {"python:3.13-slim": python}}},
        }
    }


def test_a_lock_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    text = digests.lock_text(digests.lock_content(WANTED, DIGESTS))
    digests.write_lock(tmp_path / "compose.lock.yaml", text)
    assert [path.name for path in tmp_path.iterdir()] == ["compose.lock.yaml"]
    read = (tmp_path / "compose.lock.yaml").read_text()
    assert yaml.safe_load(read) == digests.lock_content(WANTED, DIGESTS)
    assert digests.locked_digests(read) == DIGESTS
    python = f"docker-image://python:3.13-slim@{TWO}"
    uv = f"docker-image://astral/uv:latest@{ONE}"
    assert digests.locked_contexts(tmp_path) == {"astral/uv": uv, "python:3.13-slim": python}


def test_without_a_lock_a_build_gets_its_base_images_by_name(tmp_path: Path) -> None:
    assert digests.locked_contexts(tmp_path) == {}
    (tmp_path / "compose.lock.yaml").write_text("services: {db: {image: postgres}, own: {}}")
    assert digests.locked_contexts(tmp_path) == {}


def test_what_moved_is_named() -> None:
    assert digests.moved_images(DIGESTS, DIGESTS) == []
    now = {"python:3.13-slim": THREE, "r.example:5000/postgres:17": THREE, "caddy:2": ONE}
    assert digests.moved_images(DIGESTS, now) == [
        "caddy:2 is not in compose.lock.yaml",
        "astral/uv:latest is no longer used",
        "python:3.13-slim has moved from sha256:222222222222 to sha256:333333333333",
    ]
