import sqlite3
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from ..database import DatabaseError, make_engine, transaction
from .conftest import free_port, refused


def count(engine: Engine) -> int:
    with transaction(engine) as connection:
        return int(connection.execute(text("SELECT count(*) FROM notes")).scalar_one())


@pytest.fixture
def notes(empty_database: SecretStr) -> Engine:
    engine = make_engine(empty_database)
    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE notes (id integer PRIMARY KEY)"))
    return engine


def test_a_transaction_is_committed_at_its_end(notes: Engine) -> None:
    with transaction(notes) as connection:
        connection.execute(text("INSERT INTO notes VALUES (1)"))
    assert count(notes) == 1


def test_an_error_takes_the_transaction_back(notes: Engine) -> None:
    def insert_twice() -> None:
        with transaction(notes) as connection:
            for _ in range(2):
                connection.execute(text("INSERT INTO notes VALUES (1)"))

    assert "failed" in refused(insert_twice, DatabaseError)
    assert count(notes) == 0


def test_missing_tables_are_named_with_what_to_run(empty_database: SecretStr) -> None:
    with pytest.raises(DatabaseError) as caught:
        count(make_engine(empty_database))
    assert caught.value.advice == "is not migrated: run inv db.migrate"
    assert " is not migrated: run inv db.migrate (" in str(caught.value)
    assert "notes" in str(caught.value)


def test_a_missing_column_is_named_with_what_to_run(notes: Engine) -> None:
    with pytest.raises(DatabaseError) as caught, transaction(notes) as connection:
        connection.execute(text("SELECT body FROM notes"))
    assert caught.value.advice == "is not migrated: run inv db.migrate"


def test_a_missing_database_is_no_matter_of_migrations(postgres: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        count(make_engine(SecretStr(f"{postgres}/nowhere")))
    assert caught.value.advice == "does not answer as it should"
    assert '"nowhere" does not exist' in str(caught.value)


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    port = free_port()
    url = SecretStr(f"postgresql://app:hush@127.0.0.1:{port}/app")
    with pytest.raises(DatabaseError) as caught:
        count(make_engine(url))
    assert f"app:***@127.0.0.1:{port}/app" in str(caught.value)
    assert "hush" not in str(caught.value) + caught.value.advice


def test_a_connection_that_was_cut_is_replaced(postgres: str) -> None:
    engine = make_engine(SecretStr(f"{postgres}/postgres"))
    with transaction(engine) as connection:
        victim = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with psycopg.connect(f"{postgres}/postgres", autocommit=True) as killer:
        killer.execute("SELECT pg_terminate_backend(%s, 5000)", [victim])
    with transaction(engine) as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != victim


def test_sqlite_lets_others_read_while_one_writes(tmp_path: Path) -> None:
    engine = make_engine(SecretStr(f"sqlite:///{tmp_path}/app.db"))
    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE notes (id integer PRIMARY KEY)"))
    with transaction(engine) as writer:
        writer.execute(text("INSERT INTO notes VALUES (1)"))
        assert count(engine) == 0
    assert count(engine) == 1


def test_every_connection_to_sqlite_is_set_up(tmp_path: Path) -> None:
    engine = make_engine(SecretStr(f"sqlite:///{tmp_path}/app.db"))
    names = ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
    with transaction(engine) as first, transaction(engine) as second:
        assert first.connection.dbapi_connection is not second.connection.dbapi_connection
        for connection in (first, second):
            values = [connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in names]
            assert values == ["wal", 1, 5000, 1]
    assert sqlite3.connect(tmp_path / "app.db").execute("PRAGMA journal_mode").fetchone() == (
        "wal",
    )
