"""The tables of the database."""

import datetime as dt
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    String,
    Table,
    TypeDecorator,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from .problem import KEY, Observation


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An aware time: SQLite stores no zone, so UTC is written and restored on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Write UTC."""
        del dialect
        return value and value.astimezone(dt.UTC)

    def process_result_value(
        self, value: dt.datetime | None, dialect: Dialect
    ) -> dt.datetime | None:
        """Read UTC."""
        del dialect
        return value and (value if value.tzinfo else value.replace(tzinfo=dt.UTC))


class Base(DeclarativeBase):
    """The metadata that migrations are compared with."""


class Prediction(Base):
    """One forecast: requested, or made for held-out rows ("backtest").

    Keys are stored as text, so that this table does not depend on the problem.
    """

    __tablename__ = "predictions"
    __table_args__ = (Index("ix_predictions_tier_source_id", "tier", "source", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[dt.datetime] = mapped_column(UtcDateTime)
    tier: Mapped[str]
    version: Mapped[str]
    source: Mapped[str]
    key: Mapped[str]
    target_key: Mapped[str]
    prediction: Mapped[dict[str, float]] = mapped_column(JSON)
    cached: Mapped[bool]


COLUMN_TYPES: dict[object, Any] = {
    bool: Boolean,
    dt.date: Date,
    dt.datetime: UtcDateTime,
    float: Float,
    int: Integer,
    str: String,
}


def column(name: str, field: FieldInfo) -> Column[Any]:
    """Return the column of one field of `Observation`.

    Raises TypeError for a field that is neither one of COLUMN_TYPES, a Literal of one, nor
    either of them with None.
    """
    types = plain_types(field.annotation)
    stored = types - {NoneType}
    if len(stored) != 1 or not stored <= COLUMN_TYPES.keys():
        raise TypeError(f"no column type for {name}: {field.annotation} (see COLUMN_TYPES)")
    return Column(
        name,
        COLUMN_TYPES[stored.pop()],
        primary_key=name == KEY,
        nullable=NoneType in types,
        autoincrement="auto" if name != KEY else False,
    )


def plain_types(annotation: object) -> set[object]:
    """Return the types an annotation allows; a Literal's are those of its values."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {type(value) for value in parts}
    if origin is Annotated:
        return plain_types(parts[0])
    if origin in {Union, UnionType}:
        return {kind for part in parts for kind in plain_types(part)}
    return {annotation}


observations = Table(
    "observations",
    Base.metadata,
    *(column(name, field) for name, field in Observation.model_fields.items()),
)
"""The problem's rows: the columns are the fields of `Observation`, the primary key is its key."""
