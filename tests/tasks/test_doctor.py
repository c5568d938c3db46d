from __future__ import annotations

import json
import re
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from slipway.backup import drill
from slipway.config import values
from slipway.core import journal
from slipway.tasks.findings import check_machine
from tests.support import restore_points
from tests.support.scratch import SCHEMA
from tests.support.user_hooks import add_hook

if TYPE_CHECKING:
    from slipway.core.errors import Finding
    from tests.support.scratch import Scratch


def findings(scratch: Scratch) -> dict[str, Finding]:
    return {item.check: item for item in check_machine(scratch.project, "dev")}


def test_a_fresh_repository_is_told_what_to_type(scratch: Scratch) -> None:
    scratch.write("src/scratch/prepare.py", "")
    found = findings(scratch)
    assert (found["env"].state, found["env"].fix) == ("warn", "inv env.init --profile dev")
    assert (found["models"].state, found["stack"].state) == ("warn", "ok")
    assert scratch.inv("doctor").returncode == 0


def test_a_misspelled_hook_is_told_with_its_right_name(scratch: Scratch) -> None:
    assert "hooks" not in findings(scratch)
    add_hook(scratch.root, "pre-deplyo")
    found = findings(scratch)["hooks"]
    assert (found.state, found.detail) == ("warn", "hooks/pre-deplyo is never run")
    assert found.fix == "mv hooks/pre-deplyo hooks/pre-deploy"


def test_what_services_do_without_is_not_asked_for(scratch: Scratch) -> None:
    (scratch.root / "src/scratch/settings.py").unlink()
    assert not {"settings", "models"} & findings(scratch).keys()


def test_what_is_wrong_fails_with_what_to_do(scratch: Scratch) -> None:
    values.create_env_file(scratch.project, "dev")
    (scratch.root / ".env.dev").chmod(0o644)
    with socket.create_server(("127.0.0.1", scratch.port)):
        found = findings(scratch)
        done = scratch.inv("doctor", "--json")
    assert (found["env"].state, found["env"].fix) == ("fail", "chmod 600 .env.dev")
    assert found["ports"].state == "fail"
    assert f"{scratch.port} of web: process" in found["ports"].detail
    assert done.returncode == 1
    assert {item["check"] for item in json.loads(done.stdout)} >= {"python", "disk", "engine"}


def test_a_line_of_the_journal_that_cannot_be_read_is_named(scratch: Scratch) -> None:
    journal.append(scratch.root, "deploy.up", outcome="done")
    assert "journal" not in findings(scratch)
    with (scratch.root / journal.NAME).open("a") as file:
        file.write("[" * 100_000 + "\n")
    said = findings(scratch)["journal"]
    assert said.state == "warn"
    assert said.detail == "journal.jsonl: lines that cannot be read are skipped: 2"


def test_a_secret_that_is_to_be_rotated_is_told(scratch: Scratch) -> None:
    assert "rotation" not in findings(scratch)
    period = 'secret = 32\nrotation = {every = "2 months", how = "Anew."}'
    scratch.write("env/schema.toml", SCHEMA.format(port=1).replace("secret = 32", period))
    assert "rotation" not in findings(scratch)
    values.create_env_file(scratch.project, "dev")
    said = findings(scratch)["rotation"]
    assert said.state == "ok"
    assert re.fullmatch(r"the next is due on 20\d\d-\d\d-\d\d: API_KEY", said.detail)
    (scratch.root / journal.NAME).unlink()
    said = findings(scratch)["rotation"]
    assert (said.state, said.detail) == ("warn", "API_KEY unknown")
    assert said.fix == "inv env.due --profile dev"


def test_a_value_that_is_missing_is_named(scratch: Scratch) -> None:
    scratch.write(".env.dev", "WEB_PORT=1").chmod(0o600)
    assert findings(scratch)["env"].detail == "API_KEY has no value: Opens doors."


def test_a_check_that_cannot_be_made_is_a_finding(scratch: Scratch) -> None:
    scratch.write("compose.yaml", "services: [")
    assert findings(scratch)["ports"].state == "fail"


def test_a_copy_off_site_that_failed_is_told_until_one_succeeds(scratch: Scratch) -> None:
    facts = {"point": "20261122-020000-3f2a", "to": "offsite"}
    journal.append(scratch.root, "backup.export", outcome="failed", error="no answer", **facts)
    said = findings(scratch)["off-site"]
    assert (said.state, said.fix) == (
        "warn",
        "inv backup.export 20261122-020000-3f2a --to offsite",
    )
    assert "failed, no answer" in said.detail
    journal.append(scratch.root, "backup.export", outcome="done", **facts)
    assert "off-site" not in findings(scratch)


def test_a_pointer_to_nothing_fails(scratch: Scratch) -> None:
    (scratch.root / "models").mkdir()
    (scratch.root / "models" / "tier1_current.onnx").symlink_to("gone.onnx")
    assert "tier1 -> gone.onnx, which is not a complete model" in next(
        item.detail for item in check_machine(scratch.project, "dev") if item.state == "fail"
    )


def test_a_running_stack_is_well_and_its_ports_are_ours(scratch: Scratch) -> None:
    values.create_env_file(scratch.project, "dev")
    assert scratch.inv("deploy.up", "--engine", "local").returncode == 0
    found = findings(scratch)
    assert (found["ports"].state, found["stack"].detail) == ("ok", "1 services are healthy")


@pytest.mark.parametrize(
    ("hours", "state", "detail"),
    [
        (1, "ok", "age 60 min"),
        (23.9, "ok", "age 23 h"),
        (24.1, "warn", "age 24 h; the objective is 24 h"),
        (24 * 400, "warn", "age 400 d; the objective is 24 h"),
        (-5, "warn", "the clock was set back"),
    ],
)
def test_a_restore_point_that_is_too_old_is_warned_of(
    scratch: Scratch, hours: float, state: str, detail: str
) -> None:
    at = datetime.now(UTC) - timedelta(hours=hours)
    made = restore_points.write(scratch.project.backups, 1, at)
    restore_points.write(scratch.project.backups, 2, verified=False)
    restore_points.write(scratch.project.backups, 3, profile="prod")
    found = findings(scratch)["backups"]
    assert (found.state, found.fix) == (state, "inv backup.create" if state == "warn" else "")
    assert made.id in found.detail
    assert detail in found.detail


def test_a_repository_without_a_restore_point_is_told_how_to_make_one(scratch: Scratch) -> None:
    found = findings(scratch)["backups"]
    assert (found.state, found.fix) == ("warn", "inv backup.create")
    assert found.detail == "no verified restore point of profile dev on engine local"


@pytest.mark.parametrize(
    ("days", "facts", "said", "fix"),
    [
        (3, {}, "p1, 3 d ago, took 74 s; the objective is 1 h", ""),
        (89, {}, "89 d ago", ""),
        (91, {}, "the objective is one every 90 days", drill.DRILL_COMMAND),
        (3, {"seconds": 3700.0}, "took 62 min; the objective is 1 h", "shorten it"),
        (3, {"outcome": "failed", "error": "no"}, "p1, 3 d ago, failed: no", drill.DRILL_COMMAND),
    ],
)
def test_a_drill_that_is_old_or_failed_or_was_slow_is_warned_of(
    scratch: Scratch, days: int, facts: dict[str, object], said: str, fix: str
) -> None:
    entry = {"point": "p1", "profile": "dev", "engine": "local", "seconds": 74.0, "outcome": "done"}
    at = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
    journal.append(scratch.root, drill.VERB, **{**entry, **facts, "at": at})
    found = findings(scratch)["drill"]
    assert (found.state, said in found.detail) == ("warn" if fix else "ok", True), found
    assert found.fix.startswith(fix)


def test_a_repository_without_a_drill_is_told_how_to_make_one(scratch: Scratch) -> None:
    assert (findings(scratch)["drill"].fix) == "inv backup.create"
    restore_points.write(scratch.project.backups, 1)
    found = findings(scratch)["drill"]
    assert (found.state, found.fix) == ("warn", "inv backup.drill latest")
    assert found.detail == "none yet of profile dev on engine local"
