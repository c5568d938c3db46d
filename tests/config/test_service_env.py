from __future__ import annotations

import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from slipway.config import envfile, service_env
from slipway.config.schema import APPLICATION, COMPOSE, LOCAL, Variable
from slipway.config.service_env import FOLDER, STAMP
from tests.support import promotions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slipway.config.service_env import ServiceEnv
    from tests.support.scratch import Scratch

SCHEMA = """
[APP_ENV]
about = "The profile."
read_by = ["web", "worker"]
default = "dev"
[API_KEY]
about = "Opens doors."
read_by = ["web", "application"]
secret = 32
[OLD_KEY]
about = "Opened doors."
read_by = ["web"]
given = true
optional = true
[STORE_URL]
about = "Where things are."
type = "url"
read_by = ["web", "worker"]
default = "db://app:${STORE_PASSWORD}@store"
[STORE_PASSWORD]
about = "Opens the store."
read_by = ["store"]
secret = 32
[WEB_PORT]
about = "The port."
type = "port"
read_by = ["web"]
default = "80"
[MADE_BY]
about = "Worked out."
set_by = "tasks"
read_by = ["web"]
"""
COMPOSE_FILE = """
services:
  web: {image: web, ports: ["${WEB_PORT}:80"]}
  worker: {image: worker}
  store: {image: store}
"""


@pytest.fixture
def project(scratch: Scratch) -> Scratch:
    scratch.write("env/schema.toml", SCHEMA)
    scratch.write("compose.yaml", COMPOSE_FILE)
    return scratch


def values(**changed: str) -> dict[str, str]:
    password = changed.pop("STORE_PASSWORD", secrets.token_urlsafe())
    key = {"API_KEY": secrets.token_urlsafe(), "STORE_PASSWORD": password}
    plain = {"APP_ENV": "dev", "WEB_PORT": "80", "STORE_URL": f"db://app:{password}@store"}
    return key | plain | changed


def planned(
    scratch: Scratch, held: Mapping[str, str], engine: str = COMPOSE
) -> dict[str, ServiceEnv]:
    return service_env.plan_service_envs(scratch.project, held, engine)


def handed_out(scratch: Scratch, service: str) -> dict[str, str]:
    """Return what a service reads: its variables, and the secrets that those name files of."""
    top = scratch.root / FOLDER
    read = envfile.parsed((top / f"{service}.env").read_text()).values
    inside = f"{service_env.INSIDE}/"
    found = {}
    for name, value in read.items():
        if name.endswith("_FILE"):
            found[name.removesuffix("_FILE")] = (top / value.removeprefix(inside)).read_text()
        elif name != STAMP:
            found[name] = value
    return found


def test_a_service_gets_what_it_reads_and_nothing_else(project: Scratch) -> None:
    held = values()
    service_env.write_service_envs(project.project, planned(project, held), COMPOSE)
    common = {"APP_ENV": "dev", "STORE_URL": held["STORE_URL"]}
    assert handed_out(project, "web") == common | {"API_KEY": held["API_KEY"], "OLD_KEY": ""}
    assert handed_out(project, "worker") == common
    assert handed_out(project, "store") == {"STORE_PASSWORD": held["STORE_PASSWORD"]}
    assert {path.name for path in (project.root / FOLDER / "worker").iterdir()} == {"STORE_URL"}


def test_no_secret_is_in_an_env_file_and_nobody_else_gets_to_the_others(project: Scratch) -> None:
    held = values()
    service_env.write_service_envs(project.project, planned(project, held), COMPOSE)
    top = project.root / FOLDER
    for path in top.glob("*.env"):
        text = path.read_text()
        assert held["API_KEY"] not in text
        assert held["STORE_PASSWORD"] not in text
    assert stat.S_IMODE(top.stat().st_mode) == 0o700
    assert stat.S_IMODE((top / "web").stat().st_mode) == 0o755
    assert stat.S_IMODE((top / "web" / "API_KEY").stat().st_mode) == 0o444


def test_a_process_is_told_of_its_files_and_so_is_a_command_of_the_application(
    project: Scratch,
) -> None:
    found = planned(project, values(), LOCAL)
    assert found["web"].named(LOCAL)["API_KEY_FILE"] == f"{FOLDER}/web/API_KEY"
    assert found[APPLICATION].named(LOCAL) == {"API_KEY_FILE": f"{FOLDER}/{APPLICATION}/API_KEY"}
    assert APPLICATION not in planned(project, values(), COMPOSE)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("KEY", "short", True),  # the schema says so
        ("URL", "db://app:pass@host/x", True),
        ("URL", "db://app@host/x", False),
        ("TEXT", "it holds of-eight-letters, too", True),
        ("TEXT", "short of it", False),
    ],
)
def test_what_is_a_secret(name: str, value: str, secret: bool) -> None:
    described = [
        Variable("KEY", secret=32),
        Variable("OTHER", given=True),
        Variable("SHORT", given=True),
        Variable("URL", type="url"),
        Variable("TEXT"),
    ]
    held = {"OTHER": "of-eight-letters", "SHORT": "short", name: value}
    assert (name in service_env.secret_names(described, held)) == secret


def test_what_runs_is_made_anew_when_a_secret_changed_and_only_then(project: Scratch) -> None:
    held = values()
    first = planned(project, held)
    service_env.write_service_envs(project.project, first, COMPOSE)
    assert planned(project, held) == first
    other = planned(project, held | {"API_KEY": secrets.token_urlsafe()})
    assert other["web"].stamp > first["web"].stamp
    assert other["store"] == first["store"]
    assert not planned(project, held | {"STORE_URL": "db://store"})["worker"].secret


def test_a_rotation_reaches_what_runs_without_its_being_made_anew(project: Scratch) -> None:
    held = values()
    service_env.write_service_envs(project.project, planned(project, held), COMPOSE)
    before = planned(project, held)["web"].stamp
    folder = (project.root / FOLDER / "web").stat().st_ino
    new = secrets.token_urlsafe()
    service_env.replace_secrets(project.project, "web", {"API_KEY": new})
    assert handed_out(project, "web")["API_KEY"] == new
    assert (project.root / FOLDER / "web").stat().st_ino == folder  # what is mounted is the same
    assert planned(project, held | {"API_KEY": new})["web"].stamp == before


def test_what_is_of_no_use_any_more_goes(project: Scratch) -> None:
    service_env.write_service_envs(project.project, planned(project, values()), COMPOSE)
    project.write("compose.yaml", "services: {web: {image: web}}")
    project.write("env/schema.toml", SCHEMA.replace('["web", "application"]', '["application"]'))
    service_env.write_service_envs(project.project, planned(project, values()), COMPOSE)
    left = [path for path in (project.root / FOLDER).rglob("*") if path.is_file()]
    assert {path.name for path in left} == {"web.env", "OLD_KEY", "STORE_URL"}
    assert {*handed_out(project, "web")} == {"APP_ENV", "OLD_KEY", "STORE_URL", "WEB_PORT"}


def test_some_services_can_be_handed_theirs_alone(project: Scratch) -> None:
    held = values()
    service_env.write_service_envs(project.project, planned(project, held), COMPOSE)
    others = handed_out(project, "worker")
    changed = planned(project, held | {"WEB_PORT": "81", "API_KEY": "another-key", "APP_ENV": ""})
    service_env.add_service_envs(project.project, [changed["web"]], COMPOSE)
    assert handed_out(project, "web")["API_KEY"] == "another-key"
    assert handed_out(project, "worker") == others
    service_env.add_service_envs(project.project, [service_env.ServiceEnv("new", {}, {})], COMPOSE)
    assert not (project.root / FOLDER / "new.env").exists()


def test_what_was_handed_out_can_be_put_back(project: Scratch) -> None:
    service_env.write_service_envs(project.project, planned(project, values()), COMPOSE)
    before, web = service_env.read_service_envs(project.project), handed_out(project, "web")
    service_env.write_service_envs(
        project.project, planned(project, values(STORE_URL="db://x")), COMPOSE
    )
    assert handed_out(project, "web") != web
    service_env.restore_service_envs(project.project, before)
    assert service_env.read_service_envs(project.project) == before
    assert handed_out(project, "web") == web


def test_a_full_disk_changes_nothing(project: Scratch) -> None:
    top = project.root / FOLDER
    with promotions.own_disk(top):
        promotions.need_own_disk(top)
        service_env.write_service_envs(project.project, planned(project, values()), COMPOSE)
        before = service_env.read_service_envs(project.project)
        with suppress(OSError), (top / "filler").open("wb", buffering=0) as filler:
            while filler.write(b"x" * 2**20):
                pass
        with pytest.raises(OSError, match="space"):
            service_env.write_service_envs(project.project, planned(project, values()), COMPOSE)
        (top / "filler").unlink()
        assert service_env.read_service_envs(project.project) == before
