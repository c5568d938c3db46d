"""Dockerfiles, read without an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devtools.bake import TEMPLATE
from slipway.core.errors import Refused
from slipway.stack.build.dockerfile import (
    DockerfileStage,
    base_images,
    read_instructions,
    read_stages,
    typed_command,
)

if TYPE_CHECKING:
    from pathlib import Path

DOCKERFILES = sorted(TEMPLATE.rglob("*Dockerfile*"))

DOCKERFILE = """
FROM python:3 AS base
HEALTHCHECK --interval=5s CMD \\
    ["ask", "it's well"]
FROM base AS web
# what it does
CMD ["python", \\
     "web.py"]
FROM web
"""


def test_a_stage_has_what_it_is_made_from_has() -> None:
    stages = read_stages(DOCKERFILE)
    assert stages["base"] == DockerfileStage("as in python:3", 'ask "it\'s well"')
    assert stages["web"] == DockerfileStage("python web.py", 'ask "it\'s well"')
    assert [*stages.values()][-1] == stages["web"]


@pytest.mark.parametrize(
    ("command", "written"),
    [
        (["run", "a b"], "run 'a b'"),
        (["say", "it's"], 'say "it\'s"'),
        (["say", "it's $5"], "say 'it'\"'\"'s $5'"),
        ("as it is", "as it is"),
        (None, ""),
    ],
)
def test_a_command_is_written_as_one_would_type_it(
    command: str | list[str] | None, written: str
) -> None:
    assert typed_command(command) == written


def test_base_images_are_found_wherever_a_dockerfile_names_one() -> None:
    text = """
# FROM nothing:1
ARG PYTHON=3.13
ARG UNUSED
FROM --platform=linux/amd64 python:${PYTHON}-slim AS Build
COPY --from=astral/uv /uv /bin/
RUN --mount=type=cache,target=/cache \\
    --mount=type=bind,from=busybox:1.37,source=/bin,target=/tools true
FROM scratch AS files
COPY --from=Build /a /a
FROM r.example:5000/node
COPY --from=0 /a /a
FROM pinned@sha256:0 AS last
FROM files
"""
    assert base_images(text) == [
        "astral/uv:latest",
        "busybox:1.37",
        "python:3.13-slim",
        "r.example:5000/node:latest",
    ]


def test_a_default_counts_only_before_the_first_stage() -> None:
    assert base_images("ARG TAG=1\nFROM python:${TAG}\n") == ["python:1"]
    with pytest.raises(Refused, match="'TAG', which has no default"):
        base_images("FROM python:1\nARG TAG=2\nFROM python:${TAG}\n")


def test_a_base_image_named_by_nothing_is_refused() -> None:
    with pytest.raises(Refused, match="'TAG', which has no default"):
        base_images("FROM python:${TAG}\n")


def options(rest: str) -> set[str]:
    return {word.partition("=")[0] for word in rest.split() if word.startswith("--")}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_what_is_copied_from_the_repository_has_a_mode_of_its_own(path: Path) -> None:
    """A stage that is copied from has set its modes itself."""
    copies = [
        f"{keyword} {rest}"
        for keyword, rest in read_instructions(path.read_text(encoding="utf-8"))
        if keyword in {"ADD", "COPY"} and "--from" not in options(rest)
    ]
    assert copies
    assert [line for line in copies if "--chmod" not in options(line)] == []
