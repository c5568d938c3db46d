"""What a database holds, and SQLite copied, proven, put back and exchanged."""

from __future__ import annotations

import re
import sqlite3
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devtools.bake import TEMPLATE
from slipway.backup.checks import checks
from slipway.backup.databases import sqlite
from slipway.backup.databases.base import SCRATCH, DatabaseContent, TableDigest, checked_name
from slipway.backup.databases.postgres import explain_failure, restore_script, swap_statement
from slipway.backup.databases.runners import HostScriptRunner, container_arguments
from slipway.backup.databases.sqlite import COPY, SqliteDatabase, sqlite_file
from slipway.core import shell
from slipway.core.errors import Refused
from tests.backup.test_archive import full_disk

if TYPE_CHECKING:
    from tests.support.scratch import Scratch

HELD = DatabaseContent(
    "postgres 17.6",
    "0002",
    "5f",
    {"observations": TableDigest(3, "17"), "predictions": TableDigest(1, "4")},
    {"predictions_id_seq": 1},
    TableDigest(1, "9"),
)

MADE = """
CREATE TABLE alembic_version (version_num TEXT);
INSERT INTO alembic_version VALUES ('0002');
CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT, r REAL, b BLOB, n NUMERIC);
CREATE TABLE b (id INTEGER PRIMARY KEY, total INTEGER NOT NULL CHECK (total >= 0));
CREATE TABLE "odd ""name" (k TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE INDEX on_t ON a (t);
CREATE VIEW sums AS SELECT sum(total) FROM b;
INSERT INTO a (t, r, b, n) VALUES ('Größe 你好 \U0001f600', 0.1, x'00ff', 10);
INSERT INTO a (t, r, b, n) VALUES (NULL, 1e308, NULL, 'x');
INSERT INTO a (t) VALUES (CAST(x'ff' AS TEXT));
INSERT INTO b VALUES (1, 0), (2, 0);
INSERT INTO "odd ""name" VALUES ('k');
"""


@pytest.fixture
def database(tmp_path: Path) -> SqliteDatabase:
    path = tmp_path / "data" / "app.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(MADE)
    return SqliteDatabase(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "copy"
    path.mkdir()
    return path


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def test_the_same_is_no_difference_also_through_json() -> None:
    assert HELD.differences(HELD) == []
    assert DatabaseContent.read(HELD.as_dict()) == HELD
    assert HELD.rows == 4


def test_sequences_may_be_ahead_and_never_behind() -> None:
    def at(number: int) -> DatabaseContent:
        return replace(HELD, sequences={"predictions_id_seq": number})

    assert HELD.differences(at(7)) == []
    assert HELD.differences(at(0)) == ["sequence predictions_id_seq is at 0, not 1"]
    assert HELD.differences(replace(HELD, sequences={})) == [
        "sequence predictions_id_seq is at nothing, not 1"
    ]


def test_every_difference_is_named() -> None:
    tables = {"observations": TableDigest(2, "17"), "other": TableDigest()}
    assert HELD.differences(replace(HELD, tables=tables, large_objects=TableDigest(1, "8"))) == [
        "table observations: 2 rows, not 3",
        "table other should not be there",
        "table predictions is missing",
        "large objects: its 1 rows are not the same",
    ]
    assert HELD.differences(replace(HELD, migration="")) == ["migration none, not 0002"]


def test_servers_of_two_major_versions_may_describe_a_schema_differently() -> None:
    assert HELD.differences(replace(HELD, schema="60"))
    assert HELD.differences(replace(HELD, schema="60", server="postgres 17.9"))
    assert not HELD.differences(replace(HELD, schema="60", server="postgres 18.1"))


@pytest.mark.parametrize("name", ["", "App", "a b", 'a"b', "1a", "a" * 64, "a';--"])
def test_a_name_that_would_need_quotes_is_none(name: str) -> None:
    with pytest.raises(Refused, match="cannot be the name"):
        checked_name(name)


def test_a_container_of_the_same_image_does_the_work(folder: Path) -> None:
    words = container_arguments("script", "app-backup-1", folder, write=False)
    assert words[:3] == ["--progress", "quiet", "run"]
    assert words[-4:] == ["--entrypoint=sh", "postgres", "-c", "script"]
    assert {"--rm", "--no-deps", "--name=app-backup-1", f"--volume={folder}:/backup:ro"} < {*words}
    assert f"--user={folder.stat().st_uid}:{folder.stat().st_gid}" in words
    assert f"--volume={folder}:/backup" in container_arguments("s", "n", folder, write=True)
    assert not any("--volume" in word for word in container_arguments("s", "n", None, write=False))


def test_a_script_that_runs_here_needs_no_engine_and_no_shared_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"POSTGRES_DB": "app", "POSTGRES_USER": "owner"}.items():
        monkeypatch.setenv(name, value)
    runner = HostScriptRunner()
    done = runner.run('echo "$FOLDER $WORK" >&2; ls "$WORK"', folder, write=True, limit=9)
    place, work = done.err.split()
    assert (done.code, done.out, place) == (0, "", str(folder))
    assert not Path(work).exists()
    assert (runner.live, runner.user) == ("app", "owner")
    assert not runner.start(1)
    modules = "slipway.backup.databases.postgres, slipway.backup.schedule.service"
    loaded = f"import {modules}, sys; print('docker' in sys.modules)"
    assert shell.read([sys.executable, "-c", loaded], cwd=TEMPLATE) == "False\n"


def test_its_own_settings_hold_only_once_the_rest_is_done() -> None:
    script = restore_script("staged", "ANALYZE")
    order = [
        "are needed",
        "createdb",
        "pg_restore",
        "ANALYZE",
        "properties.sql",
        "PGDATABASE=staged",
    ]
    places = [script.index(word) for word in order]
    assert places == sorted(places)


def test_both_databases_are_renamed_or_none() -> None:
    statement = swap_statement("app", "restored", "before")
    assert statement.index('"app" RENAME TO "before"') < statement.index(
        '"restored" RENAME TO "app"'
    )
    assert "COMMIT" not in statement


@pytest.mark.parametrize(
    ("said", "meaning", "fix"),
    [
        ('psql: error: could not translate host name "postgres"', "it is not running", "deploy.up"),
        ("FATAL:  password authentication failed for user", "FATAL", "POSTGRES_PASSWORD: [.]env"),
        ("pg_restore: error: unsupported version (1.17)", "a newer server", "that server's image"),
        ("pg_dump: error: could not write: No space left on device", "No space", "free some space"),
        ("the disk has 1 MB free, and 80 are needed", "80 are needed", "free some space"),
        ('ERROR:  role "reader" does not exist', "a role that this server does not", "CREATE ROLE"),
        ("", "without a message", "inv deploy.logs --service postgres"),
    ],
)
def test_what_its_tools_say_is_explained(said: str, meaning: str, fix: str) -> None:
    error = explain_failure(said, ".env.dev")
    assert meaning in error.what
    assert re.search(fix, error.fix)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///data/app.db", "/root/data/app.db"),
        ("sqlite+pysqlite:////var/my%20app.db?timeout=5", "/var/my app.db"),
    ],
)
def test_the_file_is_the_one_that_the_url_names(url: str, path: str) -> None:
    assert sqlite_file(url, Path("/root")) == Path(path)


@pytest.mark.parametrize(
    "url", ["", "sqlite://", "sqlite:///:memory:", "postgresql://app:pw@db/app"]
)
def test_what_is_no_file_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(Refused, match="DATABASE_URL") as caught:
        sqlite_file(url, Path("/root"))
    assert "pw" not in str(caught.value)


def test_what_is_put_back_is_what_was_copied(database: SqliteDatabase, folder: Path) -> None:
    held = database.dump(folder)
    assert held.differences(database.measure()) == []
    assert held.differences(database.prove(folder)) == []
    assert (held.migration, held.tables["a"].rows, held.sequences) == ("0002", 3, {"a": 3})
    assert [path.name for path in folder.iterdir()] == [COPY]
    assert database.other_databases() == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE a SET t = 'Große' WHERE id = 1",
        "UPDATE a SET n = 10.5 WHERE id = 1",
        "UPDATE a SET t = '' WHERE id = 2",
        "UPDATE a SET b = CAST(t AS BLOB) WHERE id = 1",
        "DELETE FROM b WHERE id = 2",
        "DROP INDEX on_t",
        "PRAGMA user_version = 7",
        "UPDATE sqlite_sequence SET seq = 1",
        "UPDATE alembic_version SET version_num = '0001'",
    ],
)
def test_any_change_is_a_difference(database: SqliteDatabase, folder: Path, statement: str) -> None:
    held = database.dump(folder)
    execute(folder / COPY, statement)
    assert held.differences(database.prove(folder))


def test_a_copy_is_one_moment_while_others_write(database: SqliteDatabase, folder: Path) -> None:
    stop = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        with closing(sqlite3.connect(database.path, timeout=30)) as connection:
            while not stop.is_set():
                with connection:
                    connection.execute("UPDATE b SET total = total + 1 WHERE id = 1")
                    connection.execute("UPDATE b SET total = total + 1 WHERE id = 2")
                written += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(10):
            each = folder / str(number)
            each.mkdir()
            held = database.dump(each)
            assert held.differences(database.prove(each)) == []
            with closing(sqlite3.connect(each / COPY)) as copy:
                first, second = (total for (total,) in copy.execute("SELECT total FROM b"))
            assert first == second
    finally:
        stop.set()
        thread.join()
    assert written


def test_a_locked_database_is_not_waited_for_without_end(
    database: SqliteDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "PATIENCE", 0.2)
    execute(database.path, "PRAGMA journal_mode = DELETE")
    with closing(sqlite3.connect(database.path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Refused, match="locked"):
            database.dump(folder)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "gone"])
def test_a_damaged_copy_is_not_put_back(
    database: SqliteDatabase, folder: Path, damage: str
) -> None:
    held, copy = database.dump(folder), folder / COPY
    content = bytearray(copy.read_bytes())
    content[content.index("Größe".encode())] ^= 1
    changed = {"cut": bytes(content[: len(content) // 2]), "flip": bytes(content)}
    copy.write_bytes(changed.get(damage, b""))
    if damage == "gone":
        copy.unlink()
    try:
        wrong = held.differences(database.prove(folder))
    except Refused:
        wrong = ["it says so"]
    assert wrong
    assert [path.name for path in database.path.parent.iterdir() if SCRATCH in path.name] == []
    assert held.differences(database.measure()) == []


def test_what_a_killed_proof_left_is_removed_by_the_next_one(
    database: SqliteDatabase, folder: Path
) -> None:
    database.dump(folder)
    database.stage(folder, f"{SCRATCH}1")
    database.prove(folder)
    assert database.other_databases() == []


def test_databases_are_exchanged_and_back_again(database: SqliteDatabase, folder: Path) -> None:
    held = database.dump(folder)
    execute(database.path, "DELETE FROM b")
    database.stage(folder, "restored")
    database.swap("restored", "before")
    assert held.differences(database.measure()) == []
    assert (database.other_databases(), database.exists("before")) == (["before"], True)
    database.swap("before", "restored")
    assert database.measure().tables["b"].rows == 0
    database.drop("restored")
    assert [path.name for path in database.path.parent.iterdir()] == ["app.db"]


def test_only_its_owner_reads_a_copy_and_what_is_restored(
    database: SqliteDatabase, folder: Path
) -> None:
    database.path.chmod(0o644)
    database.dump(folder)
    database.stage(folder, "restored")
    places = {file: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    database.swap("restored", "before")
    places |= {file: file.stat().st_mode & 0o777 for file in database.path.parent.iterdir()}
    assert len(places) == 3
    assert {*places.values()} == {0o600}


def test_the_doctor_names_databases_that_others_can_read(scratch: Scratch) -> None:
    def found() -> list[tuple[str, str, str]]:
        said = checks(scratch.project, "dev", "local")
        return [(item.state, item.detail, item.fix) for item in said if item.check == "data"]

    kept = scratch.write("data/app_before.db", "")
    scratch.write("data/app.db", "").chmod(0o600)
    kept.chmod(0o640)
    assert found() == [
        ("warn", "other users can read data/app_before.db", "chmod 600 data/app_before.db")
    ]
    kept.chmod(0o600)
    assert found() == []


def test_where_there_is_no_live_one_the_new_one_becomes_it(
    database: SqliteDatabase, folder: Path
) -> None:
    held = database.dump(folder)
    for path in database.path.parent.iterdir():
        path.unlink()
    database.stage(folder, "restored")
    database.swap("restored", "before")
    assert held.differences(database.measure()) == []
    assert not database.exists("before")


def test_a_live_one_that_is_no_database_any_more_is_kept_all_the_same(
    database: SqliteDatabase, folder: Path
) -> None:
    held = database.dump(folder)
    database.path.write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(Refused, match="not a database"):
        database.measure()
    database.stage(folder, "restored")
    database.swap("restored", "before")
    assert held.differences(database.measure()) == []
    assert b"nothing of the kind" in database.path.with_name("before.db").read_bytes()


def test_nothing_is_exchanged_where_a_name_is_missing_or_taken(
    database: SqliteDatabase, folder: Path
) -> None:
    held = database.dump(folder)
    with pytest.raises(Refused, match="does not exist"):
        database.swap("restored", "before")
    database.stage(folder, "restored")
    database.stage(folder, "before")
    with pytest.raises(Refused, match="already exists"):
        database.swap("restored", "before")
    with pytest.raises(Refused, match="already exists"):
        database.stage(folder, "before")
    assert held.differences(database.measure()) == []


@pytest.mark.parametrize("foreseen", [True, False])
def test_a_full_disk_takes_no_half_database(
    database: SqliteDatabase,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    foreseen: bool,
) -> None:
    database.dump(folder)
    there = SqliteDatabase(tmp_path / "disk" / "app.db")
    if not foreseen:
        monkeypatch.setattr(sqlite, "_refuse_no_space", lambda *_: None)
    with full_disk(there.path.parent):
        with pytest.raises(Refused, match="free some space"):
            there.stage(folder, "restored")
        assert [path.name for path in there.path.parent.iterdir()] == ["filler"]


def test_where_no_database_is_the_next_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"inv deploy\.up"):
        SqliteDatabase(tmp_path / "app.db").dump(tmp_path)
