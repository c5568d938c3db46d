"""Secrets that a container engine shows, found on a real one."""

from __future__ import annotations

import io
import json
import secrets
import tarfile
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from slipway.core import shell
from slipway.secret.scan_git import THOROUGH
from slipway.tasks import findings
from tests.support.scratch import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import docker

    from slipway.core.errors import Finding
    from tests.support.scratch import Scratch

COMPOSE = """
services:
  web:
    image: ${{REGISTRY:-localhost}}/{name}-web:dev
    build: .
    x-local: {{command: "true", health: "http://127.0.0.1:{{WEB_PORT}}/"}}
  elsewhere:
    image: postgres:17
    environment: [APP_ENV, API_KEY, WEB_URL]
"""


class Stack:
    """An image and containers as a stack of this name has them; nothing of it runs."""

    def __init__(self, client: docker.DockerClient, scratch: Scratch) -> None:
        self.client = client
        self.scratch = scratch
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        self.value = secrets.token_urlsafe(32)
        self.image = f"localhost/{self.name}-web:dev"
        scratch.write("compose.yaml", COMPOSE.format(name=self.name))
        scratch.write(".env.dev", f"API_KEY={self.value}\n").chmod(0o600)

    def build(self, *lines: str, files: dict[str, str] | None = None) -> None:
        """Build the image from nothing; no base has to be there."""
        context = io.BytesIO()
        texts = {"empty": "", **(files or {})}
        texts["Dockerfile"] = "\n".join(["FROM scratch", "COPY empty /empty", *lines])
        with tarfile.open(fileobj=context, mode="w") as tar:
            for name, text in texts.items():
                item = tarfile.TarInfo(name)
                item.size = len(text.encode())
                tar.addfile(item, io.BytesIO(text.encode()))
        context.seek(0)
        self.client.images.build(fileobj=context, custom_context=True, tag=self.image, rm=True)

    def create(self, service: str, **options: Any) -> None:  # noqa: ANN401 - the SDK's
        """Make a container of a service; it is never started."""
        labels = {"com.docker.compose.project": self.name, "com.docker.compose.service": service}
        options["labels"] = labels | options.get("labels", {})
        self.client.containers.create(self.image, ["none"], **options)

    def findings(self, limit: float = THOROUGH) -> list[Finding]:
        """Return what env.check, or a deployment, finds."""
        found = findings.check_variables(self.scratch.project, "dev", "compose", limit)
        return [item for item in found if item.check in ("image", "container")]

    def only(self, limit: float = THOROUGH) -> tuple[str, str]:
        (found,) = self.findings(limit)
        assert self.value not in json.dumps(vars(found))
        return found.state, found.detail.removeprefix("the value of API_KEY can be read in ")

    def remove(self) -> None:
        ours = {"label": f"com.docker.compose.project={self.name}"}
        for item in self.client.containers.list(all=True, filters=ours):
            item.remove(force=True)
        for item in self.client.images.list(self.image):
            self.client.images.remove(item.id, force=True)


@pytest.fixture
def stack(
    engine: docker.DockerClient, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stack]:
    """Return a stack of its own; nothing of it is there yet."""
    scratch.write("env/schema.toml", SCHEMA.format(port=1))
    made = Stack(engine, scratch)
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", made.name)
    monkeypatch.delenv("REGISTRY", raising=False)
    try:
        yield made
    finally:
        made.remove()


def test_a_file_of_a_layer_is_found_and_what_is_clean_is_not_read_again(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.build()
    assert stack.findings() == []
    content = f"{'x' * 3_000_000}{stack.value}"
    stack.build(
        "COPY settings /app/settings", "COPY empty /app/settings", files={"settings": content}
    )
    assert stack.findings(1) == []
    where = f"/app/settings in a layer of the image {stack.image}"
    assert stack.only() == ("fail", where)
    assert stack.findings()[0].fix == "inv env.rotate API_KEY: replace the value"
    stack.scratch.write(".env.dev", f"API_KEY={secrets.token_urlsafe(32)}\n")
    assert stack.findings() == []
    monkeypatch.setattr(shell, "stream_output", None)
    assert stack.findings() == []


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("ARG KEY={value}", "the history"),
        ('CMD ["serve", "--key={value}"]', "the command"),
        ("ENV KEY={value}", "the environment"),
        ("LABEL key={value}", "the labels"),
        ('HEALTHCHECK CMD ["ask", "http://user:{value}@localhost"]', "the health check"),
    ],
)
@pytest.mark.parametrize("limit", [1, THOROUGH])
def test_what_an_image_says_of_itself_is_found_before_a_deployment_too(
    stack: Stack, line: str, part: str, limit: float
) -> None:
    stack.build(line.format(value=stack.value))
    assert stack.only(limit) == ("fail", f"{part} of the image {stack.image}")


CREATED: dict[str, Callable[[str], dict[str, object]]] = {
    "the environment": lambda value: {"environment": {"KEY": value}},
    "the labels": lambda value: {"labels": {"key": f"redis://:{value}@redis"}},
    "the health check": lambda value: {"healthcheck": {"test": ["CMD", "ask", value]}},
    "the mounts": lambda value: {"volumes": [f"/tmp/{value}:/secrets"]},  # noqa: S108 - not made
    "the command": lambda value: {"entrypoint": ["serve", value]},
}


@pytest.mark.parametrize("part", CREATED)
def test_what_inspecting_a_container_shows_is_told_by_who_reads_it(stack: Stack, part: str) -> None:
    stack.build()
    stack.create("web", **CREATED[part](stack.value))
    (name,) = [
        item.name
        for item in stack.client.containers.list(
            all=True, filters={"label": f"com.docker.compose.project={stack.name}"}
        )
    ]
    where = f"{part} of the container {name}"
    assert stack.only() == ("fail", where)
    assert "web does not read API_KEY" in stack.findings()[0].fix
    assert stack.only(1) == ("warn", where)  # a deployment would replace it
    stack.remove()
    stack.build()
    stack.create("elsewhere", **CREATED[part](stack.value))
    assert stack.only()[0] == "warn"
    assert "as a file" in stack.findings()[0].fix


def test_what_there_was_no_time_for_is_said(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.build()
    monkeypatch.setattr(findings, "LAYERS", 1e-6)
    (found,) = stack.findings()
    assert found.state == "warn"
    assert found.detail.startswith("some layers were not searched for secrets: localhost/")
