"""What is measured in containers, and who is told: Redis stops, and is there again."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from dotenv import dotenv_values

from tests.support import bakes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import docker

    from tests.engine.conftest import MakeStack, Stack

KEPT = ("api", "postgres", "proxy", "redis", "monitoring")
REPOSITORY = bakes.workers()
RULES = REPOSITORY / "services" / "monitoring" / "prometheus"
JOBS = {"api", "postgres", "redis", "prometheus", "alertmanager"}
LIMIT = 60.0
"""Seconds until what is awaited has to be."""


class Told:
    """A server that alerts are posted to."""

    def __init__(self) -> None:
        self.alerts = list[tuple[str, str]]()
        told = self.alerts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                told.extend((one["labels"]["alertname"], one["status"]) for one in said["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)  # noqa: S104 - for a container
        self.port = self.server.server_address[1]

    @contextmanager
    def open(self) -> Iterator[Told]:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()


@pytest.fixture
def told() -> Iterator[Told]:
    with Told().open() as server:
        yield server


@pytest.fixture
def stack(make_stack: MakeStack, engine: docker.DockerClient, told: Told) -> Stack:
    """Return a stack that is up, with rules that are tried every second."""
    (bridge,) = engine.networks.get("bridge").attrs["IPAM"]["Config"]
    address = f"http://{bridge['Gateway']}:{told.port}/alerts"
    made = make_stack(KEPT, of=REPOSITORY, ALERTS_WEBHOOK_URL=address)
    folder = made.root / "services" / "monitoring"
    hasten(folder / "prometheus" / "prometheus.yaml", r"(interval: )15s", r"\g<1>1s")
    hasten(folder / "prometheus" / "rules.yaml", r"( for: )\d+[mh]", r"\g<1>1s")
    hasten(folder / "alertmanager" / "alertmanager.yaml", r"(group_\w+: )\w+", r"\g<1>1s")
    made.up()
    return made


def hasten(file: Path, pattern: str, instead: str) -> None:
    """Let less time pass between what a file says."""
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(pattern, instead, text), encoding="utf-8")
    file.chmod(0o600)  # as in a clone of whose files are nobody else's


def asked(stack: Stack, path: str) -> Any:  # noqa: ANN401 - JSON
    """Return what Prometheus says."""
    url = f"http://127.0.0.1:{stack.ports['PROMETHEUS_PORT']}/api/v1/{path}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]


def awaited(found: Callable[[], object], wanted: object) -> None:
    """Wait until it is what it should be."""
    limit = time.monotonic() + LIMIT
    while (now := found()) != wanted:
        assert time.monotonic() < limit, now
        time.sleep(0.2)


def up(stack: Stack) -> dict[str, str]:
    """Return whether each job is measured, without what is not known yet."""
    return {
        item["labels"]["job"]: item["health"] for item in asked(stack, "targets")["activeTargets"]
    }


def value(stack: Stack, name: str) -> list[str]:
    """Return what a measure is now."""
    return [item["value"][1] for item in asked(stack, f"query?query={name}")["result"]]


def test_every_rule_says_what_it_should(engine: docker.DockerClient) -> None:
    said = engine.containers.run(
        "prom/prometheus:v3",
        ["test", "rules", "/rules/rules_test.yaml"],
        entrypoint="promtool",
        volumes={str(RULES): {"bind": "/rules", "mode": "ro"}},
        user="0",
        tmpfs={"/prometheus": ""},  # in place of a volume that would be left
        remove=True,
    )
    assert b"SUCCESS" in said


def test_who_is_to_be_told_hears_that_redis_is_down_and_that_it_is_back(
    stack: Stack, told: Told
) -> None:
    awaited(lambda: up(stack), dict.fromkeys(JOBS, "up"))
    awaited(lambda: [value(stack, name) for name in ("pg_up", "redis_up")], [["1"], ["1"]])
    rules = [rule for group in asked(stack, "rules")["groups"] for rule in group["rules"]]
    written = (RULES / "rules.yaml").read_text(encoding="utf-8")
    assert {rule["name"] for rule in rules} == {*re.findall(r"alert: (\w+)", written)}
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    (redis,) = stack.containers("redis")
    redis.stop(timeout=10)
    awaited(lambda: ("RedisDown", "firing") in told.alerts, wanted=True)
    redis.start()
    awaited(lambda: ("RedisDown", "resolved") in told.alerts, wanted=True)
    assert not seen(stack, told)  # of what they were made with, before it is another
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        assert "-exporter: restarted" in stack.inv("env.rotate", name, "--yes")
    time.sleep(3)  # who was shut out has been found so by now
    awaited(lambda: [value(stack, name) for name in ("pg_up", "redis_up")], [["1"], ["1"]])
    assert {item["state"] for item in stack.status().values()} == {"healthy"}
    assert not seen(stack, told)


def seen(stack: Stack, told: Told) -> list[str]:
    """Name the containers that show a secret to who inspects them, or in what they print."""
    held = dotenv_values(stack.root / ".env.dev", interpolate=False)
    secrets = [str(held["POSTGRES_PASSWORD"]), str(held["REDIS_PASSWORD"]), f":{told.port}/alerts"]
    shown = {
        str(item.name): json.dumps(item.attrs) + item.logs().decode() for item in stack.containers()
    }
    return [name for name, text in shown.items() if any(secret in text for secret in secrets)]
