from datetime import UTC, datetime

import pytest

from ..apikeys import Previous
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
