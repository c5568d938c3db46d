import datetime as dt
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field
from sqlalchemy import Engine, Float, Integer, String, insert, select

from ..database import transaction
from ..problem import KEY, Observation
from ..tables import Prediction, column, observations


class Row(BaseModel):
    count: int
    size: float | None
    share: Annotated[float, Field(ge=0)] | None
    kind: Literal["a", "b"]
    mixed: int | str
    things: list[str]


@pytest.mark.parametrize(
    ("name", "kind", "nullable"),
    [
        ("count", Integer, False),
        ("size", Float, True),
        ("share", Float, True),
        ("kind", String, False),
    ],
)
def test_a_field_becomes_a_column(name: str, kind: type, nullable: bool) -> None:
    made = column(name, Row.model_fields[name])
    assert isinstance(made.type, kind)
    assert made.nullable is nullable


@pytest.mark.parametrize("name", ["mixed", "things"])
def test_a_field_that_no_column_holds_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"no column type for {name}"):
        column(name, Row.model_fields[name])


def test_the_observations_have_a_column_for_each_field_and_their_key() -> None:
    assert list(observations.columns.keys()) == list(Observation.model_fields)
    assert list(observations.primary_key.columns.keys()) == [KEY]


def test_times_come_back_as_they_went_in_whatever_their_zone(engine: Engine) -> None:
    time = dt.datetime(2026, 11, 22, 8, 30, 1, 5, tzinfo=dt.timezone(dt.timedelta(hours=5)))
    row = {"tier": "t", "version": "v", "source": "api", "key": "1", "target_key": "1"}
    with transaction(engine) as connection:
        values = {**row, "created_at": time, "prediction": {"a": 0.5}, "cached": False}
        connection.execute(insert(Prediction).values(values))
        read = connection.execute(select(Prediction.created_at, Prediction.prediction)).one()
    assert read.created_at == time
    assert read.created_at.utcoffset() == dt.timedelta(0)
    assert read.prediction == {"a": 0.5}
