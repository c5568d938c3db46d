import logging
from collections.abc import Iterator

import pytest

from .. import logs
from .conftest import PACKAGE

OURS = f"{logs.__package__}.anything"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave every level as it was."""
    loggers = [logging.getLogger(name) for name in ("", *logs.SERVER, str(logs.__package__))]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [("debug", "DEBUG", "INFO"), ("info", "INFO", "INFO"), ("warning", "WARNING", "WARNING")],
)
def test_only_our_own_lines_go_below_info(level: str, ours: str, theirs: str) -> None:
    logs.configure(level)
    assert PACKAGE.name in OURS
    told = [logging.getLogger(name).getEffectiveLevel() for name in (OURS, "httpx", *logs.SERVER)]
    assert [logging.getLevelName(one) for one in told] == [ours, theirs, *[theirs] * 3]


def test_what_sqlalchemy_says_of_queries_is_never_logged() -> None:
    logs.configure("debug")
    assert not logging.getLogger("sqlalchemy.engine").isEnabledFor(logging.INFO)
    assert not logging.getLogger("sqlalchemy.pool").isEnabledFor(logging.INFO)
