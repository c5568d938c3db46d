"""The problem's rows in the database, in the order of their keys."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from pydantic import TypeAdapter
from sqlalchemy import Connection, Select, insert, select, update

from .problem import HISTORY, KEY, Key, Observation, step
from .tables import observations

key_column = observations.c[KEY]
keys: TypeAdapter[Key] = TypeAdapter(Key)
"""Reads keys from text, as the predictions table keeps them."""


def key_of(row: Observation) -> Key:
    """Return the key of a row."""
    key: Key = getattr(row, KEY)
    return key


def contiguous(history: Sequence[Observation]) -> bool:
    return all(key_of(after) == step(key_of(before), 1) for before, after in pairwise(history))


def lack(rows: Sequence[Observation]) -> str:
    """Say what keeps the newest rows there are from being a history; nothing where they are one."""
    if len(rows) == HISTORY and contiguous(rows):
        return ""
    up_to = f" up to {key_of(rows[-1])}" if rows else ""
    needed = f"{HISTORY} observations without a gap are needed{up_to}"
    for before, after in pairwise(rows):
        if not contiguous([before, after]):
            return f"{needed}: there is none of {step(key_of(before), 1)}"
    return f"{needed}: there are {len(rows)}"


def newest(
    connection: Connection, rows: int | None = None, at: Key | None = None
) -> list[Observation]:
    """Return the newest rows (all of them by default), up to the key `at`, oldest first."""
    query = select(observations).order_by(key_column.desc()).limit(rows)
    if at is not None:
        query = query.where(key_column <= at)
    return read(connection, query)[::-1]


def by_key(connection: Connection, wanted: Iterable[Key]) -> dict[Key, Observation]:
    """Return the rows of those of the keys that are known."""
    rows = read(connection, select(observations).where(key_column.in_(set(wanted))))
    return {key_of(row): row for row in rows}


def read(connection: Connection, query: Select[tuple[object, ...]]) -> list[Observation]:
    return [Observation.model_validate(dict(row)) for row in connection.execute(query).mappings()]


def store(connection: Connection, rows: Sequence[Observation]) -> dict[str, int]:
    """Insert the rows with new keys and update those that changed; return how many of each."""
    known = {key_of(row): row for row in newest(connection)}
    new = [row for row in rows if key_of(row) not in known]
    changed = [row for row in rows if known.get(key_of(row), row) != row]
    if new:
        connection.execute(insert(observations), [row.model_dump() for row in new])
    for row in changed:
        same_key = key_column == key_of(row)
        connection.execute(update(observations).where(same_key).values(**row.model_dump()))
    return {"inserted": len(new), "updated": len(changed)}
