"""Secrets of a stack as on a server are replaced while it is asked for forecasts all the time."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from slipway.core import journal
from tests.support import rotations
from tests.support.copies import lift_limits
from tests.support.rotations import Stand, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.conftest import MakeStack, Stack

PASSWORD, LOGIN, CACHE, KEY = "POSTGRES_PASSWORD", "POSTGRES_LOGIN", "REDIS_PASSWORD", "API_KEY"
STEPS = ("value", "accept", "probe", "record", "move", "check", "retire")
ALL = [f"{number} {name}" for number, name in enumerate(STEPS, 1)]


@pytest.fixture(scope="module")
def servers(make_stack: MakeStack) -> Iterator[Stack]:
    """Bring up a stack with two replicas, which answer whoever asks as often as they like."""
    made = make_stack(APP_ENV="staging", API_WORKERS="2")
    lift_limits(made.root)
    made.commit()  # what is not committed is built again each time
    try:
        made.up()
        yield made
    finally:
        made.inv("deploy.down")


@pytest.fixture(scope="module")
def stand(servers: Stack) -> Iterator[Stand]:
    with rotations.asked(servers) as found:
        yield found


def logged_in(stack: Stack, login: str, password: str) -> bool:
    """Tell whether the database lets somebody in over the network."""
    container = stack.containers("postgres")[0].name
    script = "PGPASSWORD=$(cat) psql --no-password -h postgres -d app -c 'SELECT 1' -U"
    command = ["docker", "exec", "--interactive", str(container), "sh", "-c", f"{script} {login}"]
    done = subprocess.run(command, input=password, text=True, capture_output=True, check=False)
    return done.returncode == 0


def cached(stack: Stack, password: str) -> bool:
    """Tell whether the cache lets somebody in."""
    container = stack.containers("redis")[0].name
    script = "REDISCLI_AUTH=$(cat) redis-cli ping"
    command = ["docker", "exec", "--interactive", str(container), "sh", "-c", script]
    done = subprocess.run(command, input=password, text=True, capture_output=True, check=False)
    return done.stdout.strip().endswith("PONG")


def logins(stack: Stack) -> str:
    """Return who has a password."""
    container = stack.containers("postgres")[0].name
    query = "SELECT string_agg(rolname, ',') FROM pg_authid WHERE rolpassword IS NOT NULL"
    command = ["docker", "exec", str(container), "psql", "-U", "app", "-Atc", query]
    return subprocess.run(command, text=True, capture_output=True, check=True).stdout.strip()


def started(stack: Stack) -> dict[str, str]:
    """Return when each container that stays up was started, but those that say they have to be."""
    return {
        str(item.name): item.attrs["State"]["StartedAt"]
        for item in stack.containers()
        if item.status == "running" and item.labels.get("reads") != "once"
    }


def test_secrets_are_replaced_under_load_and_what_comes_after_works(
    stand: Stand, servers: Stack
) -> None:
    since = started(servers)
    with stand.nothing_lost():
        for login in ("app_b", "app"):
            before, who = stand.held(PASSWORD), stand.held(LOGIN) or "app"
            assert steps(stand.rotate(PASSWORD)) == ALL
            assert (stand.held(LOGIN), logins(servers)) == (login, login)
            assert logged_in(servers, login, stand.held(PASSWORD))
            assert not logged_in(servers, who, before)
        before = stand.held(CACHE)
        assert steps(stand.rotate(CACHE)) == ALL
        assert (cached(servers, before), cached(servers, stand.held(CACHE))) == (False, True)
        before = stand.held(KEY)
        said = stand.rotate(KEY, "--overlap", "1 hour")
        assert "2 replicas asked: both keys are valid" in said
        assert {stand.opens(key) for key in (before, stand.held(KEY)) * 4} == {200}
        stand.rotate(PASSWORD)  # what comes next is done with the login that was made here
        servers.inv("backup.create")
        servers.inv("deploy.up")
    assert started(servers) == since
    servers.inv("deploy.scale", "api=3")
    for service in ("redis", "postgres", "api"):
        servers.containers(service)[0].restart()
    servers.inv("deploy.up")
    assert servers.get("/health")["status"] == "ok"


def test_a_failure_at_the_check_puts_everything_back(stand: Stand, servers: Stack) -> None:
    before, who = stand.held(PASSWORD), stand.held(LOGIN) or "app"
    new = "app" if who == "app_b" else "app_b"
    container = servers.containers("postgres")[0].name
    locked = f"docker exec {container} psql -U app -c 'ALTER ROLE {new} PASSWORD NULL'"
    code, said = stand.rotate_but("check", locked, PASSWORD)
    assert code == 1, said
    assert "step 6 (check)" in said
    assert "The previous value is still in use." in said
    now = (stand.held(PASSWORD), stand.held(LOGIN) or "app", logins(servers))
    assert now == (before, who, who)
    with stand.nothing_lost():
        assert steps(stand.rotate(PASSWORD)) == ALL


def test_killed_with_the_value_recorded_the_stack_works_and_the_same_command_finishes_it(
    stand: Stand, servers: Stack
) -> None:
    kill_and_finish(stand, servers, "move")


@pytest.mark.parametrize("step", STEPS)
def test_killed_before_a_step(stand: Stand, servers: Stack, step: str) -> None:
    kill_and_finish(stand, servers, step)


def kill_and_finish(stand: Stand, servers: Stack, step: str) -> None:
    before = stand.held(PASSWORD)
    with stand.nothing_lost():
        stand.killed(step, PASSWORD)
        recorded = stand.held(PASSWORD) != before
        assert recorded == (STEPS.index(step) > STEPS.index("record"))
        left = "env.rotate of POSTGRES_PASSWORD stopped at step" in servers.inv("env.check")
        assert left == (step != "value")
        if step == "check":
            servers.inv("deploy.up")
        said = stand.rotate(PASSWORD)
    assert steps(said) == (ALL[STEPS.index("move") :] if recorded else ALL)
    assert logins(servers) == stand.held(LOGIN)
    assert logged_in(servers, stand.held(LOGIN), stand.held(PASSWORD))


def test_no_value_is_left_anywhere(stand: Stand, servers: Stack) -> None:
    for name in (PASSWORD, CACHE, KEY):
        stand.held(name)
    texts = [*stand.said, (servers.root / journal.NAME).read_text()]
    texts += [item.logs().decode(errors="replace") for item in servers.containers()]
    texts += [str(item.attrs["Config"]) for item in servers.containers()]
    assert len(stand.seen) > 2
    assert not [value for value in stand.seen for text in texts if value in text]


def test_an_empty_server_lets_in_whom_a_rotation_has_made(stand: Stand, servers: Stack) -> None:
    if stand.held(LOGIN) != "app_b":
        stand.rotate(PASSWORD)
    servers.inv("deploy.down", "--volumes", "--yes")
    servers.up()
    assert servers.get("/health")["status"] == "ok"
    assert logged_in(servers, "app_b", stand.held(PASSWORD))
    assert not logged_in(servers, "app", stand.held(PASSWORD))
