"""Restores of a stack of processes, whose database is a file."""

from __future__ import annotations

import shlex
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support import restores
from tests.support.copies import Copy
from tests.support.restores import Recoveries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


BREAK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("DELETE FROM alembic_version")
connection.commit()
"""


class Local(restores.Stack):
    """A stack whose database is data/app.db."""

    @property
    def path(self) -> Path:
        return self.copy.root / "data" / "app.db"

    def sql(self, statement: str) -> list[str]:
        with closing(sqlite3.connect(self.path, timeout=30)) as connection, connection:
            return [str(row[0]) for row in connection.execute(statement)]

    def databases(self) -> list[str]:
        return sorted(path.stem for path in self.path.parent.glob("*.db") if path != self.path)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    copy = Copy(
        tmp_path_factory.mktemp("recovery") / "repository", models=True, SLIPWAY_ENGINE="local"
    )
    try:
        copy.inv("deploy.up")
        yield Local(copy)
    finally:
        copy.inv("deploy.down")


class TestLocal(Recoveries):
    """On this machine."""

    def breaking(self, stack: restores.Stack) -> str:
        path = stack.copy.root / "data" / "app.db"
        return shlex.join([sys.executable, "-c", BREAK, str(path)])


def test_a_lost_file_comes_back_while_nothing_runs(stack: Local) -> None:
    point, rows = stack.create(), stack.rows
    stack.copy.inv("deploy.down")
    for path in stack.path.parent.glob("*.db*"):
        path.unlink()
    said = stack.restore("latest")
    assert "3 safety     skipped" in said
    assert (stack.rows, stack.databases(), stack.runs()) == (rows, [], True)
    assert point in said


def test_what_is_no_database_any_more_is_kept_and_replaced(stack: Local) -> None:
    stack.create()
    rows = stack.rows
    stack.path.write_bytes(b"nothing of the kind" * 1000)
    for path in stack.path.parent.glob("app.db-*"):
        path.unlink()
    said = stack.restore("latest", "--only=database", "--drop-old")
    assert "cannot be read" in said
    assert "It was not deleted" in said
    (kept,) = stack.databases()
    assert b"nothing of the kind" in (stack.path.parent / f"{kept}.db").read_bytes()
    assert (stack.rows, stack.runs()) == (rows, True)


def test_an_older_migration_is_upgraded(stack: Local) -> None:
    (newest,) = stack.sql("SELECT version_num FROM alembic_version")
    stack.copy.inv("deploy.down")
    stack.copy.inv("db.downgrade", "--yes")
    point = stack.create()
    stack.copy.inv("db.migrate")
    assert next(item for item in stack.points if item.id == point).content.migration < newest
    stack.restore(point, "--only=database", "--drop-old")
    assert (stack.sql("SELECT version_num FROM alembic_version"), stack.runs()) == ([newest], True)
