"""Restore points of a real PostgreSQL, as they are typed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from dotenv import dotenv_values

from slipway.backup import restore_point
from tests.backup.test_archive import full_disk
from tests.support import restore_points

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway.backup.restore_point import RestorePoint
    from tests.engine.conftest import Stack

TYPES = """
CREATE TYPE mood AS ENUM ('gut', 'schlecht');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TYPE pair AS (a integer, b text);
CREATE SCHEMA "Größe";
CREATE TABLE "Größe"."Ö 'x'" (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    s serial,
    txt text, vc varchar(20), num numeric(30, 10), f4 real, f8 double precision, b boolean,
    raw bytea, ts timestamptz, t timestamp, d date, iv interval, u uuid, j jsonb, arr text[],
    m mood, pos positive, r int4range, net inet, js json, c char(5), bits bit varying(9), tm timetz,
    place point, words tsvector, cash money, both_ pair, ranges nummultirange,
    twice numeric GENERATED ALWAYS AS (num * 2) STORED,
    CHECK (txt <> 'forbidden')
);
INSERT INTO "Größe"."Ö 'x'"
    (txt, vc, num, f4, f8, b, raw, ts, t, d, iv, u, j, arr, m, pos, r, net,
     js, c, bits, tm, place, words, cash, both_, ranges)
VALUES (
    E'Zürich 東京 🌧 \\\\ '' " \\t\\r\\n', 'ß', 12345678901234567890.0123456789, 'NaN',
    0.1::float8 + 0.2, true, '\\x00ff10', '2026-03-29 02:30+02', 'infinity', '0044-03-15 BC',
    '1 mon -2 days 03:04:05', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": [1, null, "é"]}',
    '{a,NULL,"b,c"}', 'gut', 7, '[1,5)', '::1/128',
    '{"b":  1, "a": 0.10, "a": 2}', 'é', '10010', '03:04:05.678901+05:45', '(0.1,-7e300)',
    'rain:1A snow:2', 12.34, (1, 'x"y'), '{[0.1,0.2),[3,)}'
);
INSERT INTO "Größe"."Ö 'x'" (f8) VALUES ('-Infinity');
CREATE UNLOGGED TABLE quick (n integer);
CREATE TABLE empty (n integer);
CREATE INDEX ON "Größe"."Ö 'x'" (lower(txt)) WHERE b;
CREATE VIEW seen AS SELECT n + 1 AS n FROM empty;
CREATE SEQUENCE backwards INCREMENT -5 START -5;
SELECT nextval('backwards'), nextval('backwards');
SELECT lo_from_bytea(0, decode(repeat('00ff', 5000), 'hex'));
CREATE TABLE credit (id bigserial PRIMARY KEY, amount integer);
CREATE TABLE debit (id bigserial PRIMARY KEY, amount integer);
"""
ITSELF = """
CREATE ROLE "Leser";
ALTER DATABASE app SET "test.thing" = E'it''s \\\\ a "quote"\\n: :name';
ALTER DATABASE app SET search_path = "$user", public, "Größe", '';
ALTER ROLE "Leser" IN DATABASE app SET statement_timeout = '5s';
REVOKE TEMPORARY ON DATABASE app FROM PUBLIC;
GRANT CREATE ON DATABASE app TO "Leser" WITH GRANT OPTION;
COMMENT ON DATABASE app IS 'the live one''s';
"""
PLAIN = """
ALTER DATABASE app RESET ALL;
COMMENT ON DATABASE app IS NULL;
GRANT TEMPORARY ON DATABASE app TO PUBLIC;
DROP OWNED BY "Leser";
DROP ROLE "Leser";
"""
GONE = """
DROP SCHEMA "Größe" CASCADE; DROP VIEW seen; DROP SEQUENCE backwards; DROP DOMAIN positive;
DROP TYPE mood; DROP TYPE pair; DROP TABLE quick, empty, credit, debit; DROP TABLE IF EXISTS held;
SELECT lo_unlink(oid) FROM pg_largeobject_metadata;
"""


def psql(stack: Stack, sql: str) -> str:
    """Run statements in the live database."""
    (server,) = stack.containers("postgres")
    options = ["--username=app", "--dbname=app", "--set=ON_ERROR_STOP=1", "--no-align"]
    command = ["psql", *options, "--tuples-only", "--quiet", f"--command={sql}"]
    for _ in range(3 if sql.startswith("SELECT") else 1):
        done = server.exec_run(command)
        said = str(done.output.decode())
        if said:
            break  # a busy engine may lose the words
    assert done.exit_code == 0, said
    return said.strip()


@pytest.fixture(scope="module", autouse=True)
def odd(stack: Stack) -> Iterator[None]:
    """Put tables with every type into the database, and take them out at the end."""
    psql(stack, TYPES)
    yield
    for point in known(stack):
        restore_point.remove_point(point)
    psql(stack, GONE)


def known(stack: Stack) -> list[RestorePoint]:
    return restore_point.list_points(stack.root / "backups")


def create(stack: Stack, *options: str) -> RestorePoint:
    """Make a restore point, and return it."""
    said = stack.inv("backup.create", *options)
    (id_,) = re.findall(rf"Restore point ({restore_point.ID.pattern})", said)
    return restore_point.find_point(stack.root / "backups", str(id_))


def left(stack: Stack) -> list[str]:
    """Return the scratch databases, and the containers of tools, that somebody left."""
    names = psql(stack, "SELECT datname FROM pg_database WHERE datname LIKE 'slipway%'").split()
    prefix = f"^{stack.name}-backup-"
    found = stack.client.containers.list(all=True, filters={"name": prefix}, ignore_removed=True)
    return names + [str(item.name) for item in found]


def test_a_point_is_proven_whatever_it_holds(stack: Stack) -> None:
    point = create(stack)
    assert point.verified
    assert point.content.server.startswith("postgres 17.")
    assert point.content.tables["Größe.Ö 'x'"].rows == 2
    assert point.content.large_objects.rows == 1
    assert point.content.sequences["backwards"] == 10
    assert point.content.migration
    assert point.series == ("dev", "compose")
    assert set(point.models) == {"tier1", "tier2"}
    assert set(point.manifest["images"]) >= {"api", "postgres"}
    assert all("sha256:" in image for image in point.manifest["images"].values())
    assert point.manifest["revision"].startswith(stack.commit_id)
    env, text = stack.root / ".env.dev", (point.folder / "manifest.json").read_text()
    secrets = [value for value in dotenv_values(env, interpolate=False).values() if value]
    assert len(secrets) > 1
    assert not [value for value in secrets if value in text]
    assert left(stack) == []
    assert "backups   ok" in stack.inv("doctor")


def test_while_others_write_it_is_one_snapshot(stack: Stack) -> None:
    transfers = "INSERT INTO credit (amount) VALUES (7); INSERT INTO debit (amount) VALUES (-7);"
    procedure = f"DO $$ BEGIN FOR n IN 1..40 LOOP {transfers} COMMIT; END LOOP; END $$"
    over = threading.Event()

    def transfer() -> None:
        while not over.is_set():
            psql(stack, procedure)

    writers = [threading.Thread(target=transfer) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        point = create(stack)
    finally:
        over.set()
        for writer in writers:
            writer.join()
    tables = point.content.tables
    assert 0 < tables["credit"].rows == tables["debit"].rows
    assert tables["credit"].rows < int(psql(stack, "SELECT count(*) FROM credit"))


def test_what_is_set_of_the_database_itself_is_proven_too(stack: Stack) -> None:
    psql(stack, ITSELF)
    point = create(stack)
    assert point.verified
    properties = point.folder / "database" / "properties.sql"
    whole = properties.read_text(encoding="utf-8")
    for pattern in ("ALTER DATABASE .*search_path", "ALTER ROLE", "GRANT CREATE .*Leser"):
        properties.write_text(re.sub(f"(?m)^.*{pattern}.*$", "", whole), encoding="utf-8")
        restore_points.forge(point.folder, files=dict(restore_point.measure_files(point.folder)))
        said = stack.inv("backup.verify", point.id, code=1)
        assert "indexes, views or settings are not the same" in said
    properties.write_text(whole, encoding="utf-8")
    restore_points.forge(point.folder, files=dict(restore_point.measure_files(point.folder)))
    psql(stack, PLAIN)
    said = stack.inv("backup.verify", point.id, code=1)
    assert "contains objects of a role that this server does not have" in said
    assert left(stack) == []
    restore_point.remove_point(point)


def test_text_with_a_nul_is_refused_by_the_server(stack: Stack) -> None:
    for value in (r"E'\000'", "chr(0)", r"""jsonb '"\u0000"'"""):
        with pytest.raises(AssertionError, match=r"null character|0x00|u0000"):
            psql(stack, f"SELECT ({value})::text")


def damaged(point: RestorePoint, spoil: str) -> None:
    """Damage the largest file of a dump, and make the manifest believe that it was so."""
    path = max((point.folder / "database").rglob("*.zst"), key=lambda item: item.stat().st_size)
    content = bytearray(path.read_bytes())
    if spoil == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: {"flip": len(content), "cut": len(content) // 2, "empty": 0}[spoil]])
    restore_points.forge(point.folder, files=dict(restore_point.measure_files(point.folder)))


@pytest.mark.parametrize("spoil", ["flip", "cut", "empty"])
def test_a_damaged_dump_is_not_verified_even_where_its_checksum_is_right(
    stack: Stack, spoil: str
) -> None:
    point = create(stack, "--no-verify")
    damaged(point, spoil)
    said = stack.inv("backup.verify", point.id, code=1)
    assert "step 2 (proof)" in said
    assert restore_point.find_point(stack.root / "backups", point.id).verified is None
    assert left(stack) == []
    restore_point.remove_point(point)


def test_with_a_wrong_password_nothing_is_made(stack: Stack) -> None:
    before = known(stack)
    with stack.wrong_password():
        said = stack.inv("backup.create", code=1)
    assert "step 1 (database)" in said
    assert "password authentication failed" in said
    assert "set its original POSTGRES_PASSWORD" in said
    assert known(stack) == before
    assert restore_point.list_partials(stack.root / "backups") == []


def test_a_full_disk_takes_no_half_point(stack: Stack) -> None:
    folder = stack.root / "backups"
    aside = folder.rename(folder.with_name("aside")) if folder.exists() else None
    try:
        with full_disk(folder):
            with (folder / "filler").open("r+b") as filler:
                filler.truncate((folder / "filler").stat().st_size - 40_000)
            said = stack.inv("backup.create", code=1)
            assert "step 1 (database)" in said
            assert f"the disk of {folder} is full" in said
            assert "-> free some space" in said
            assert [path.name for path in folder.iterdir()] == ["filler"]
    finally:
        folder.rmdir()
        if aside:
            aside.rename(folder)


@contextmanager
def held(stack: Stack) -> Iterator[None]:
    """Hold a table, so that a dump waits for it."""
    (server,) = stack.containers("postgres")
    hold = "BEGIN; LOCK TABLE held; SELECT pg_sleep(100)"
    command = ["psql", "--username=app", "--dbname=app", f"--command={hold}"]
    server.exec_run(command, environment={"PGAPPNAME": "holder"}, detach=True)
    try:
        _await(stack, "application_name = 'holder' AND wait_event = 'PgSleep'")
        yield
    finally:
        server.reload()
        if server.status == "running":
            psql(stack, _END)


_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holder'"


def _await(stack: Stack, which: str) -> None:
    """Wait until somebody is at work in the database as described."""
    deadline = time.monotonic() + 60
    while psql(stack, f"SELECT count(*) FROM pg_stat_activity WHERE {which}") == "0":
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextmanager
def dumping(stack: Stack) -> Iterator[subprocess.Popen[str]]:
    """Give a `backup.create` that is at work on the dump, and comes no further."""
    command = [sys.executable, "-m", "invoke", "backup.create"]
    with (
        held(stack),
        subprocess.Popen(
            command,
            cwd=stack.root,
            env=stack.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        try:
            _await(stack, "application_name = 'pg_dump' AND wait_event_type = 'Lock'")
            yield process
        finally:
            process.kill()


def test_whatever_happens_meanwhile_no_half_point_is_there(stack: Stack) -> None:
    psql(stack, "CREATE TABLE held (n integer)")
    before = known(stack)
    with dumping(stack) as process:
        assert "no backup.create at the same time" in stack.inv("backup.create", code=1)
        process.kill()
        process.wait()
    assert known(stack) == before
    with dumping(stack) as process:  # it removed what the killed one had left
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[0]
    assert "interrupted" in said
    assert (known(stack), restore_point.list_partials(stack.root / "backups")) == (before, [])
    assert left(stack) == []
    with dumping(stack) as process:
        (server,) = stack.containers("postgres")
        server.kill()
        said = process.communicate(timeout=120)[0]
    assert "step 1 (database)" in said
    assert "-> inv deploy.up" in said
    assert (known(stack), restore_point.list_partials(stack.root / "backups")) == (before, [])
    point = create(stack)  # starts it
    assert point.verified
    assert left(stack) == []
    psql(stack, "DROP TABLE held")
    said = json.loads(stack.inv("backup.list", "--json"))
    assert said[0]["id"] == point.id
