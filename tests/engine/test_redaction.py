"""No secret of a server's stack is in anything that work with it leaves behind."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from slipway.core.project import load
from slipway.core.redaction import MASK
from slipway.secret.scan_images import LayerSearch
from tests.support.secret_leaks import Hunt

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import MakeStack, Stack


def test_nothing_that_a_session_leaves_behind_holds_a_secret(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    stack = make_stack(
        APP_ENV="prod", SLIPWAY_ENGINE="compose", API_WORKERS="1", TMPDIR=str(temporary)
    )
    stack.inv("build.images")
    hunt = Hunt(stack, "prod")
    remember_layers(stack, hunt)
    with hunt.watched():
        work(stack, hunt, tmp_path)
    hunt.files(stack.root)
    hunt.files(temporary)
    hunt.look("the archive", (tmp_path / "point.tar").read_bytes())
    engine(stack, hunt)
    assert hunt.found == set()
    control(stack, hunt.again())


def remember_layers(stack: Stack, hunt: Hunt) -> None:
    """Let env.check leave out the layers that are older than the values: it takes minutes."""
    layers = LayerSearch(load(stack.root), hunt.planted, 0)
    for item in stack.client.api.images():
        layers.clean |= {*stack.client.api.inspect_image(item["Id"])["RootFS"].get("Layers", ())}
    layers.remember()


def work(stack: Stack, hunt: Hunt, folder: Path) -> None:
    """Type what people type, and what goes wrong for them."""
    hunt.inv("deploy.up")
    assert leaks(hunt) == []
    hunt.inv("deploy.status", "--json")
    for key, code in ((hunt.planted["API_KEY"], 200), ("wrong" * 8, 403), ("", 401)):
        assert asked(stack, key) == code
    hunt.inv("data.collect")
    hunt.inv("models.train", "--tier=tier2")
    hunt.inv("models.promote", "tier2", "v1.1", "--watch=1")
    hunt.inv("models.rollback", "tier2")
    hunt.inv("backup.create")
    (point,) = json.loads(hunt.inv("backup.list", "--json"))
    hunt.inv("backup.export", point["id"], f"--to={folder / 'point.tar'}")
    hunt.inv("backup.restore", point["id"], "--only=database", "--yes")
    hunt.inv("db.migrate")
    if "env.rotate" in hunt.inv("--list"):
        said = hunt.inv("env.rotate", "POSTGRES_PASSWORD", "--yes")
        hunt.renewed()
        hunt.look("the output of env.rotate", said)
        remember_layers(stack, hunt)
    assert leaks(hunt) == []
    assert MASK in hunt.inv("env.show", "--json")
    hunt.inv("doctor")
    hunt.inv("models.promote", "tier1", "v9.9", code=1)
    hunt.inv("deploy.scale", "proxy=2", code=1)
    said = hunt.break_down()
    assert f"POSTGRES_PASSWORD={MASK}" in said
    hunt.inv("deploy.logs", "--lines=1000")


def leaks(hunt: Hunt) -> list[dict[str, str]]:
    """Return what env.check finds in images and containers, and what it had no time for."""
    found = json.loads(hunt.inv("env.check", "--json"))
    return [item for item in found if item["check"] in ("image", "container")]


def asked(stack: Stack, key: str) -> int:
    """Ask the API for something that only a key opens."""
    url = f"{stack.api}/admin/reload-model"
    request = urllib.request.Request(url, b"", {"X-API-Key": key})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def engine(stack: Stack, hunt: Hunt) -> None:
    """Look through what the engine says of the stack, and what its containers have printed."""
    ours = {"label": f"com.docker.compose.project={stack.name}"}
    for item in stack.client.containers.list(all=True, filters=ours):
        hunt.look(f"the log of {item.name}", item.logs())
        hunt.look(f"what inspecting {item.name} shows", json.dumps(item.attrs))
        facts = [item.image.attrs, item.image.history()]
        hunt.look(f"the image of {item.name}", json.dumps(facts))


def control(stack: Stack, hunt: Hunt) -> None:
    """Show that what is planted would be found, wherever it is."""
    value = hunt.values["POSTGRES_PASSWORD"]
    (stack.root / "run" / "planted").write_bytes(hunt.values["API_KEY"].encode())
    hunt.files(stack.root)
    assert hunt.found == {("API_KEY", "run/planted")}
    labels = {"com.docker.compose.project": stack.name, "com.docker.compose.service": "api"}
    (api, *_) = stack.containers("api")
    with hunt.watched():
        said = stack.client.containers.run(
            api.image,
            ["python", "-c", "import sys, time; print(sys.argv[1]); time.sleep(1)", value],
            environment={"KEY": hunt.planted["API_KEY"]},
            labels=labels,
            name=f"{stack.name}-planted",
        )
    assert value in said.decode()
    engine(stack, hunt)
    name = f"{stack.name}-planted"
    assert hunt.found == {
        ("API_KEY", "run/planted"),
        ("API_KEY", f"what inspecting {name} shows"),
        ("POSTGRES_PASSWORD", f"what inspecting {name} shows"),
        ("POSTGRES_PASSWORD", f"the log of {name}"),
        ("POSTGRES_PASSWORD", "the arguments of a process"),
    }
    stack.client.containers.get(name).remove(force=True)
