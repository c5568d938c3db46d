"""A worker of the kinds of the jobs' own tests, in a copy of the repository, and jobs for it."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

from dotenv import dotenv_values

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.copies import Copy

SERVICE = "worker-tests"
QUEUE = "tests"
FINAL = {"done", "dead", "cancelled"}
AWAY = 503
KEPT = ("api", "postgres", "proxy", "redis")
"""The services that the story needs; the others, some with large images, are left out."""

COMPOSE = """
services:
  worker-tests:
    extends: {{file: ../hardened.yaml, service: hardened}}
    image: ${{REGISTRY:-localhost}}/{slug}-api:${{VERSION:-dev}}
    user: ${{APP_UID:-10001}}
    command: [python, -m, {package}.jobs.worker, tests]
    env_file: [{{path: ../../.env.d/worker-tests.env, required: false}}]
    secrets: [worker-tests]
    tmpfs: [/tmp, /app/run/worker-tests]
    stop_grace_period: 30s
    healthcheck:
      test: [CMD, python, -m, {package}.jobs.healthy, tests]
      interval: 5s
      timeout: 5s
      start_period: 60s
      start_interval: 500ms
    depends_on:
      redis: {{condition: service_healthy}}
    restart: unless-stopped
    x-local:
      command: python -m {package}.jobs.worker tests --grace 6
      health: file://{{ROOT}}/run/worker-tests/beat
secrets:
  worker-tests: {{file: ../../.env.d/worker-tests}}
"""


FOLDER = """USER 0
RUN install --directory --mode=1777 run/worker-tests
USER 10001
"""
"""As the images of workers have it: a tmpfs gets its mode when a container starts again."""


def install(copy: Copy) -> None:
    """Give the copy a worker of its own, and leave out what the story does not need."""
    project = (copy.root / "project.toml").read_text(encoding="utf-8")
    said = dict(re.findall(r'^(slug|package) = "(.*)"', project, re.MULTILINE))
    kinds = copy.root / "src" / said["package"] / "trial" / "kinds.py"
    kinds.parent.mkdir()
    (kinds.parent / "__init__.py").touch()
    kinds.write_text("from ..jobs.tests.kinds import KINDS\n\n__all__ = ['KINDS']\n")
    folder = copy.root / "services" / SERVICE
    folder.mkdir()
    (folder / "compose.yaml").write_text(COMPOSE.format(**said), encoding="utf-8")
    copy.keep(KEPT)
    top = copy.root / "compose.yaml"
    with top.open("a", encoding="utf-8") as file:
        file.write(f"  - path: [services/{SERVICE}/compose.yaml]\n")
    dockerfile, target = copy.root / "Dockerfile", "FROM serving AS api\n"
    stages = dockerfile.read_text(encoding="utf-8")
    dockerfile.write_text(stages.replace(target, target + FOLDER), encoding="utf-8")
    schema = copy.root / "env" / "schema.toml"
    text = schema.read_text(encoding="utf-8")
    schema.write_text(re.sub(r'(read_by = \[.*)"prepare"', rf'\1"prepare", "{SERVICE}"', text))


METRICS = """
from urllib.request import urlopen
print(urlopen("http://127.0.0.1:8000/metrics", timeout=20).read().decode())
"""


class Asking:
    """Asks the API of a copy for jobs, and looks what came of them."""

    def __init__(self, copy: Copy) -> None:
        self.copy, self.ids = copy, list[str]()
        self.key = str(dotenv_values(copy.root / ".env.dev", interpolate=False)["API_KEY"])

    def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, **headers: str
    ) -> Any:  # noqa: ANN401 - JSON
        """Send a request; one that Redis or the API are away for is sent again for a while."""
        data = None if body is None else json.dumps(body).encode()
        headers |= {"Content-Type": "application/json", "X-API-Key": self.key}
        limit = time.monotonic() + 60
        while True:
            request = urllib.request.Request(f"{self.copy.api}{path}", data, headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    return json.load(answer)
            except urllib.error.URLError as error:
                if getattr(error, "code", AWAY) != AWAY or time.monotonic() > limit:
                    raise
            except ConnectionError:
                if time.monotonic() > limit:
                    raise
            time.sleep(0.2)

    def submit(self, count: int, **work: object) -> None:
        """Queue jobs, each once also where the answer does not come."""
        for _ in range(count):
            key = {"Idempotency-Key": uuid.uuid4().hex}
            self.ids.append(self.ask("POST", "/jobs/work", work, **key)["id"])

    def states(self) -> Counter[str]:
        """Count the jobs by what they are now."""
        return Counter(self.ask("GET", f"/jobs/{number}")["state"] for number in self.ids)

    def overview(self) -> dict[str, Any]:
        """Return what all queues have to do."""
        found: dict[str, Any] = self.ask("GET", "/jobs")
        return found

    def running(self) -> list[dict[str, Any]]:
        """Return what workers are at."""
        return [job for worker in self.overview()["workers"] for job in worker["jobs"]]

    def workers(self) -> set[str]:
        """Return the names of the workers that take jobs."""
        return {one["name"] for one in self.overview()["workers"] if not one["draining"]}

    def await_workers(self, count: int, without: Iterable[str] = (), seconds: float = 60) -> None:
        """Wait until so many workers are there that are none of these."""
        limit = time.monotonic() + seconds
        while len(self.workers() - {*without}) < count:
            assert time.monotonic() < limit, self.overview()
            time.sleep(0.2)

    def await_end(self, seconds: float = 90) -> None:
        """Wait until every job has ended; each is done, and each once."""
        limit = time.monotonic() + seconds
        while (states := self.states()).keys() - FINAL:
            assert time.monotonic() < limit, (states, self.overview())
            time.sleep(0.5)
        assert states == {"done": len(self.ids)}
        assert self.done(QUEUE) == len(self.ids)

    def done(self, queue: str) -> int:
        """Return how many jobs of a queue were done, counted where each ends."""
        said = metrics(self.copy)
        pattern = rf'^jobs_ended_total{{outcome="done",queue="{queue}"}} (\d+)'
        return sum(map(int, re.findall(pattern, said, re.MULTILINE)))


def metrics(copy: Copy) -> str:
    """Return what the API measures; where there is a proxy, past it."""
    if name := copy.environment.get("COMPOSE_PROJECT_NAME"):
        command = ["docker", "exec", f"{name}-api-1", "python", "-c", METRICS]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=60
        ).stdout
    with urllib.request.urlopen(f"{copy.api}/metrics", timeout=20) as answer:
        return str(answer.read().decode())
