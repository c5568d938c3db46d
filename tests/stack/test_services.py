from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slipway.core.errors import Refused
from slipway.stack.services import (
    BindMount,
    LocalService,
    bind_mounts,
    container_only_services,
    local_services,
    shared_run_folders,
    why_single,
)

if TYPE_CHECKING:
    from tests.support.scratch import Scratch


def test_services_come_after_what_they_need_and_without_what_only_containers_run(
    scratch: Scratch,
) -> None:
    assert local_services(scratch.root, {"WEB_PORT": "8123"}) == [
        LocalService("first", ("python", "first.py"), once=True),
        LocalService(
            "web", ("python", "web.py", "8123"), "http://127.0.0.1:8123/", needs=("first",)
        ),
    ]


def test_the_address_and_the_port_follow_from_the_health_check() -> None:
    web = LocalService("web", (), "http://127.0.0.1:8000/health")
    cache = LocalService("cache", (), "tcp://127.0.0.1:6379")
    assert (web.url, web.port) == ("http://127.0.0.1:8000", 8000)
    assert (cache.url, cache.port) == (None, 6379)
    nights = LocalService("nights", (), "file:///srv/app/run/beat")
    assert (nights.url, nights.port) == (None, None)


def test_a_file_of_the_repository_shows_life(scratch: Scratch) -> None:
    local = "{command: python nights.py, health: 'file://{ROOT}/run/beat'}"
    scratch.write("compose.yaml", f"services: {{nights: {{x-local: {local}}}}}")
    (nights,) = local_services(scratch.root, {})
    assert nights.health == f"file://{scratch.root}/run/beat"


def test_folders_of_run_that_services_mount_are_named_once(scratch: Scratch) -> None:
    one = "['../../run/one:/run/one', '../../run:/app/run', 'named:/data', '../../data:/data']"
    two = "['../../run/two/:/app/run/two:ro', '../../run/one:/app/run/one:ro', {type: tmpfs}]"
    for name, volumes in {"one": one, "two": two}.items():
        scratch.write(
            f"services/{name}/compose.yaml", f"services: {{{name}: {{volumes: {volumes}}}}}"
        )
    paths = "services/one/compose.yaml, services/two/compose.yaml"
    scratch.write("compose.yaml", f"include: [{paths}]")
    assert shared_run_folders(scratch.root) == [scratch.root / "run/one", scratch.root / "run/two"]


def test_what_services_mount_of_this_machine_is_listed_with_who_reads_it(scratch: Scratch) -> None:
    long = "{type: bind, source: ../../config, target: /config, read_only: true}"
    volumes = (
        f"['./rules:/rules:ro', '/srv/data:/data:z', 'named:/n', /alone, {{type: tmpfs}}, {long}]"
    )
    service = f"{{user: '${{APP_UID:-1}}', volumes: {volumes}}}"
    scratch.write("services/one/compose.yaml", f"services: {{one: {service}}}")
    scratch.write("compose.yaml", "include: [services/one/compose.yaml]")
    root, user = scratch.root, "${APP_UID:-1}"
    assert [*bind_mounts(root)] == [
        BindMount("one", user, root / "services/one/rules", read_only=True),
        BindMount("one", user, Path("/srv/data"), read_only=False),
        BindMount("one", user, root / "config", read_only=True),
    ]


def test_what_runs_in_containers_only_is_named(scratch: Scratch) -> None:
    scratch.write("compose.yaml", "services: {a: {x-local: {}}, b: {image: b}, c: {profiles: [c]}}")
    assert container_only_services(scratch.root) == ["b"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"compose.yaml": "include: [services/gone/compose.yaml]"}, "gone"),
        ({"compose.yaml": "services: {a: ["}, "compose.yaml"),
        ({"compose.yaml": "- a list"}, "not a mapping"),
        (
            {"compose.yaml": "include: [b.yaml]\nservices: {a: {}}", "b.yaml": "services: {a: {}}"},
            "defined in another file too",
        ),
        ({"compose.yaml": "services: {a: {x-local: {command: 'run {NOWHERE}'}}}"}, "NOWHERE"),
        (
            {
                "compose.yaml": "services: {a: {depends_on: [b], x-local: {command: a}},"
                " b: {depends_on: [a], x-local: {command: b}}}"
            },
            "in a cycle",
        ),
    ],
)
def test_a_broken_stack_is_refused_by_name(
    scratch: Scratch, files: dict[str, str], message: str
) -> None:
    for name, text in files.items():
        scratch.write(name, text)
    with pytest.raises(Refused, match=message):
        local_services(scratch.root, {})


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({}, ""),
        ({"ports": [{"published": "80"}]}, "has a port of this machine"),
        ({"labels": {"runs": "once"}}, "says runs=once"),
        ({"labels": {"runs": "often"}}, ""),
        ({"volumes": [{"type": "volume"}]}, "keeps its data in a volume"),
        ({"volumes": [{"type": "volume", "read_only": True}, {"type": "bind"}]}, ""),
    ],
)
def test_a_service_that_can_run_only_once_says_why(entry: dict[str, Any], why: str) -> None:
    assert why_single(entry) == why
