from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from docker.errors import APIError

from slipway.core.errors import Refused
from slipway.harness.chaos import Chaos, HarnessStack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slipway.stack.engines.compose import ComposeEngine


class FakeContainer:
    """Notes what is done to it."""

    def __init__(self, name: str, done: list[str], broken: str = "") -> None:
        self.name, self.done, self.broken = name, done, broken
        self.status = "running"

    def note(self, what: str) -> None:
        self.done.append(f"{what} {self.name}")
        if what == self.broken:
            raise APIError(f"{self.name} does not {what}")

    def start(self) -> None:
        self.note("start")
        self.status = "running"

    def stop(self, timeout: int) -> None:
        self.note(f"stop within {timeout}")
        self.status = "exited"

    def kill(self) -> None:
        self.note("kill")
        self.status = "exited"

    def pause(self) -> None:
        self.note("pause")

    def unpause(self) -> None:
        self.note("unpause")

    def restart(self, timeout: int) -> None:
        self.note(f"restart within {timeout}")

    def exec_run(self, command: list[str], *, demux: bool) -> tuple[int, tuple[Any, ...]]:
        assert demux
        code = 0 if "well" in command else 3
        return code, (b"said\n", None if not code else b"and complained\n")


class FakeEngine:
    """A stack of containers that note what is done to them."""

    def __init__(self, root: Path, *containers: FakeContainer) -> None:
        self.all = [*containers]
        self.project = SimpleNamespace(root=root)
        self.environment = {"API_KEY": "hush"}
        self.states = {"api": "healthy", "proxy": "healthy"}
        self.urls = {"api": "http://a", "proxy": "http://p"}

    def status(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(service=name, state=state, url=self.urls.get(name, ""))
            for name, state in self.states.items()
        ]

    def containers(self, service: str) -> list[FakeContainer]:
        return [item for item in self.all if item.name.startswith(service)]

    def scale(self, service: str, replicas: int, _limit: float) -> None:
        done = self.all[0].done
        done.append(f"scale {service} to {replicas}")
        others = [item for item in self.all if not item.name.startswith(service)]
        self.all = others + [FakeContainer(f"{service}-{n + 1}", done) for n in range(replicas)]


def made(engine: FakeEngine) -> HarnessStack:
    return HarnessStack(cast("ComposeEngine", engine), "weather", 0.1)


@pytest.fixture
def done() -> list[str]:
    return []


def stack_of(done: list[str], names: Sequence[str], root: Path = Path()) -> HarnessStack:
    return made(FakeEngine(root, *(FakeContainer(name, done) for name in names)))


def test_what_is_stopped_paused_and_killed_is_put_back_the_last_first(done: list[str]) -> None:
    chaos = Chaos(stack_of(done, ["redis-1", "api-2", "api-1"]))
    chaos.pause("api")
    chaos.kill("api")
    chaos.stop("redis")
    chaos.undo_all()
    assert done == [
        "pause api-1", "pause api-2", "kill api-1", "stop within 5 redis-1",
        "start redis-1", "start api-1", "unpause api-2", "unpause api-1",
    ]  # fmt: skip
    chaos.undo_all()
    assert len(done) == 8


def test_when_one_part_cannot_be_put_back_the_others_are(done: list[str], tmp_path: Path) -> None:
    broken = FakeContainer("redis-1", done, broken="start")
    engine = FakeEngine(tmp_path, FakeContainer("api-1", done), broken)
    model = tmp_path / "model.onnx"
    model.touch()
    chaos = Chaos(made(engine))
    chaos.hide("*.onnx")
    chaos.kill("api")
    chaos.stop("redis")
    assert not model.exists()
    with pytest.raises(Refused, match="not put back: redis-1 does not start"):
        chaos.undo_all()
    assert done[-2:] == ["start redis-1", "start api-1"]
    assert model.exists()


def test_services_are_restarted_one_after_another(done: list[str]) -> None:
    Chaos(stack_of(done, ["redis-1", "api-1"])).restart("redis", "api")
    assert done == ["restart within 5 redis-1", "restart within 5 api-1"]


def test_a_service_is_scaled_and_back(done: list[str]) -> None:
    chaos = Chaos(stack_of(done, ["api-1", "api-2"]))
    chaos.scale("api", 3)
    chaos.undo_all()
    assert done == ["scale api to 3", "scale api to 2"]
    done.clear()
    chaos.scale("api", 4)
    chaos.scale("api", 3)
    chaos.undo_all()
    assert done == ["scale api to 4", "scale api to 3", "scale api to 2"]


def test_what_is_not_there_cannot_be_disturbed(done: list[str], tmp_path: Path) -> None:
    chaos = Chaos(stack_of(done, ["api-1"], tmp_path))
    with pytest.raises(Refused, match="redis has no container"):
        chaos.stop("redis")
    with pytest.raises(Refused, match=r"there is no \*\.onnx to hide"):
        chaos.hide("*.onnx")
    chaos.stop("api")
    with pytest.raises(Refused, match="no container of api is running"):
        chaos.kill("api")


def test_a_command_in_a_container_gives_what_it_printed_or_why_it_failed(done: list[str]) -> None:
    stack = stack_of(done, ["api-1"])
    assert stack.run("api", "be", "well") == "said\n"
    with pytest.raises(Refused, match=r"in api: and complained \(exit code 3 from: fail\)"):
        stack.run("api", "fail")
    assert stack.execute("api", ["fail"]) == (3, "said\n", "and complained\n")


def test_a_stack_is_reached_at_its_proxy(done: list[str]) -> None:
    engine = FakeEngine(Path(), FakeContainer("api-1", done))
    stack = made(engine)
    assert (stack.url, stack.services) == ("http://p", ["api", "proxy"])
    assert stack.variables["API_KEY"] == "hush"
    del engine.urls["proxy"]
    assert stack.url == "http://a"
    engine.urls.clear()
    with pytest.raises(Refused, match="no service of the stack has a port for HTTP"):
        _ = stack.url


def test_health_is_awaited_within_a_limit(done: list[str]) -> None:
    engine = FakeEngine(Path(), FakeContainer("api-1", done))
    made(engine).await_health()
    engine.states["api"] = "starting"
    with pytest.raises(Refused, match="not healthy within 0 s: api is starting"):
        made(engine).await_health()
