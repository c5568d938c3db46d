"""Stages in containers: files of this machine, made by and belonging to who ran them."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from typing import TYPE_CHECKING

import pytest

from slipway.stack.engines.permissions import application_group, application_user
from tests.engine.conftest import image_names
from tests.support.bakes import baked
from tests.support.copies import Copy

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker


BAKES = {"alone": ("pipeline",), "beside services": ("workers", "pipeline")}
SOMEBODY = 4321
"""A user and a group that no image knows."""


@pytest.fixture(params=BAKES)
def copy(
    request: pytest.FixtureRequest,
    engine: docker.DockerClient,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Copy]:
    """Make a fresh copy whose images and containers have a name of their own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    root = tmp_path_factory.mktemp("pipeline") / "repository"
    made = Copy(root, of=baked(*BAKES[request.param]), COMPOSE_PROJECT_NAME=name, VERSION=name)
    made.commit()
    yield made
    for one in engine.containers.list(all=True, filters={"name": name}):
        one.remove(force=True)
    for image in image_names(engine):
        if image.endswith(f":{name}"):
            engine.images.remove(image)
    # Where there are other services, `docker compose run` makes what these would have.
    ours = {"label": f"com.docker.compose.project={name}"}
    for made_too in (*engine.networks.list(filters=ours), *engine.volumes.list(filters=ours)):
        made_too.remove()


def compose(copy: Copy, *arguments: str, **variables: str) -> str:
    """Type `docker compose`, as it is in the README."""
    command = ["docker", "compose", *arguments]
    done = subprocess.run(
        command,
        cwd=copy.root,
        env=copy.environment | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_stages_run_in_containers_and_leave_files_of_this_user(
    copy: Copy, engine: docker.DockerClient
) -> None:
    def run(*arguments: str) -> list[str]:
        copy.inv("pipeline.run", "--engine", "compose", *arguments)
        newest = max((copy.root / "reports" / "pipeline").iterdir())
        said = json.loads((newest / "summary.json").read_text(encoding="utf-8"))
        return [item["state"] for item in said["outcomes"]]

    assert run("--to", "process") == ["made", "made"]
    assert run("--to", "process") == ["skipped", "skipped"]
    said = compose(copy, "run", "--rm", "evaluate", "--folds", "2", "--fold-size", "3")
    assert "evaluate temp_max 1d" in said
    report = copy.root / "artifacts" / "temp_max-1d" / "evaluation.json"
    assert len(json.loads(report.read_text(encoding="utf-8"))["folds"]) == 2

    made = [*(copy.root / "data" / "pipeline").rglob("*"), *report.parent.rglob("*"), report.parent]
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in made}
    assert owners == {(application_user(), application_group())}
    assert (report.stat().st_uid == os.getuid()) == (os.getuid() != 0)
    if os.getuid() == 0:  # as somebody else's `docker compose` would ask for it
        for path in (copy.root / "data", *(copy.root / "data").rglob("*")):
            os.chown(path, SOMEBODY, SOMEBODY)
        who = {"APP_UID": str(SOMEBODY), "APP_GID": str(SOMEBODY)}
        compose(copy, "run", "--rm", "fetch", "--series", "wind", **who)
        (fetched,) = (copy.root / "data" / "pipeline" / "wind-1d").iterdir()
        assert (fetched.stat().st_uid, fetched.stat().st_gid) == (SOMEBODY, SOMEBODY)

    ids = compose(copy, "run", "--rm", "--no-TTY", "shell", "-c", "id -u; touch /app/x || echo no")
    assert ids.splitlines()[0] == str(application_user())
    assert "no" in ids.splitlines()
    name = copy.environment["COMPOSE_PROJECT_NAME"]
    assert engine.containers.list(all=True, filters={"name": name}) == []
    if not (copy.root / "services" / "api").is_dir():
        assert not [one for one in engine.networks.list() if one.name.startswith(name)]
    wrong = copy.inv(
        "pipeline.run", "--engine", "compose", "--only", "process", "--", "--gap-day", "1", code=1
    )
    assert "did you mean --gap-days-max?" in wrong
