import pytest
from sqlalchemy import Engine

from ..database import transaction
from ..observations import by_key, contiguous, key_of, newest, store
from .conftest import changed, example_rows

ROWS = example_rows(5)


@pytest.fixture
def stored(engine: Engine) -> Engine:
    with transaction(engine) as connection:
        assert store(connection, ROWS[::-1]) == {"inserted": 5, "updated": 0}
    return engine


def test_rows_come_back_as_they_were_in_the_order_of_their_keys(stored: Engine) -> None:
    with transaction(stored) as connection:
        assert newest(connection) == ROWS


def test_the_newest_rows_up_to_a_key(stored: Engine) -> None:
    with transaction(stored) as connection:
        assert newest(connection, 2) == ROWS[3:]
        assert newest(connection, 2, key_of(ROWS[2])) == ROWS[1:3]
        assert newest(connection, 9, key_of(ROWS[0])) == ROWS[:1]


def test_storing_again_changes_nothing(stored: Engine) -> None:
    with transaction(stored) as connection:
        assert store(connection, ROWS) == {"inserted": 0, "updated": 0}
        assert newest(connection) == ROWS


def test_a_corrected_row_is_corrected_alone(stored: Engine) -> None:
    corrected = [*ROWS[:2], changed(ROWS[2]), *ROWS[3:]]
    with transaction(stored) as connection:
        assert store(connection, corrected) == {"inserted": 0, "updated": 1}
        assert newest(connection) == corrected


def test_rows_by_key_are_those_that_are_known(stored: Engine) -> None:
    unknown = key_of(example_rows(6)[0])
    with transaction(stored) as connection:
        assert by_key(connection, [key_of(ROWS[1]), unknown]) == {key_of(ROWS[1]): ROWS[1]}
        assert by_key(connection, []) == {}


def test_a_gap_is_not_contiguous() -> None:
    assert contiguous(ROWS)
    assert contiguous(ROWS[:1])
    assert not contiguous([ROWS[0], ROWS[2]])
    assert not contiguous(ROWS[::-1])
