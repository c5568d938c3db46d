import datetime as dt
import json
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from ...shared.tests.conftest import refused
from ..environment import CARRY, EPISODE, LEAVE, VAIN, WET, Days, Umbrella, cost, days


def test_it_keeps_to_the_interface(parts: tuple[Days, Days]) -> None:
    check_env(Umbrella(parts[0]), skip_render_check=True)


def test_the_newest_quarter_of_the_days_is_held_out(parts: tuple[Days, Days]) -> None:
    training, held_out = parts
    assert training.keys[-1] < held_out.keys[0]
    assert len(held_out) == round((len(training) + len(held_out)) / 4)
    assert training.part.model_dump() == {
        "count": len(training),
        "first": str(training.keys[0]),
        "last": str(training.keys[-1]),
    }


def test_what_a_day_costs() -> None:
    carried, rained = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert cost(carried, rained).tolist() == [0, VAIN, WET, 0]


def test_an_episode_is_a_stretch_of_days_as_they_were(parts: tuple[Days, Days]) -> None:
    known = parts[0]
    environment = Umbrella(known)
    seen, _ = environment.reset(options={"start": 5})
    total = 0.0
    for place in range(5, 5 + EPISODE):
        assert seen.tolist() == known.features[place].tolist()
        seen, reward, ended, over, told = environment.step(np.int64(CARRY if place % 2 else LEAVE))
        spent = float(cost(np.array(place % 2 == 1), known.rained[place]))
        assert (reward, told["cost"], ended) == (-spent, spent, False)
        assert over == (place == 4 + EPISODE)
        total += reward
    assert told["episode"]["r"] == total


def test_no_episode_goes_over_a_gap(parts: tuple[Days, Days]) -> None:
    known = parts[0]
    late = tuple(key + dt.timedelta(days=int(place >= 100)) for place, key in enumerate(known.keys))
    starts = Days(late, known.features, known.rained).starts(EPISODE)
    assert set(starts) == set(known.starts(EPISODE)) - set(range(100 - EPISODE, 100))


def test_one_that_is_restored_goes_on_as_the_other_does(parts: tuple[Days, Days]) -> None:
    one, other = Umbrella(parts[0]), Umbrella(parts[0])
    one.reset(seed=7)
    for _ in range(3):
        one.step(np.int64(CARRY))
    other.restore(json.loads(json.dumps(one.state())))
    for _ in range(3 * EPISODE):
        a, b = one.step(np.int64(LEAVE)), other.step(np.int64(LEAVE))
        assert a[0].tolist() == b[0].tolist()
        assert a[1:] == b[1:]
        if a[3]:
            assert one.reset()[0].tolist() == other.reset()[0].tolist()


def test_a_file_that_is_too_short_is_refused(tmp_path: Path) -> None:
    lines = (Path("data") / "seattle-weather.csv").read_text().splitlines()
    file = tmp_path / "short.csv"
    file.write_text("\n".join(lines[:40]))
    assert "days for training" in refused(lambda: days(file))


@pytest.mark.parametrize("action", [LEAVE, CARRY])
def test_a_reward_is_the_cost_less_than_nothing(parts: tuple[Days, Days], action: int) -> None:
    environment = Umbrella(parts[0])
    environment.reset(seed=1)
    assert environment.step(np.int64(action))[1] <= 0
