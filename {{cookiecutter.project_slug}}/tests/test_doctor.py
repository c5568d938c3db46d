from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

from ops import environment
from ops.doctor import examine

if TYPE_CHECKING:
    from ops.findings import Finding
    from tests.conftest import Scratch


def findings(scratch: Scratch) -> dict[str, Finding]:
    return {item.check: item for item in examine(scratch.project, "dev")}


def test_a_fresh_repository_is_told_what_to_type(scratch: Scratch) -> None:
    found = findings(scratch)
    assert (found["env"].state, found["env"].fix) == ("warn", "inv env.init --profile dev")
    assert (found["models"].state, found["stack"].state) == ("warn", "ok")
    assert scratch.inv("doctor").returncode == 0


def test_what_is_wrong_fails_with_what_to_do(scratch: Scratch) -> None:
    environment.init(scratch.project, "dev")
    (scratch.root / ".env.dev").chmod(0o644)
    with socket.create_server(("127.0.0.1", scratch.port)):
        found = findings(scratch)
        done = scratch.inv("doctor", "--json")
    assert (found["env"].state, found["env"].fix) == ("fail", "chmod 600 .env.dev")
    assert found["ports"].state == "fail"
    assert f"{scratch.port} of web: process" in found["ports"].detail
    assert done.returncode == 1
    assert {item["check"] for item in json.loads(done.stdout)} >= {"python", "disk", "engine"}


def test_a_value_that_is_missing_is_named(scratch: Scratch) -> None:
    scratch.write(".env.dev", "WEB_PORT=1").chmod(0o600)
    assert findings(scratch)["env"].detail == "no value for API_KEY"


def test_a_check_that_cannot_be_made_is_a_finding(scratch: Scratch) -> None:
    scratch.write("compose.yaml", "services: [")
    assert findings(scratch)["ports"].state == "fail"


def test_a_pointer_to_nothing_fails(scratch: Scratch) -> None:
    (scratch.root / "models").mkdir()
    (scratch.root / "models" / "tier1_current.onnx").symlink_to("gone.onnx")
    assert "tier1 -> gone.onnx, which is no complete model" in next(
        item.detail for item in examine(scratch.project, "dev") if item.state == "fail"
    )


def test_a_running_stack_is_well_and_its_ports_are_ours(scratch: Scratch) -> None:
    environment.init(scratch.project, "dev")
    assert scratch.inv("deploy.up", "--engine", "local").returncode == 0
    found = findings(scratch)
    assert (found["ports"].state, found["stack"].detail) == ("ok", "1 services are healthy")
