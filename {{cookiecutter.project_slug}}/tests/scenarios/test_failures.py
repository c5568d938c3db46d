"""Parts of the stack that fail, are scaled or restarted, and what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.harness.http import traffic, within

if TYPE_CHECKING:
    from slipway.harness.chaos import Chaos, HarnessStack
    from slipway.harness.http import ScenarioClient
    from tests.scenarios.conftest import Predict

LATEST = "/predictions?limit=1&source=api"


def test_without_the_database_503_and_healthy_again_by_itself(
    client: ScenarioClient, predict: Predict, disturb: Chaos
) -> None:
    disturb.stop("postgres")
    for attempt in within(10):
        with attempt:
            assert "database" in predict(503)[0]["detail"]
    health = client.get("/health")
    assert health.status_code == 503
    assert health.json()["status"] == "failing"
    assert health.json()["checks"]["database"]["ok"] is False
    disturb.undo_all()
    for attempt in within(60):
        with attempt:
            predict(times=4)


def test_without_redis_it_serves_only_slower(
    client: ScenarioClient, predict: Predict, disturb: Chaos
) -> None:
    disturb.stop("redis")
    assert [said["cached"] for said in predict(times=4)] == [False] * 4
    health = client.get("/health")
    assert health.status_code == 503
    assert health.json()["checks"]["cache"]["ok"] is False
    assert health.json()["checks"]["database"]["ok"] is True
    disturb.undo_all()
    for attempt in within(30):
        with attempt:
            assert [said["cached"] for said in predict(times=4)] == [True] * 4


def test_a_redis_that_hangs_holds_nobody_up(client: ScenarioClient, disturb: Chaos) -> None:
    disturb.pause("redis")
    for _ in range(4):
        answer = client.post("/predict", json={})
        assert answer.status_code == 200
        assert answer.elapsed.total_seconds() <= 3


def test_a_killed_replica_is_not_missed(client: ScenarioClient, disturb: Chaos) -> None:
    with traffic(lambda: client.get("/models"), clients=4) as answers:
        disturb.kill("api")
    assert {answer.status_code for answer in answers} == {200}
    assert max(answer.elapsed.total_seconds() for answer in answers) <= 6


def test_a_replica_that_crashes_comes_back_by_itself(
    client: ScenarioClient, disturb: Chaos
) -> None:
    with traffic(lambda: client.get("/models"), clients=4) as answers:
        disturb.crash("api")
    assert {answer.status_code for answer in answers} == {200}
    assert max(answer.elapsed.total_seconds() for answer in answers) <= 6


def test_scaled_up_and_down_under_load(client: ScenarioClient, disturb: Chaos) -> None:
    every = 0.7  # fewer a minute than the rate limit allows, as scaling may take long
    with traffic(lambda: client.get("/models"), every=every) as up:
        disturb.scale("api", 3)
    with traffic(lambda: client.get("/predictions"), every=every) as down:
        disturb.scale("api", 2)
    assert {answer.status_code for answer in up} == {200}
    assert {answer.status_code for answer in down} == {200}


def test_a_restart_of_everything_keeps_the_data(
    client: ScenarioClient, predict: Predict, stack: HarnessStack, disturb: Chaos
) -> None:
    (made,) = predict()
    proxy = {"proxy"} & {*stack.services}
    disturb.restart("postgres", "redis", "api", *proxy)
    for attempt in within(60):
        with attempt:
            listed = client.get(LATEST)
            assert listed.status_code == 200
            assert listed.json()[0]["id"] == made["id"]


def test_migrations_and_data_that_are_there_already_change_nothing(
    client: ScenarioClient, stack: HarnessStack
) -> None:
    before = client.get("/predictions?limit=1")
    assert before.status_code == 200
    stack.run("api", "python", "-m", "alembic", "upgrade", "head")
    collected = stack.run("api", "python", "-m", f"{stack.package}.collect", "--json")
    assert '"inserted": 0, "updated": 0' in collected
    after = client.get("/predictions?limit=1")
    assert after.status_code == 200
    assert [row["id"] for row in after.json()] == [row["id"] for row in before.json()]
