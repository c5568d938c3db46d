import json
import sys
from typing import Any

import numpy as np
import pytest

from slipway.models import registry

from ... import artifacts, memory
from ...artifacts import Metadata
from ...candidate import Candidate, checked
from ...problem import FEATURES
from ...settings import Settings
from ...shared import formats
from ...shared.tests.conftest import refused
from ...tests.conftest import module
from ..environment import VAIN, WET, Days
from ..policy import Network, Training, decisions, export, publish
from ..tiers import TARGET, TIER

NOWHERE = {"DATABASE_URL": "postgresql://app@127.0.0.1:1/app", "REDIS_URL": "redis://127.0.0.1:1"}


def random_network(seed: int = 1) -> Network:
    drawn = np.random.default_rng(seed)
    sizes = [(4, len(FEATURES)), (2, 4)]
    layers = [(drawn.normal(size=size), drawn.normal(size=size[0])) for size in sizes]
    mean, scale = drawn.normal(size=len(FEATURES)), drawn.uniform(1, 2, size=len(FEATURES))
    return Network(
        mean.astype(np.float32),
        scale.astype(np.float32),
        [(weights.astype(np.float32), biases.astype(np.float32)) for weights, biases in layers],
    )


def good_network(known: Days) -> Network:
    """Return one layer that is better than the fixed policies: a logistic regression."""
    mean, scale = known.features.mean(axis=0), known.features.std(axis=0)
    features = np.column_stack([(known.features - mean) / scale, np.ones(len(known))])
    fitted = np.zeros(features.shape[1])
    for _ in range(500):
        wrong = 1 / (1 + np.exp(-features @ fitted)) - known.rained
        fitted -= 0.5 * features.T @ wrong / len(known)
    fitted[-1] += np.log(WET / VAIN)
    weights = np.outer([-0.5, 0.5], fitted).astype(np.float32)
    return Network(mean, scale, [(weights[:, :-1].copy(), weights[:, -1].copy())])


def how(parts: tuple[Days, Days]) -> Training:
    return Training(7, 1.5, *parts)


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a check leave this process its memory."""
    monkeypatch.setattr(memory, "limit_to", lambda _more: None)


def checks(settings: Settings, metadata: Metadata) -> list[dict[str, Any]]:
    return list(checked(Candidate(settings, TIER, metadata.version)))


def test_the_graph_is_the_network(parts: tuple[Days, Days]) -> None:
    network, features = random_network(), parts[1].features
    run = formats.onnx(export(network), [TARGET])
    hidden = (features - network.mean) / network.scale
    (weights, biases), (last, shift) = network.layers
    logits = np.tanh(hidden @ weights.T + biases) @ last.T + shift
    expected = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    assert run(features)[TARGET] == pytest.approx(expected, abs=1e-5)
    assert decisions(run)(features).tolist() == (run(features)[TARGET] > 0.5).tolist()
    assert export(network) == export(network)


def test_a_policy_is_a_model_of_the_registry(settings: Settings, parts: tuple[Days, Days]) -> None:
    models = settings.models_dir
    first = publish(settings, random_network(), how(parts))
    assert artifacts.current(models, TIER) == first
    second = publish(settings, good_network(parts[0]), how(parts))
    assert (first.version, second.version) == ("v1.0", "v1.1")
    assert artifacts.pointed(models, TIER) == first.file
    known = registry.list_models(models)
    assert [(item.version, item.current) for item in known] == [("v1.0", True), ("v1.1", False)]
    assert [registry.find_damage(item) or registry.metrics_problem(item) for item in known] == [
        "",
        "",
    ]
    assert registry.score_summary(known[1]) == {
        TARGET: registry.score_summary(known[1])[TARGET],
        "beats baselines": "yes",
    }
    assert registry.served_tiers(models) == [TIER]


def test_the_same_policy_is_written_once(settings: Settings, parts: tuple[Days, Days]) -> None:
    first = publish(settings, random_network(), how(parts))
    assert publish(settings, random_network(), how(parts)) == first
    assert len(list(settings.models_dir.glob("*.onnx"))) == 2  # it, and the link to it


def test_one_that_is_good_enough_can_be_promoted(
    settings: Settings, parts: tuple[Days, Days]
) -> None:
    metadata = publish(settings, good_network(parts[0]), how(parts))
    done = module("candidate", TIER, metadata.version, **NOWHERE)
    made = [json.loads(line) for line in done.stdout.splitlines()][1:]
    assert [one["ok"] for one in made] == [True] * 5, made
    assert made[2]["detail"] == f"{len(FEATURES)} features in the order they are sent, 1 target"
    assert "better than every baseline" in made[-1]["detail"]


def test_one_that_is_not_better_than_the_fixed_ones_cannot(
    settings: Settings, parts: tuple[Days, Days]
) -> None:
    made = checks(settings, publish(settings, random_network(), how(parts)))
    assert [one["ok"] for one in made] == [True] * 4 + [False]
    assert "NOT better than the baselines in carry" in made[-1]["detail"]


def test_one_that_was_changed_cannot(settings: Settings, parts: tuple[Days, Days]) -> None:
    metadata = publish(settings, random_network(), how(parts))
    file = settings.models_dir / metadata.file
    file.write_bytes(file.read_bytes()[:-1])
    (made,) = checks(settings, metadata)
    assert (made["name"], made["ok"]) == ("checksum", False)


def test_who_trains_it_is_said_where_nobody_can(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ...training import main  # noqa: PLC0415 - slow

    del variables
    monkeypatch.setattr(sys, "argv", ["training", "--tier", TIER])
    assert "umbrella is not trained here but by POST /jobs/train-policy" in refused(main)
