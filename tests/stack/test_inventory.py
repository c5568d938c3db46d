from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from slipway.config.schema import read, read_by
from slipway.core.project import load
from slipway.stack.inventory import (
    PAGE,
    Component,
    Entry,
    Image,
    cell,
    components,
    composed,
    dockerfile,
    files,
    merged,
    page,
    port,
    words,
)
from tests.support.copies import REPOSITORY

if TYPE_CHECKING:
    from tests.support.scratch import Scratch

READ = read_by(read(load(REPOSITORY)))
HARDENED = """
services:
  hardened: {init: true, volumes: ["cache:/cache"], environment: {LEVEL: info}}
"""
WEB = """
services:
  step:
    image: ${REGISTRY:-here}/web
    command: [python, -m, step]
    healthcheck: {disable: true}
  web:
    extends: {file: ../hardened.yaml, service: hardened}
    image: ${REGISTRY:-here}/web
    build: {context: ., target: web}
    environment: {API_KEY: "${KEY:?missing}"}
    volumes: ["../../models:/app/models", {type: bind, source: ../../log, target: /app/log}]
    depends_on: {step: {condition: service_completed_successfully}}
    x-local: {command: "python web.py {WEB_PORT}"}
"""
DEV = """
services:
  web:
    command: [python, web.py, --reload]
    ports: ["127.0.0.1:${WEB_PORT:-80}:80", {target: 81, published: 8081, host_ip: 127.0.0.1}]
"""
DOCKERFILE = """
FROM python:3 AS base
HEALTHCHECK --interval=5s CMD ["ask", "it's well"]
FROM base AS web
# what it does
CMD ["python", \\
     "web.py"]
FROM web
"""


def test_the_page_is_what_the_task_prints() -> None:
    text = (REPOSITORY / PAGE).read_text(encoding="utf-8")
    assert text == page(components(REPOSITORY, READ)), f"inv stack.inventory > {PAGE}"


def test_every_service_of_every_profile_is_on_it() -> None:
    shown = {component.service for component in components(REPOSITORY, READ)}
    for file in files().values():
        assert composed(REPOSITORY, file).keys() == shown


def test_profiles_are_composed_as_compose_does_it() -> None:
    if not shutil.which("docker"):
        pytest.skip("no `docker compose` to compare with")
    for file in files().values():
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
        ours = composed(REPOSITORY, file)
        assert theirs.keys() == ours.keys()
        for name, service in theirs.items():
            assert service["image"] == ours[name]["image"]
            assert service.get("command") == ours[name].get("command")
            assert len(service.get("ports", [])) == len(ours[name].get("ports", []))
            assert len(service.get("volumes", [])) == len(ours[name].get("volumes", []))
            assert {*service.get("environment", {})} == {*ours[name].get("environment", {})}
            assert {*service.get("depends_on", {})} == {*ours[name].get("depends_on", {})}


def test_a_component_is_read_from_its_files_and_its_image(scratch: Scratch) -> None:
    include = "include: [{path: [services/web/compose.yaml, services/web/compose.dev.yaml]}]"
    scratch.write("compose.yaml", include)
    for profile in ("staging", "prod"):
        scratch.write(f"compose.{profile}.yaml", "include: [services/web/compose.yaml]")
    scratch.write("services/hardened.yaml", HARDENED)
    scratch.write("services/web/compose.yaml", WEB)
    scratch.write("services/web/compose.dev.yaml", DEV)
    scratch.write("services/web/Dockerfile", DOCKERFILE)
    step, web = components(scratch.root, {})
    assert (step.service, step.health_check) == ("step", ())
    assert web == Component(
        service="web",
        folder="web",
        command=(
            Entry("python web.py --reload", ("dev",)),
            Entry("python web.py", ("staging", "prod")),
        ),
        image=(Entry("${REGISTRY:-here}/web"), Entry("services/web/Dockerfile --target web")),
        ports=(
            Entry("127.0.0.1:${WEB_PORT:-80}:80", ("dev",)),
            Entry("127.0.0.1:8081:81", ("dev",)),
        ),
        depends_on=(Entry("step completed successfully"),),
        volumes=(Entry("cache:/cache"), Entry("./models:/app/models"), Entry("./log:/app/log")),
        environment=(Entry("API_KEY"), Entry("LEVEL")),
        filled_in=(Entry("KEY"), Entry("REGISTRY"), Entry("WEB_PORT", ("dev",))),
        health_check=(Entry('ask "it\'s well"'),),
        as_a_process=(Entry("python web.py {WEB_PORT}"),),
    )


def test_what_is_put_on_top_wins_and_lists_are_put_together() -> None:
    below = {"command": ["a"], "ports": ["1"], "deploy": {"limits": {"cpus": "1", "pids": 5}}}
    above = {"command": ["b"], "ports": ["1", "2"], "deploy": {"limits": {"cpus": "2"}}}
    assert merged(below, above) == {
        "command": ["b"],
        "ports": ["1", "2"],
        "deploy": {"limits": {"cpus": "2", "pids": 5}},
    }


def test_a_stage_has_what_it_is_made_from_has() -> None:
    stages = dockerfile(DOCKERFILE)
    assert stages["base"] == Image("as in python:3", 'ask "it\'s well"')
    assert stages["web"] == Image("python web.py", 'ask "it\'s well"')
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
    assert words(command) == written


def test_a_port_is_written_in_short() -> None:
    assert port({"target": 80}) == "80"
    assert port({"target": 80, "published": "${P}", "host_ip": "127.0.0.1"}) == "127.0.0.1:${P}:80"


def test_a_cell_is_safe_in_a_table() -> None:
    assert cell(()) == "-"
    assert cell((Entry("a | b"), Entry("c", ("dev",)))) == r"`a \| b`<br>`c` (dev)"
