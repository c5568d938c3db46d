"""What tests on a container engine share: the engine, and one stack that is brought up once."""

from __future__ import annotations

import os
import uuid
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import docker
import pytest
from docker.errors import DockerException

from slipway.config import service_env
from slipway.config.service_env import FOLDER
from slipway.core.project import load
from tests.support.copies import REPOSITORY, Copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from docker.models.containers import Container

    MakeStack = Callable[..., "Stack"]


SERVING = ("api", "dashboard", "postgres", "redis", "proxy", "scheduler")
"""What most tests are of; what a repository has beside it is left out of their stacks."""


LOST = "inconsistent graph state"
"""What BuildKit says now and then where the same is built twice at once; not when asked again."""


class Stack(Copy):
    """A committed copy of the repository whose stack runs in containers of its own."""

    def __init__(
        self,
        root: Path,
        client: docker.DockerClient,
        services: Sequence[str] = SERVING,
        *,
        of: Path = REPOSITORY,
        models: bool = True,
        **variables: str,
    ) -> None:
        self.client = client
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        names = {"COMPOSE_PROJECT_NAME": self.name, "VERSION": self.name}
        super().__init__(root, of=of, models=models, **names, **variables)
        self.keep(services)
        self.commit()

    def up(self, *arguments: str, code: int = 0) -> str:
        command = ("deploy.up", "--engine", "compose", *arguments)
        try:
            return self.inv(*command, code=code)
        except AssertionError as error:
            if LOST not in str(error):
                raise
        return self.inv(*command, code=code)

    def containers(self, service: str = "") -> list[Container]:
        labels = [f"com.docker.compose.project={self.name}", "com.docker.compose.oneoff=False"]
        labels += [f"com.docker.compose.service={service}"] if service else []
        found: list[Container] = self.client.containers.list(
            all=True, filters={"label": labels}, ignore_removed=True
        )
        return found

    def volumes(self) -> list[str]:
        label = f"com.docker.compose.project={self.name}"
        return sorted(item.name for item in self.client.volumes.list(filters={"label": label}))

    @contextmanager
    def wrong_password(self) -> Iterator[None]:
        """Let the tools of the database have one that opens nothing."""
        here, name = load(self.root), "DATABASE_URL"
        held = (self.root / FOLDER / "postgres" / name).read_text()
        service_env.replace_secrets(
            here, "postgres", {name: "postgresql://app:opens-nothing@postgres/app"}
        )
        try:
            yield
        finally:
            service_env.replace_secrets(here, "postgres", {name: held})

    def remove(self) -> None:
        """Leave nothing behind."""
        self.inv("deploy.down", "--engine", "compose", "--volumes", "--yes")
        for name in image_names(self.client):
            if name.endswith(f":{self.name}"):
                self.client.images.remove(name)


def image_names(client: docker.DockerClient) -> list[str]:
    """Name the engine's images in one request.

    `images.list()` asks once more for each of them, and fails when a test beside it removed one.
    """
    return [name for image in client.api.images() for name in image["RepoTags"] or ()]


SLOW = {
    "test_restore.py": (
        "test_killed_",
        "test_a_damaged",
        "test_a_migration",
        "test_ctrl_c",
        "test_what_fails",
    ),
    "test_promotion.py": ("test_killed_before",),
    "test_secret_rotation.py": ("test_killed_before",),
}
"""What takes minutes on containers; the same is shown on processes, in tests/local/."""


LONGEST = tuple(
    f"test_{name}.py"
    for name in (
        "promotion",
        "compose",
        "restore",
        "harness",
        "secret_rotation",
        "images",
        "redaction",
    )
)
"""Modules that take minutes: begun last, one would be waited for alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest modules first; mark what only `nox -s engine -- -m slow` runs."""
    items.sort(key=lambda item: (*LONGEST, item.path.name).index(item.path.name))
    for item in items:
        if item.name.startswith(SLOW.get(item.path.name, ("no test",))):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def engine() -> docker.DockerClient:
    """Return the container engine's client; without an engine, skip, or fail if one is required."""
    try:
        client = docker.from_env(timeout=60)
        client.ping()
    except DockerException as error:
        if os.environ.get("REQUIRE_ENGINE") == "1":
            pytest.fail(f"REQUIRE_ENGINE is 1, and no container engine answers: {error}")
        pytest.skip(f"no container engine answers: {error}")
    return client


@contextmanager
def removed_stacks(
    engine: docker.DockerClient, factory: pytest.TempPathFactory
) -> Iterator[MakeStack]:
    """Make stacks (not up yet), and remove them at the end whatever happened."""
    with ExitStack() as removals:  # which goes on where one of them fails

        def make(
            services: Sequence[str] = SERVING,
            *,
            of: Path = REPOSITORY,
            models: bool = True,
            **variables: str,
        ) -> Stack:
            root = factory.mktemp("stack") / "repository"
            made = Stack(root, engine, services, of=of, models=models, **variables)
            removals.callback(made.remove)
            return made

        yield make


@pytest.fixture(scope="module")
def make_stack(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeStack]:
    """Make stacks that end with the module: each takes the processor's time while it is up."""
    with removed_stacks(engine, tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="session")
def stack(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Return a stack of the profile dev that is up, made from more than was committed."""
    with removed_stacks(engine, tmp_path_factory) as make:
        made = make(models=False)  # which trains them, as a first start does
        (made.root / "new.txt").touch()
        made.up()
        yield made


@pytest.fixture(scope="module")
def production(make_stack: MakeStack) -> Stack:
    """Return a stack of the profile prod that is up."""
    made = make_stack(APP_ENV="prod", API_WORKERS="2")
    made.up()
    return made
