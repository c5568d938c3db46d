"""What a host's own cron and systemd are given, on a path that both would misread."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.backup.schedule import host_timers, timetable
from slipway.backup.schedule.host_timers import HostSchedule
from slipway.core.errors import Refused
from slipway.core.project import Project


def host(root: Path, at: str = "02:30") -> HostSchedule:
    inv = root / ".venv" / "bin" / "inv"
    project = Project(root, "Größe", "grosse", "grosse")
    return HostSchedule(project, "prod", "compose", timetable.parse_time(at), inv, "deployer")


@pytest.fixture
def here(tmp_path: Path) -> HostSchedule:
    """Return a host whose `inv` writes down what it is called with, and where."""
    made = host(tmp_path / 'a path\'s 100% "$HOME" with späces')
    made.inv.parent.mkdir(parents=True)
    made.project.run.mkdir()
    made.inv.write_text('#!/bin/sh\necho "$PWD" "$@"\n', encoding="utf-8")
    made.inv.chmod(0o755)
    return made


CREATE = "backup.create --kind scheduled --profile prod --engine compose"


def test_the_line_for_cron_makes_one_and_logs_it(here: HostSchedule) -> None:
    comment, line = host_timers.cron_line(here).splitlines()
    assert comment.startswith("# ")
    assert line.startswith("30 2 * * * ")
    # cron ends a command at the first % without a backslash, and takes those backslashes away.
    command = line.split(" ", 5)[5]
    assert "%" not in command.replace("\\%", "")
    typed = command.replace("\\%", "%")
    subprocess.run(["/bin/sh", "-c", typed], env={"PATH": "/usr/bin:/bin"}, cwd="/", check=True)
    assert here.log.read_text() == f"{here.project.root} {CREATE}\n"


def test_the_units_are_what_systemd_takes(here: HostSchedule, tmp_path: Path) -> None:
    service, timer = (host_timers.systemd_unit(here, kind) for kind in host_timers.KINDS)
    for line in (
        "Type=oneshot",
        "User=deployer",
        "StandardError=inherit",
        f"WorkingDirectory={str(here.project.root).replace('%', '%%')}",
        f"StandardOutput=append:{str(here.log).replace('%', '%%')}",
    ):
        assert line in service.splitlines()
    (start,) = [line for line in service.splitlines() if line.startswith("ExecStart=")]
    assert start.endswith(CREATE)
    assert {"Persistent=true", "OnCalendar=*-*-* 02:30:00 UTC"} < {*timer.splitlines()}
    assert "PASSWORD" not in service + timer
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("no systemd-analyze")
    files = [tmp_path / f"{here.name}.{kind}" for kind in host_timers.KINDS]
    for file, text in zip(files, (service, timer), strict=True):
        file.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [analyze, "verify", *map(str, files)], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if here.name in line]
    assert not said, done.stderr


def test_plain_words_are_not_quoted() -> None:
    service = host_timers.systemd_unit(host(Path("/srv/weather")), "service")
    assert f"ExecStart=/usr/bin/env /srv/weather/.venv/bin/inv {CREATE}\n" in service


def test_what_cannot_be_said_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no unit 'socket'"):
        host_timers.systemd_unit(host(tmp_path), "socket")
    broken = host(Path("/srv/a\nb"))
    for write in (host_timers.cron_line, lambda made: host_timers.systemd_unit(made, "service")):
        with pytest.raises(Refused, match="a line break"):
            write(broken)


def test_this_machine_is_the_one_that_runs_the_tasks(tmp_path: Path) -> None:
    project = Project(tmp_path, "A", "a", "a")
    made = host_timers.host_schedule(project, "dev", "local", timetable.parse_time("02:00"))
    assert made.inv.parent == Path(sys.executable).parent
    assert made.user
    assert made.command[1] == "backup.create"
