"""The stack in containers: up, down, scaled, hardened, and what a failure leaves."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
from dotenv import dotenv_values

from slipway.stack.engines.base import ServiceStatus
from tests.support.dashboards import drawn, open_dashboard, save, shows

if TYPE_CHECKING:
    from docker.models.containers import Container

    from tests.engine.conftest import MakeStack, Stack

STEPS = {"migrate", "prepare"}
STAY_UP = {"api", "dashboard", "postgres", "proxy", "redis", "scheduler"}
OURS = dict.fromkeys(STAY_UP, "10001") | {"postgres": "999", "redis": "999"}
"""Who each service runs as; a test run that is not root's is the application's own user."""


def run(container: Container, *command: str) -> tuple[int, str]:
    """Run a command in a container; again if nothing is heard: a busy engine may lose the words."""
    for _ in range(3):
        code, said = container.exec_run(list(command))
        if said:
            break
    return code, said.decode()


def process_status(container: Container) -> dict[str, str]:
    """Return /proc/1/status: what the kernel says of the container's first process."""
    _, said = run(container, "cat", "/proc/1/status")
    return {
        key: value.strip() for key, _, value in (line.partition(":") for line in said.splitlines())
    }


def name_of(container: Container) -> str:
    return str(container.labels["com.docker.compose.service"])


def published(container: Container) -> set[str]:
    bound = container.attrs["NetworkSettings"]["Ports"]
    return {held["HostIp"] for holders in bound.values() for held in holders or []}


def test_everything_is_healthy_and_a_prediction_comes_through_the_proxy(stack: Stack) -> None:
    status = stack.status()
    assert status.keys() == STAY_UP
    assert {item["state"] for item in status.values()} == {"healthy"}
    for item in status.values():
        assert item.keys() == {field.name for field in fields(ServiceStatus)}
        assert item["uptime"] > 0
    assert status["redis"]["image"] == "redis:8"
    assert status["api"]["image"].endswith(f"-api:{stack.name}")
    assert status["proxy"]["ports"] == [f"{stack.ports['API_PORT']}->80/tcp"]
    assert status["proxy"]["url"] == stack.api
    assert stack.get("/predict", {})["tier"] == "tier1"


def test_status_says_which_commit_runs(stack: Stack, production: Stack) -> None:
    for made, mark in [(stack, "-dirty"), (production, "")]:
        status, built = made.status(), f"{made.name} ({made.commit_id[:7]}{mark}),"
        for service in ("api", "dashboard", "proxy"):
            assert f"-{service}:{built}" in status[service]["detail"]


def test_steps_ran_once_to_their_end(stack: Stack) -> None:
    for name in STEPS:
        (container,) = stack.containers(name)
        assert container.attrs["State"]["ExitCode"] == 0


def test_in_dev_only_this_machine_reaches_the_published_ports(stack: Stack) -> None:
    found = {
        item.labels["com.docker.compose.service"]: published(item) for item in stack.containers()
    }
    assert {name for name, hosts in found.items() if hosts} == {"proxy", "dashboard", "postgres"}
    assert {host for hosts in found.values() for host in hosts} == {"127.0.0.1"}


def test_in_dev_the_api_changes_when_its_source_is_saved(stack: Stack) -> None:
    def summary() -> str:
        said = stack.get("/openapi.json")["paths"]["/models"]["get"]["summary"]
        return str(said)

    (module,) = stack.root.glob("src/*/api.py")
    before, was = module.read_text(encoding="utf-8"), summary()
    for text, wanted in ((before.replace(was, "Changed here"), "Changed here"), (before, was)):
        module.write_text(text, encoding="utf-8")
        deadline = time.monotonic() + 60
        while stack.status()["api"]["state"] != "healthy" or summary() != wanted:
            assert time.monotonic() < deadline
            time.sleep(0.5)


def test_in_dev_a_page_of_the_dashboard_changes_when_its_source_is_saved(stack: Stack) -> None:
    (module,) = stack.root.glob("src/*/dashboard/page.py")
    before = module.read_text(encoding="utf-8")
    assert before.count("Stack health") == 1
    with open_dashboard(stack) as page:
        drawn(page)
        try:
            save(module, before.replace("Stack health", "Another heading"))
            assert shows(page, "Another heading")
        finally:
            save(module, before)


def test_tasks_of_the_application_run_in_containers(stack: Stack) -> None:
    stack.inv("data.collect")
    assert "to promote it, run: inv models.promote tier2 v1.1" in stack.inv(
        "models.train", "--tier=tier2"
    )
    listed = json.loads(stack.inv("models.list", "--json"))
    assert ("tier2", "v1.1", False) in {
        (item["tier"], item["version"], item["current"]) for item in listed
    }


def test_a_command_is_run_with_what_a_service_is_given(stack: Stack) -> None:
    look = "import os, pathlib; print('API_KEY_FILE' in os.environ, pathlib.Path('run').is_dir())"
    assert "True True" in stack.inv("deploy.run", "--service=api", "--", "python", "-c", look)
    stack.inv("deploy.run", "--", "python", "-c", "raise SystemExit(3)", code=3)
    said = stack.inv("deploy.run", "--service=apy", "--", "true", code=2)
    assert "there is no service 'apy'" in said


def test_scaling_runs_replicas_and_back(stack: Stack) -> None:
    stack.inv("deploy.scale", "api=2")
    assert stack.status()["api"]["replicas"] == 2
    assert stack.get("/predict", {})["tier"] == "tier1"
    stack.inv("deploy.scale", "api=1")
    assert stack.status()["api"]["replicas"] == 1
    assert "can run only once" in stack.inv("deploy.scale", "proxy=2", code=1)
    assert "keeps its data in a volume" in stack.inv("deploy.scale", "redis=2", code=1)
    assert "says runs=once" in stack.inv("deploy.scale", "scheduler=2", code=1)
    assert "there is no service 'apy'" in stack.inv("deploy.scale", "apy=2", code=2)
    assert "is not service=number" in stack.inv("deploy.scale", "api=0", code=2)
    with pytest.raises(AssertionError, match="is back to 1"):
        stack.inv("deploy.scale", "api=3", "--timeout=1")
    assert stack.status()["api"]["replicas"] == 1


def test_up_twice_leaves_what_runs_alone(stack: Stack) -> None:
    before = {item.id for item in stack.containers() if item.status == "running"}
    assert "Everything was up already." in stack.up()
    assert {item.id for item in stack.containers() if item.status == "running"} == before


def test_down_keeps_the_data_and_up_brings_it_back(stack: Stack) -> None:
    before = stack.get("/predictions?source=api")
    stack.inv("deploy.down")
    assert stack.containers() == []
    assert {item["state"] for item in stack.status().values()} == {"stopped"}
    stack.up()
    assert stack.get("/predictions?source=api") == before


def test_removing_the_volumes_is_confirmed(stack: Stack) -> None:
    assert "No one is there to confirm it" in stack.inv("deploy.down", "--volumes", code=1)
    assert stack.status()["api"]["state"] == "healthy"
    assert stack.volumes()


def test_what_is_up_is_verified(stack: Stack) -> None:
    assert json.loads(stack.inv("deploy.verify", "--json"))["ok"]


def test_a_paused_container_is_said_with_what_to_type(stack: Stack) -> None:
    (dashboard,) = stack.containers("dashboard")
    dashboard.pause()
    try:
        found = stack.status()["dashboard"]
    finally:
        dashboard.unpause()
    assert (found["state"], found["replicas"]) == ("unhealthy", 0)
    assert found["detail"] == f"paused; to continue: docker unpause {dashboard.name}"


def test_logs_are_shown_by_service(stack: Stack) -> None:
    assert "Uvicorn running" in stack.inv("deploy.logs", "--service", "api", "--lines", "500")
    assert "there is no service" in stack.inv("deploy.logs", "--service", "web", code=2)


@pytest.mark.parametrize("service", sorted(STAY_UP))
def test_production_is_hardened_in_the_running_container(production: Stack, service: str) -> None:
    for container in production.containers(service):
        status = process_status(container)
        # tini is the first process: it runs as the container's user, like all below it.
        assert status["Uid"].split()[0] == OURS[service]
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == 0
        bounding = 1 << 10 if service == "proxy" else 0  # NET_BIND_SERVICE, for the proxy alone
        assert int(status["CapBnd"], 16) == bounding
        code, said = run(container, "sh", "-c", "touch /usr/here")
        assert (code, "Read-only file system" in said) == (1, True)
        assert run(container, "sh", "-c", "touch /tmp/here")[0] == 0


@pytest.mark.parametrize("service", sorted(STAY_UP))
def test_production_has_limits_and_comes_back(production: Stack, service: str) -> None:
    for container in production.containers(service):
        held = container.attrs["HostConfig"]
        assert held["Memory"] > 0
        assert held["NanoCpus"] > 0
        assert held["PidsLimit"] == 512
        assert held["RestartPolicy"]["Name"] == "unless-stopped"
        assert held["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "5"}
        # The kernel's own number, as the container sees it.
        both = "cat memory.max 2>/dev/null || cat memory/memory.limit_in_bytes"
        _, said = run(container, "sh", "-c", f"cd /sys/fs/cgroup && {both}")
        assert int(said) == held["Memory"]


def test_production_publishes_the_proxy_alone_and_mounts_no_source(production: Stack) -> None:
    assert len(production.containers("api")) == 2
    for container in production.containers():
        name = name_of(container)
        assert bool(published(container)) == (name == "proxy")
        assert not [
            item for item in container.attrs["Mounts"] if item["Destination"].startswith("/app/src")
        ]
    assert production.get("/predict", {})["tier"] == "tier1"


HANDED = {
    "api": {"API_KEY", "API_KEY_PREVIOUS", "DATABASE_URL", "REDIS_URL"},
    "migrate": {"DATABASE_URL", "REDIS_URL"},
    "postgres": {"DATABASE_URL", "POSTGRES_PASSWORD"},
    "prepare": {"DATABASE_URL", "REDIS_URL"},
    "redis": {"REDIS_PASSWORD"},
    "scheduler": {"BACKUP_URL_OPTIONS", "DATABASE_URL"},
}


def test_production_serves_the_dashboard_through_the_proxy(production: Stack) -> None:
    with urllib.request.urlopen(f"{production.api}/dashboard", timeout=20) as answer:
        assert answer.url == f"{production.api}/dashboard/"
        assert "<title>Streamlit" in answer.read().decode()
    with open_dashboard(production) as page:
        assert shows(page, "tier1"), "what the API alone knows"


def test_a_secret_is_a_file_in_the_containers_that_read_it(production: Stack) -> None:
    held = dotenv_values(production.root / ".env.prod", interpolate=False)
    values = [str(held[name]) for name in ("API_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD")]
    for container in production.containers():
        name = name_of(container)
        assert not [one for one in values if one in str(container.attrs)]
        mounted = [item["Destination"] for item in container.attrs["Mounts"]]
        assert (f"/run/secrets/{name}" in mounted) == (name in HANDED)
        if name in HANDED and container.status == "running":
            _, said = run(container, "ls", f"/run/secrets/{name}")
            assert {*said.split()} == HANDED[name]


def test_what_runs_keeps_its_secrets_when_others_do_not_work(production: Stack) -> None:
    production.environment["POSTGRES_PASSWORD"] = secrets.token_urlsafe()
    try:
        said = production.up(code=1)
    finally:
        del production.environment["POSTGRES_PASSWORD"]
    assert "the database does not accept POSTGRES_PASSWORD (environment) for app" in said
    assert production.get("/predictions?source=api")
    assert "Everything was up already" in production.up()


def test_the_cache_opens_to_nobody_without_its_password(production: Stack) -> None:
    (redis,) = production.containers("redis")
    assert "NOAUTH" in run(redis, "redis-cli", "ping")[1]
    password = dotenv_values(production.root / ".env.prod")["REDIS_PASSWORD"]
    assert str(password) not in str(redis.top())


def test_a_killed_replica_comes_back_by_itself(production: Stack) -> None:
    victim = production.containers("api")[0]
    victim.exec_run(["python", "-c", "import os; os.kill(1, 15)"])
    for _ in range(20):
        assert production.get("/predict", {})["tier"] == "tier1"
    deadline = time.monotonic() + 60
    while [production.status()["api"][key] for key in ("state", "replicas")] != ["healthy", 2]:
        assert time.monotonic() < deadline
        time.sleep(1)


def test_a_service_that_cannot_start_is_shown_and_nothing_is_left(make_stack: MakeStack) -> None:
    broken = make_stack()
    settings = broken.root / "config" / "settings.yaml"
    settings.write_text(settings.read_text().replace("log_level: debug", "log_level: loud"))
    said = broken.up(code=1)
    assert "migrate is failed" in said
    assert "config/settings.yaml [dev]: log_level: Input should be 'debug'" in said
    assert broken.containers() == []


def test_an_interrupted_start_leaves_nothing_running(make_stack: MakeStack) -> None:
    stopped = make_stack()
    command = [sys.executable, "-m", "invoke", "deploy.up", "--engine", "compose"]
    with subprocess.Popen(
        command, cwd=stopped.root, env=stopped.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while "running" not in {item.status for item in stopped.containers("prepare")}:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "is stopped again" in said
    assert stopped.containers() == []
    with pytest.raises(urllib.error.URLError):
        stopped.get("/health")
