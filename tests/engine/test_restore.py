"""Restores of a stack of containers, whose database is PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import restores
from tests.support.restores import Recoveries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine import conftest

BIG = "CREATE TABLE big AS SELECT n, md5(n::text) AS t FROM generate_series(1, 1000000) n"
BEGUN = "SELECT 1 FROM pg_stat_progress_copy"
"""A row or more, once what is restored is on its way into tables."""
KEPT_TOO = "set-of-the-database"
KEPT = ("app", "postgres", "template0", "template1")


class Containers(restores.Stack):
    """A stack whose database is in a container."""

    def __init__(self, stack: conftest.Stack) -> None:
        super().__init__(stack)
        self.stack = stack

    @property
    def psql(self) -> str:
        """What a statement follows, on a shell's command line."""
        (container,) = self.stack.containers("postgres")
        return f"docker exec {container.name} psql -qAt -U app -v ON_ERROR_STOP=1"

    def sql(self, statement: str) -> list[str]:
        (container,) = self.stack.containers("postgres")
        command = ["psql", "-qAt", "-U", "app", "-v", "ON_ERROR_STOP=1", "-c", statement]
        code, said = container.exec_run(command)
        assert not code, said
        return str(said.decode()).split()

    def databases(self) -> list[str]:
        found = self.sql("SELECT datname FROM pg_database ORDER BY datname")
        return [name for name in found if name not in KEPT]


@pytest.fixture(scope="module")
def stack(stack: conftest.Stack) -> Iterator[Containers]:
    """Return the stack that others use too; they find it as it was."""
    found = Containers(stack)
    found.sql(f"ALTER DATABASE app SET test.thing = '{KEPT_TOO}'")
    yield found
    if found.first:
        found.restore(found.first, "--drop-old")
    found.sql("ALTER DATABASE app RESET ALL")


class TestContainers(Recoveries):
    """On a container engine."""

    def breaking(self, stack: restores.Stack) -> str:
        assert isinstance(stack, Containers)
        return f"{stack.psql} -c 'DELETE FROM alembic_version'"

    def test_a_client_that_keeps_coming_back_is_cut_off(
        self, stack: restores.Stack, point: str, lost: int
    ) -> None:
        assert isinstance(stack, Containers)
        (container,) = stack.stack.containers("postgres")
        wait = "psql -qAt -U app -c 'SELECT pg_sleep(60)' >/dev/null 2>&1"
        again = f"while :; do {wait}; sleep 0.05; done"
        container.exec_run(["sh", "-c", f"timeout 120 sh -c {again!r}"], detach=True)
        said = stack.restore(point, "--only=database", "--drop-old")
        assert "6 swap       ok" in said
        assert (stack.rows, stack.databases(), stack.runs()) == (lost + 100, [], True)

    def test_a_server_that_stops_half_way_is_said_and_nothing_is_lost(
        self, stack: restores.Stack, point: str, lost: int
    ) -> None:
        assert isinstance(stack, Containers)
        (container,) = stack.stack.containers("postgres")
        stack.sql(BIG)
        big = stack.create("--no-verify")
        stack.sql("DROP TABLE big")
        begun = f"{stack.psql} -c '{BEGUN}' | grep -q ."
        kill = f"(until {begun}; do sleep 0.1; done; docker kill {container.id}) >/dev/null 2>&1 &"
        code, said = stack.restore_but("stage", kill, big)
        assert (code, "step 4 (stage)" in said, "the database: it was stopped: " in said) == (
            1,
            True,
            True,
        )
        assert "Nothing was changed." in said
        stack.copy.inv("deploy.up")
        assert (stack.rows, stack.runs()) == (lost, True)
        (half,) = stack.databases()
        stack.restore(point, "--only=database", "--drop-old")
        assert (half.startswith("restore_"), stack.databases()) == (True, [])

    def test_what_a_restore_spells_otherwise_is_no_difference(self, stack: restores.Stack) -> None:
        kinds = "v IN ('a', 'b')"
        stack.sql(f"CREATE TABLE odd (v varchar(9) DEFAULT 'a' CHECK ({kinds}))")
        stack.sql(f"CREATE VIEW even AS SELECT v FROM odd WHERE {kinds}")
        try:
            stack.create()
            assert stack.points[-1].verified
        finally:
            stack.sql("DROP TABLE odd CASCADE")

    def test_with_a_wrong_password_nothing_has_changed(
        self, stack: restores.Stack, point: str, lost: int
    ) -> None:
        assert isinstance(stack, Containers)
        with stack.stack.wrong_password():
            said = stack.restore(point, code=1)
        assert "step 4 (stage)" in said
        assert "Nothing was changed." in said
        assert "set its original POSTGRES_PASSWORD" in said
        assert (stack.rows, stack.databases(), stack.runs()) == (lost, [], True)

    def test_a_lost_volume_comes_back_while_nothing_runs(
        self, stack: restores.Stack, point: str
    ) -> None:
        assert isinstance(stack, Containers)
        held = next(item for item in stack.points if item.id == point).content
        stack.copy.inv("deploy.down", "--volumes", "--yes")
        said = stack.restore(point)
        assert "3 safety     skipped" in said
        assert "there is no data" in said
        assert (stack.rows, stack.runs()) == (held.tables["observations"].rows, True)
        assert stack.sql("SHOW test.thing") == [KEPT_TOO]
