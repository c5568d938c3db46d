from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from ..apikeys import Previous, opens
from .conftest import API_KEY


def test_a_key_before_is_a_time_and_a_key() -> None:
    assert Previous.parse(f"2026-01-31T12:00:00Z/{API_KEY}/x") == Previous(
        datetime(2026, 1, 31, 12, tzinfo=UTC), f"{API_KEY}/x"
    )


@pytest.mark.parametrize(
    "text",
    [
        API_KEY,
        f"/{API_KEY}",
        f"soonZ/{API_KEY}",
        f"2026-01-31T12:00:00/{API_KEY}",
        f"2026-01-31T12:00:00+00:00/{API_KEY}",
        f"2026-01-31T12:00:00+02:00/{API_KEY}",
        "2026-01-31T12:00:00Z/short-hush",
        "2026-01-31T12:00:00Z",
    ],
)
def test_any_other_form_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^should (be <UTC time|have at least 16)") as caught:
        Previous.parse(text)
    assert API_KEY not in str(caught.value)
    assert "hush" not in str(caught.value)


BEFORE = "the-key-before-that-one"


def before(seconds: float) -> SecretStr:
    """Return a key before that opens until so many seconds from now."""
    end = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    return SecretStr(f"{end}/{BEFORE}")


@pytest.mark.parametrize(
    ("given", "seconds", "expected"),
    [
        (API_KEY, None, True),
        (API_KEY, 60, True),
        (API_KEY, -60, True),
        (BEFORE, None, False),
        (BEFORE, -1, False),
        (BEFORE, 60, True),
        ("", 60, False),
        ("kéy", 60, False),
    ],
)
def test_the_key_before_opens_until_its_time(
    given: str, seconds: float | None, *, expected: bool
) -> None:
    previous = None if seconds is None else before(seconds)
    assert opens(given, SecretStr(API_KEY), previous) is expected


def test_an_empty_key_before_is_none() -> None:
    assert not opens("", SecretStr(API_KEY), SecretStr(""))


def test_the_key_before_is_not_opened_by_its_whole_form() -> None:
    previous = before(60)
    assert not opens(previous.get_secret_value(), SecretStr(API_KEY), previous)
