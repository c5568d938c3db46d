"""The database of a stack: copied out whole, put back beside the live one, exchanged with it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCRATCH = "slipway_scratch_"
"""What the names of databases begin with that nobody is to keep."""
LIMIT = 6 * 3600.0
"""Seconds that copying a database out, or putting it back, may take."""
START_LIMIT = 120.0
"""Seconds that its server may take to be healthy."""
BRIEF = 120.0
"""Seconds for what is done in a moment."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class TableDigest:
    """How many rows there are, and a digest of them that does not depend on their order."""

    rows: int = 0
    checksum: str = "0"


@dataclass(frozen=True)
class DatabaseContent:
    """What a database holds, as one snapshot of it shows."""

    server: str
    """What keeps it, such as postgres 17.6."""
    migration: str = ""
    """The revision of its schema; empty where there is none."""
    schema: str = ""
    """A digest of columns, constraints, indexes, views and the like."""
    tables: dict[str, TableDigest] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    """How far each has counted."""
    large_objects: TableDigest = field(default_factory=TableDigest)

    @property
    def rows(self) -> int:
        """All rows of all tables."""
        return sum(table.rows for table in self.tables.values())

    @property
    def summary(self) -> str:
        """How much the database holds, in words."""
        large = self.large_objects.rows
        counts = f"{len(self.tables)} tables, {self.rows} rows"
        return f"{counts}, {large} large objects" if large else counts

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> DatabaseContent:
        """Undo `as_dict`.

        Raises:
            KeyError, TypeError, ValueError: it is nothing of the kind.
        """
        return cls(
            str(said["server"]),
            str(said["migration"]),
            str(said["schema"]),
            {name: TableDigest(**table) for name, table in said["tables"].items()},
            {name: int(number) for name, number in said["sequences"].items()},
            TableDigest(**said["large_objects"]),
        )

    def differences(self, restored: DatabaseContent) -> list[str]:
        """Say in what a restored database is another; nothing where it is the same.

        Sequences count outside of snapshots: a restored one may be ahead, never behind.
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
        """Compare the schemas; servers of two major versions describe the same one differently."""
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
    """What can be done with the database of a stack.

    What writes is called by one process at a time, which holds the lock of changes.
    """

    kind: str
    """postgres or sqlite."""
    live: str
    """The name of the database that the application uses."""

    def start(self, limit: float) -> bool:
        """Start its server, where it has one that does not run; say whether it had to be."""

    def stop(self) -> None:
        """Stop what `start` has started, unless it is in use by now."""

    def dump(self, folder: Path) -> DatabaseContent:
        """Copy all of it into a folder that is there and empty; say what that snapshot holds.

        Raises:
            Refused: it does not answer, or a part of it is missing in the copy.
        """

    def prove(self, folder: Path) -> DatabaseContent:
        """Put a copy into a scratch database, look at what that holds, and remove it again.

        Raises:
            Refused: it cannot be put back whole.
        """

    def stage(self, folder: Path, name: str) -> DatabaseContent:
        """Put a copy into a new database, which stays; say what it holds.

        Raises:
            Refused: it cannot be put back whole; nothing of it is left.
        """

    def measure(self) -> DatabaseContent:
        """Say what the live database holds.

        Raises:
            Refused: it does not answer, or is not there.
        """

    def swap(self, name: str, old: str) -> None:
        """Make a database the live one, and let the live one go by the name `old`; at once.

        Whoever is connected is cut off. Where there is no live one, none becomes old.

        Raises:
            Refused: it cannot be done; nothing has changed.
        """

    def drop(self, name: str) -> None:
        """Delete a database, where it is there."""

    def drop_command(self, name: str) -> str:
        """Return what a person types to delete a database."""

    def exists(self, name: str) -> bool:
        """Say whether there is a database of that name."""

    def other_databases(self) -> list[str]:
        """Return the databases that are beside the live one."""


def checked_name(name: str) -> str:
    """Return a name that means itself wherever it is written.

    Raises:
        Refused: it is none.
    """
    if not _NAME.fullmatch(name):
        fix = "lower-case letters, digits and underscores, a letter first, at most 63"
        raise Refused(f"{name!r} cannot be the name of a database", fix, code=2)
    return name
