"""The database of a stack: dumped, restored beside the live one, and swapped with it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCRATCH = "slipway_scratch_"
"""The prefix of scratch databases, which are always dropped."""
LIMIT = 6 * 3600.0
"""Seconds that a dump or a restore may take."""
START_LIMIT = 120.0
"""Seconds that the server may take to become healthy."""
BRIEF = 120.0
"""Seconds for quick operations."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class TableDigest:
    """The number of rows, and a digest of them that does not depend on their order."""

    rows: int = 0
    checksum: str = "0"

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> TableDigest:
        """Parse the JSON of one; raises TypeError where it is something else."""
        found = cls(**said)
        if type(found.rows) is not int or not isinstance(found.checksum, str):
            raise TypeError("it is no digest of a table")
        return found


@dataclass(frozen=True)
class DatabaseContent:
    """The content of a database in one snapshot."""

    server: str
    """The server and its version, such as postgres 17.6."""
    migration: str = ""
    """The revision of the schema; empty if there is none."""
    schema: str = ""
    """A digest of columns, constraints, indexes, views and the like."""
    tables: dict[str, TableDigest] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    """The last value of each."""
    large_objects: TableDigest = field(default_factory=TableDigest)

    @property
    def rows(self) -> int:
        """The rows of all tables."""
        return sum(table.rows for table in self.tables.values())

    @property
    def summary(self) -> str:
        """How much the database holds, in words."""
        large = self.large_objects.rows
        counts = f"{len(self.tables)} tables, {self.rows} rows"
        return f"{counts}, {large} large objects" if large else counts

    def as_dict(self) -> dict[str, Any]:
        """Return the content as JSON."""
        return asdict(self)

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> DatabaseContent:
        """Parse what `as_dict` returns.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(
            str(said["server"]),
            str(said["migration"]),
            str(said["schema"]),
            {name: TableDigest.read(table) for name, table in said["tables"].items()},
            {name: int(number) for name, number in said["sequences"].items()},
            TableDigest.read(said["large_objects"]),
        )

    def differences(self, restored: DatabaseContent) -> list[str]:
        """Return the differences of a restored database, in words.

        Sequences are not part of a snapshot: a restored one may be ahead, never behind.
        """
        return [
            *self._tables(restored),
            *_differ("large objects", self.large_objects, restored.large_objects),
            *self._sequences(restored),
            *self._schema(restored),
        ]

    def _tables(self, restored: DatabaseContent) -> list[str]:
        found = []
        for name in sorted({*self.tables, *restored.tables}):
            if name not in restored.tables:
                found.append(f"table {name} is missing")
            elif name not in self.tables:
                found.append(f"table {name} should not be there")
            else:
                found += _differ(f"table {name}", self.tables[name], restored.tables[name])
        return found

    def _sequences(self, restored: DatabaseContent) -> list[str]:
        return [
            f"sequence {name} is at {restored.sequences.get(name, 'nothing')}, not {number}"
            for name, number in sorted(self.sequences.items())
            if restored.sequences.get(name, number - 1) < number
        ]

    def _schema(self, restored: DatabaseContent) -> list[str]:
        """Compare the schemas; two major versions describe the same schema differently."""
        found = []
        if self.migration != restored.migration:
            found.append(
                f"migration {restored.migration or 'none'}, not {self.migration or 'none'}"
            )
        if self.schema != restored.schema and _major(self.server) == _major(restored.server):
            found.append("its columns, constraints, indexes, views or settings are not the same")
        return found


def _differ(what: str, wanted: TableDigest, found: TableDigest) -> list[str]:
    if wanted.rows != found.rows:
        return [f"{what}: {found.rows} rows, not {wanted.rows}"]
    return [] if wanted == found else [f"{what}: its {wanted.rows} rows are not the same"]


def _major(server: str) -> str:
    return server.partition(".")[0]


class StackDatabase(Protocol):
    """The operations on the database of a stack.

    Callers of those that write hold the lock of changes.
    """

    kind: str
    """postgres or sqlite."""
    live: str
    """The name of the database that the application uses."""

    def start(self, limit: float) -> bool:
        """Start the server if it is not running; return whether that was needed."""

    def stop(self) -> None:
        """Stop what `start` has started, unless it is in use by now."""

    def dump(self, folder: Path) -> DatabaseContent:
        """Dump the database into an empty folder; return the content of that snapshot.

        Raises:
            Refused: the database does not answer, or the dump is incomplete.
        """

    def prove(self, folder: Path) -> DatabaseContent:
        """Restore a dump into a scratch database, return its content, and drop it.

        Raises:
            Refused: the dump cannot be restored completely.
        """

    def stage(self, folder: Path, name: str) -> DatabaseContent:
        """Restore a dump into a new database, and return its content.

        Raises:
            Refused: the dump cannot be restored completely; nothing of it is left.
        """

    def measure(self) -> DatabaseContent:
        """Return the content of the live database.

        Raises:
            Refused: it does not answer, or does not exist.
        """

    def swap(self, name: str, old: str) -> None:
        """Make a database the live one, and rename the live one to `old`, atomically.

        Connections are closed. If there is no live database, there is no old one.

        Raises:
            Refused: the swap failed; nothing has changed.
        """

    def drop(self, name: str) -> None:
        """Delete a database, if it exists."""

    def drop_command(self, name: str) -> str:
        """Return what a person types to delete a database."""

    def exists(self, name: str) -> bool:
        """Tell whether there is a database of a name."""

    def other_databases(self) -> list[str]:
        """Return the databases beside the live one."""


def checked_name(name: str) -> str:
    """Return a database's name, if it needs no quotes anywhere.

    Raises:
        Refused: it would need quotes.
    """
    if not _NAME.fullmatch(name):
        fix = "lower-case letters, digits and underscores, a letter first, at most 63"
        raise Refused(f"{name!r} cannot be the name of a database", fix, code=2)
    return name
