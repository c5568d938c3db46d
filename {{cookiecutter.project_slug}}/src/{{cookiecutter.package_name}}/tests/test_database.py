import re
import sqlite3
import stat
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import Engine, text

from ..database import DatabaseError, make_engine, transaction
from ..settings import usable_database
from ..shared.tests.conftest import refused
from ..shared.valuefiles import FileSecret
from .conftest import Asking, free_port, replace


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
    assert caught.value.advice == "does not respond as expected"
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


@dataclass(frozen=True)
class Logins:
    """Two users of one server, of which an engine uses the one that a file names."""

    administrator: psycopg.Connection
    server: str
    file: Path
    names: tuple[str, str]

    def run(self, statement: str, user: int, **values: str) -> int:
        """Run a statement on one of the users; return how many rows there were."""
        name = sql.Identifier(self.names[user])
        literals = {key: sql.Literal(value) for key, value in values.items()}
        made = sql.SQL(statement).format(name=name, **literals)
        return self.administrator.execute(made).rowcount

    def admit(self, user: int) -> str:
        """Give a user a new password; return the URL with it."""
        password = f"p@ss:{uuid.uuid4().hex}/%"
        self.run("ALTER ROLE {name} PASSWORD {password}", user, password=password)
        told = f"{self.names[user]}:{quote(password, safe='')}"
        return self.server.replace("postgres:", f"{told}@", 1)

    def shut_out(self, user: int) -> int:
        """Take the user's password away, and end its connections; return how many there were."""
        self.run("ALTER ROLE {name} PASSWORD NULL", user)
        return self.run(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = {login}",
            user,
            login=self.names[user],
        )

    def engine(self) -> Engine:
        url = self.file.read_text().strip()
        return make_engine(FileSecret(self.file, url, usable_database))


@pytest.fixture
def logins(postgres: str, tmp_path: Path) -> Iterator[Logins]:
    """Make two users, and name the first in a file."""
    mark = uuid.uuid4().hex[:12]
    with psycopg.connect(f"{postgres}/postgres", autocommit=True) as administrator:
        without = re.sub("//postgres:[^@]*@", "//postgres:", postgres)
        made = Logins(
            administrator, f"{without}/postgres", tmp_path / "url", (f"a_{mark}", f"b_{mark}")
        )
        for user in range(2):
            made.run("CREATE ROLE {name} LOGIN", user)
        replace(made.file, made.admit(0))
        yield made
        for user in range(2):
            made.shut_out(user)
            made.run("DROP ROLE {name}", user)


def user(engine: Engine) -> str:
    with transaction(engine) as connection:
        return str(connection.execute(text("SELECT current_user")).scalar_one())


def test_the_login_changes_while_requests_go_on(logins: Logins) -> None:
    """Move to the other user and back; who was left has connections in the pool that are cut."""
    engine = logins.engine()
    with Asking(lambda: user(engine)) as asking:
        asking.more()
        for new, old in ((1, 0), (0, 1), (1, 0)):
            replace(logins.file, logins.admit(new))
            asking.more()
            logins.shut_out(old)
            asking.more()
            assert user(engine) == logins.names[new]
    assert asking.errors == []
    engine.dispose()


def test_a_connection_with_an_older_login_is_not_used_again(logins: Logins) -> None:
    engine = logins.engine()
    with transaction(engine), transaction(engine):
        assert user(engine) == logins.names[0]
    replace(logins.file, logins.admit(1))
    assert [user(engine) for _ in range(3)] == [logins.names[1]] * 3
    engine.dispose()


def test_a_new_password_of_the_same_user_is_used(logins: Logins) -> None:
    engine = logins.engine()

    def backend() -> int:
        with transaction(engine) as connection:
            return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())

    before = {backend(), backend()}
    replace(logins.file, logins.admit(0))
    after = {backend(), backend()}
    assert len(before) == len(after) == 1
    assert before != after
    engine.dispose()


def test_a_login_that_is_replaced_while_it_is_refused_is_tried_again(
    logins: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = logins.engine()
    right, connect = logins.admit(1), engine.dialect.connect
    logins.shut_out(0)

    def late(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(engine.dialect, "connect", connect)
        try:
            return connect(*arguments, **options)
        finally:
            replace(logins.file, right)

    monkeypatch.setattr(engine.dialect, "connect", late)
    assert user(engine) == logins.names[1]
    engine.dispose()


def test_a_login_that_is_refused_is_said_without_its_password(logins: Logins) -> None:
    engine, wrong = logins.engine(), logins.admit(0)
    logins.shut_out(0)
    replace(logins.file, wrong)
    with pytest.raises(DatabaseError) as caught:
        user(engine)
    assert "authentication failed" in str(caught.value)
    assert wrong.partition("@")[0].rpartition(":")[2] not in str(caught.value)


def test_the_url_of_sqlite_is_taken_as_it_was_at_first(tmp_path: Path) -> None:
    file, url = tmp_path / "url", f"sqlite:///{tmp_path}/one.db"
    replace(file, url)
    engine = make_engine(FileSecret(file, url, usable_database))
    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE notes (id integer PRIMARY KEY)"))
    replace(file, f"sqlite:///{tmp_path}/two.db")
    assert count(engine) == 0
    engine.dispose()


def test_sqlite_lets_others_read_while_one_writes(tmp_path: Path) -> None:
    engine = make_engine(SecretStr(f"sqlite:///{tmp_path}/app.db"))
    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE notes (id integer PRIMARY KEY)"))
    with transaction(engine) as writer:
        writer.execute(text("INSERT INTO notes VALUES (1)"))
        assert count(engine) == 0
    assert count(engine) == 1


@pytest.mark.parametrize("exists", [False, True])
def test_only_its_owner_reads_what_sqlite_writes(tmp_path: Path, exists: bool) -> None:
    def modes() -> dict[str, int]:
        return {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}

    names = ("app.db", "app.db-wal", "app.db-shm")
    with closing(sqlite3.connect(tmp_path / "app.db" if exists else ":memory:")) as older:
        older.executescript("PRAGMA journal_mode = WAL; CREATE TABLE others (id integer)")
        assert modes() == (dict.fromkeys(names, 0o644) if exists else {})
        with transaction(make_engine(SecretStr(f"sqlite:///{tmp_path}/app.db"))) as connection:
            connection.execute(text("CREATE TABLE notes (id integer PRIMARY KEY)"))
            assert modes() == dict.fromkeys(names, 0o600)


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
