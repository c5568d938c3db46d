"""Which engine a task asks: the one that was named, else the one in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.config import values
from slipway.config.schema import ENGINES
from slipway.stack import engines
from slipway.stack.engines.compose import ComposeEngine

if TYPE_CHECKING:
    import pytest

    from tests.support.scratch import Scratch


def test_a_task_asks_the_engine_that_the_stack_is_on(scratch: Scratch) -> None:
    for name in ENGINES:
        engines.note_stack(scratch.project, name, "prod")
        assert values.engine_in_use(scratch.project) == name
        assert values.profile_in_use(scratch.project) == "prod"
    engines.forget_stack(scratch.project)
    assert values.engine_in_use(scratch.project) == ""


def test_a_stack_with_gpus_is_asked_as_one_until_it_is_brought_up_without(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLIPWAY_ENGINE", raising=False)

    def files(*, gpu: bool | None = None) -> tuple[str, ...]:
        engine = engines.choose_engine("", scratch.project, {"APP_ENV": "prod"}, gpu=gpu)
        assert isinstance(engine, ComposeEngine)
        return engine.composition.files

    engines.note_stack(scratch.project, "compose", "prod", gpu=True)
    assert files() == ("compose.prod.yaml", "compose.gpu.yaml")
    assert files(gpu=False) == ("compose.prod.yaml",)
    engines.note_stack(scratch.project, "compose", "prod")
    assert files() == ("compose.prod.yaml",)
    assert files(gpu=True) == ("compose.prod.yaml", "compose.gpu.yaml")
