from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.config.compose_file import read_profiles
from slipway.config.reference import ProfileEntry
from slipway.config.schema import read, read_by
from slipway.core.project import load
from slipway.stack.inventory import StackComponent, port_text, read_components
from tests.stack.test_dockerfile import DOCKERFILE
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


def test_every_service_of_every_profile_is_on_it() -> None:
    shown = {component.service for component in read_components(REPOSITORY, READ)}
    for services in read_profiles(REPOSITORY).values():
        assert services.keys() == shown


def test_a_component_is_read_from_its_files_and_its_image(scratch: Scratch) -> None:
    include = "include: [{path: [services/web/compose.yaml, services/web/compose.dev.yaml]}]"
    scratch.write("compose.yaml", include)
    for profile in ("staging", "prod"):
        scratch.write(f"compose.{profile}.yaml", "include: [services/web/compose.yaml]")
    scratch.write("services/hardened.yaml", HARDENED)
    scratch.write("services/web/compose.yaml", WEB)
    scratch.write("services/web/compose.dev.yaml", DEV)
    scratch.write("services/web/Dockerfile", DOCKERFILE)
    step, web = read_components(scratch.root, {})
    assert (step.service, step.health_check) == ("step", ())
    assert web == StackComponent(
        service="web",
        folder="web",
        command=(
            ProfileEntry("python web.py --reload", ("dev",)),
            ProfileEntry("python web.py", ("staging", "prod")),
        ),
        image=(
            ProfileEntry("${REGISTRY:-here}/web"),
            ProfileEntry("services/web/Dockerfile --target web"),
        ),
        ports=(
            ProfileEntry("127.0.0.1:${WEB_PORT:-80}:80", ("dev",)),
            ProfileEntry("127.0.0.1:8081:81", ("dev",)),
        ),
        depends_on=(ProfileEntry("step completed successfully"),),
        volumes=(
            ProfileEntry("cache:/cache"),
            ProfileEntry("./models:/app/models"),
            ProfileEntry("./log:/app/log"),
        ),
        environment=(ProfileEntry("API_KEY"), ProfileEntry("LEVEL")),
        filled_in=(
            ProfileEntry("KEY"),
            ProfileEntry("REGISTRY"),
            ProfileEntry("WEB_PORT", ("dev",)),
        ),
        health_check=(ProfileEntry('ask "it\'s well"'),),
        as_a_process=(ProfileEntry("python web.py {WEB_PORT}"),),
    )


def test_a_port_is_written_in_short() -> None:
    assert port_text({"target": 80}) == "80"
    assert (
        port_text({"target": 80, "published": "${P}", "host_ip": "127.0.0.1"})
        == "127.0.0.1:${P}:80"
    )
