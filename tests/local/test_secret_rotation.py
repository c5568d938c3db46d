"""The key of the API is replaced in a stack of processes: two workers behind one port."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from slipway.core import journal
from tests.support import rotations
from tests.support.copies import Copy, lift_limits, run_two_workers
from tests.support.rotations import Stand, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "API_KEY"


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Bring up a copy of the repository with two workers, and end it whatever happens."""
    copy = Copy(tmp_path_factory.mktemp("rotation") / "repository", models=True)
    run_two_workers(copy.root)
    lift_limits(copy.root)
    try:
        copy.inv("deploy.up", "--engine", "local")
        with rotations.asked(copy) as found:
            yield found
    finally:
        copy.inv("deploy.down")


def test_two_keys_open_until_the_time_is_over_and_no_request_is_lost(stand: Stand) -> None:
    before = stand.held(NAME)
    with stand.nothing_lost():
        said = stand.rotate(NAME, "--overlap", "20 seconds")
        assert steps(said) == ["1 value", "2 record", "3 move", "4 check"]
        until = datetime.fromisoformat(stand.held(f"{NAME}_PREVIOUS").partition("/")[0])
        now = stand.held(NAME)
        for _ in range(4):
            assert (stand.opens(now), stand.opens("x" * 20)) == (200, 403)
        if datetime.now(UTC) < until:  # a slow machine took all of the time
            assert stand.opens(before) == 200 or datetime.now(UTC) >= until
        time.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()) + 1)
        assert {stand.opens(before) for _ in range(8)} == {403}
        said = stand.rotate(NAME, "--overlap", "0")
        assert {stand.opens(now) for _ in range(8)} == {403}
        assert (stand.opens(stand.held(NAME)), stand.held(f"{NAME}_PREVIOUS")) == (200, "")
        assert "Everything was up already" in stand.copy.inv("deploy.up")


def test_killed_before_services_move_the_previous_key_opens_until_the_end(stand: Stand) -> None:
    before = stand.held(NAME)
    with stand.nothing_lost():
        stand.killed("move", NAME)
        now = stand.held(NAME)
        assert (stand.opens(before), stand.opens(now)) == (200, 403)
        assert "env.rotate of API_KEY stopped at step move (killed)" in stand.copy.inv("env.check")
        assert steps(stand.rotate(NAME)) == ["3 move", "4 check"]
        assert now == stand.held(NAME) != before
        assert (stand.opens(before), stand.opens(now)) == (200, 200)
        third = stand.rotate(NAME, code=1)
        assert "would be refused at once" in third


def test_what_processes_do_not_have_is_refused_with_the_reason(stand: Stand) -> None:
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        assert "has no password" in stand.rotate(name, code=1)


def test_no_value_is_left_anywhere(stand: Stand) -> None:
    root = stand.copy.root
    texts = [*stand.said, (root / journal.NAME).read_text()]
    texts += [path.read_text() for path in (root / "run").rglob("*.log")]
    assert len(stand.seen) > 3
    assert not [value for value in stand.seen for text in texts if value in text]
