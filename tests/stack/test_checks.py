"""The checks of this machine, as `inv doctor` makes them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from slipway.core.errors import Finding, Refused
from slipway.stack import checks
from slipway.stack.checks import ENOUGH_DISK, TOO_LITTLE_DISK, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.scratch import Scratch


@pytest.mark.parametrize(
    ("free", "state"),
    [
        (ENOUGH_DISK, "ok"),
        (ENOUGH_DISK - 1, "warn"),
        (TOO_LITTLE_DISK, "warn"),
        (TOO_LITTLE_DISK - 1, "fail"),
    ],
)
def test_too_little_disk_is_warned_of_and_then_fails(free: int, state: str) -> None:
    assert checks.disk_state(free) == state


@pytest.mark.parametrize(
    ("version", "prefix", "state"),
    [
        ((3, 11, 0), "/venv", "ok"),
        ((3, 13, 1), sys.base_prefix, "warn"),
    ],
)
def test_python_should_be_in_an_environment(
    version: tuple[int, ...],
    prefix: str,
    state: str,
    scratch: Scratch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(sys, "prefix", prefix)
    (found,) = checks.check_python(Machine(scratch.project, "dev"))
    assert (found.check, found.state) == ("python", state)


def test_a_check_that_cannot_be_made_is_a_finding_of_its_name(scratch: Scratch) -> None:
    machine = Machine(scratch.project, "dev")

    def refused(_machine: Machine) -> Iterator[Finding]:
        raise Refused("first line\nsecond line", "type this")

    def broken(_machine: Machine) -> Iterator[Finding]:
        raise OSError("the disk is gone")

    assert checks.run_check("ports", refused, machine) == [
        Finding("ports", "fail", "first line", "type this")
    ]
    assert checks.run_check("disk", broken, machine) == [
        Finding("disk", "fail", "the disk is gone")
    ]


def test_what_containers_cannot_read_is_named(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes = "['./rules:/rules:ro', './data:/data']"
    scratch.write("compose.yaml", f"services: {{web: {{user: '65534', volumes: {volumes}}}}}")
    scratch.write("rules/a.yaml", "").chmod(0o600)
    scratch.write("data/a.csv", "").parent.chmod(0o700)
    (scratch.root / "rules").chmod(0o755)
    machine = Machine(scratch.project, "dev")
    monkeypatch.setattr(machine.engine, "name", "compose")
    said = "web cannot read it (user 65534)"
    assert [*checks.check_mounts(machine)] == [
        Finding("mounts", "warn", f"rules/a.yaml: {said}", "chmod -R a+rX rules/a.yaml"),
        Finding("mounts", "warn", f"data: {said}", "sudo chown -R 65534 data"),
    ]
    (scratch.root / "rules/a.yaml").chmod(0o644)
    (scratch.root / "data").chmod(0o755)
    assert [*checks.check_mounts(machine)] == []
