"""Restore points of a server that is by itself: stopped, on a small disk, of another version."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.engine.test_backup import create, known, left, psql

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

    from slipway.backup.restore_point import RestorePoint
    from tests.engine.conftest import MakeStack, Stack

START = """
from slipway.stack import session
session.open_session().engine.start_service("postgres", 120)
"""
ROWS = "CREATE TABLE rows AS SELECT n, md5(n::text) AS t FROM generate_series(1, {}) n"
COUNT = "SELECT count(*) FROM rows"
SIZED = 'driver_opts: {type: tmpfs, device: tmpfs, o: "size=300m,uid=999,gid=999,mode=0700"}'
FILL = """
free=$(df -Pm "$PGDATA" | awk 'NR == 2 { print $4 }')
head -c $((free - 30))M /dev/zero >"$PGDATA/filler"
"""
OLD = """
FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql-15
RUN install --directory --owner=postgres --mode=0700 /var/lib/postgresql/data \\
    && install --directory --owner=postgres --mode=1777 /var/run/postgresql
COPY --from=postgres:17 /usr/local/bin/docker-entrypoint.sh /usr/local/bin/
ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV PGDATA=/var/lib/postgresql/data LANG=C.UTF-8
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
"""


def started(stack: Stack) -> None:
    """Start the database of a stack, and nothing else."""
    environment = stack.environment | {"SLIPWAY_ENGINE": "compose"}
    command = [sys.executable, "-c", START]
    subprocess.run(command, cwd=stack.root, env=environment, check=True, timeout=150)


def alone(make_stack: MakeStack, old: str = "", new: str = "") -> Stack:
    """Return a stack of which only the database runs; a part of its description may be another."""
    made = make_stack(SLIPWAY_ENGINE="compose")
    path = made.root / "services" / "postgres" / "compose.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    made.inv("env.init")
    started(made)
    return made


def test_a_server_that_does_not_run_is_started_for_it_and_stopped_again(
    make_stack: MakeStack,
) -> None:
    stack = alone(make_stack)
    psql(stack, ROWS.format(10))
    said = stack.inv("backup.create")
    assert "is not running" not in said
    (server,) = stack.containers()
    assert server.status == "running"
    server.stop()
    said = stack.inv("backup.verify", "latest")
    assert "The database is not running: it is started for this." in said
    assert stack.containers() == []
    stack.inv("deploy.down", "--volumes", "--yes")
    before = known(stack)
    said = stack.inv("backup.create", code=1)
    assert "the database is empty: there is nothing to back up" in said
    assert (known(stack), stack.containers()) == (before, [])


def test_a_disk_too_small_for_a_second_database_is_said_before_it_is_full(
    make_stack: MakeStack,
) -> None:
    stack = alone(make_stack, '_postgres"}', f'_postgres", {SIZED}}}')
    psql(stack, ROWS.format(300_000))
    point = create(stack)
    assert point.verified
    (server,) = stack.containers("postgres")
    code, _ = server.exec_run(["sh", "-c", FILL])
    assert code == 0
    said = stack.inv("backup.verify", point.id, code=1)
    assert (
        "step 2 (proof): it could not be restored: the database: the disk of the database has"
        in said
    )
    assert "-> free some space, then try again" in said
    assert known(stack) == [point]
    said = stack.inv("backup.create", code=1)
    assert "step 4 (proof)" in said
    assert [item.verified is None for item in known(stack)] == [False, True]
    said = stack.inv("backup.restore", point.id, "--only=database", "--yes", code=1)
    assert "Nothing was changed." in said
    assert (psql(stack, COUNT), left(stack)) == ("300000", [])
    server.exec_run(["sh", "-c", "rm $PGDATA/filler"])
    assert "1 verified" in stack.inv("backup.verify", point.id)


@pytest.fixture(scope="module")
def old_image(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Build an image with the server of Debian's last release."""
    folder = tmp_path_factory.mktemp("old")
    (folder / "Dockerfile").write_text(OLD)
    tag = f"test-postgres-15:{folder.parent.name}"
    command = ["docker", "build", "--quiet", "--tag", tag, str(folder)]
    subprocess.run(command, check=True, timeout=600)
    try:
        yield tag
    finally:
        engine.images.remove(tag, force=True)


@contextmanager
def moved(point: RestorePoint, to: Stack) -> Iterator[None]:
    """Carry a restore point to another stack for a while."""
    folder = to.root / "backups" / point.id
    shutil.copytree(point.folder, folder)
    try:
        yield
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
def test_a_dump_goes_into_a_newer_server_and_is_refused_by_an_older_one(
    make_stack: MakeStack, stack: Stack, old_image: str
) -> None:
    old = alone(make_stack, "image: postgres:17", f"image: {old_image}")
    old.environment["VERSION"] = stack.name  # the application's images
    (newer,) = stack.containers("postgres")
    (older,) = old.containers("postgres")
    copy = f"docker exec {newer.id} pg_dump -U app app | grep -v transaction_timeout"
    into = f"docker exec -i {older.id} psql -qU app -v ON_ERROR_STOP=1"
    command = ["bash", "-o", "pipefail", "-c", f"{copy} | {into} >/dev/null"]
    subprocess.run(command, check=True, timeout=60)
    psql(old, ROWS.format(1000))
    of_old, of_new = create(old), create(stack)
    assert of_old.verified
    assert of_old.content.server.startswith("postgres 15.")
    with moved(of_old, stack):
        stack.inv("backup.verify", of_old.id)
        stack.inv("backup.restore", of_old.id, "--only=database", "--drop-old", "--yes")
        assert psql(stack, COUNT) == "1000"
        assert psql(stack, "SELECT count(*) FROM observations") != "0"
        stack.inv("backup.restore", of_new.id, "--only=database", "--drop-old", "--yes")
    with moved(of_new, old):
        for task in ("backup.verify", "backup.restore"):
            options = ["--only=database", "--yes"] if task == "backup.restore" else []
            said = old.inv(task, of_new.id, *options, code=1)
            assert "it was dumped by a newer server than this one" in said
        assert "Nothing was changed." in said
        assert (psql(old, COUNT), left(old)) == ("1000", [])
