"""The nightly backup on the host's own scheduler: a line for cron, units for systemd."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.backup.schedule import nightly
from slipway.core import journal
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from datetime import time

    from slipway.core.project import Project

KINDS = ("service", "timer")
"""The two units that systemd needs."""


@dataclass(frozen=True)
class HostSchedule:
    """Where the tasks run, as which user, and when."""

    project: Project
    profile: str
    engine: str
    at: time
    """A time of day in UTC."""
    inv: Path
    user: str

    @property
    def command(self) -> list[str]:
        """The nightly backup as a person would type it."""
        where = ["--profile", self.profile, "--engine", self.engine]
        return [str(self.inv), nightly.VERB, "--kind", nightly.KIND, *where]

    @property
    def log(self) -> Path:
        """The log of the command."""
        return self.project.run / "backup.log"

    @property
    def name(self) -> str:
        """The name of the units."""
        return f"{self.project.slug}-backup"


def host_schedule(project: Project, profile: str, engine: str, at: time) -> HostSchedule:
    """Return a schedule for this machine and the Python environment of this process."""
    inv = Path(sys.executable).with_name("inv")
    return HostSchedule(project, profile, engine, at, inv, journal.who().partition("@")[0])


def cron_line(here: HostSchedule) -> str:
    """Return a line for a crontab.

    Raises:
        Refused: the path of the repository has a line break.
    """
    root, log = shlex.quote(str(here.project.root)), shlex.quote(str(here.log))
    line = f"cd {root} && {shlex.join(here.command)} >> {log} 2>&1".replace("%", "\\%")
    _refuse_broken(line)
    when = f"{here.at.minute} {here.at.hour} * * *"
    return f"# cron uses the time zone of the machine, or CRON_TZ\n{when} {line}\n"


def systemd_unit(here: HostSchedule, kind: str) -> str:
    """Return one of the two systemd units.

    Raises:
        Refused: there is no such unit, or the path of the repository has a line break.
    """
    if kind not in KINDS:
        raise Refused(f"there is no unit {kind!r}", f"choose one of: {', '.join(KINDS)}", code=2)
    text = _service(here) if kind == "service" else _timer(here)
    return "\n".join(["[Unit]", f"Description=Restore points of {here.project.slug}", *text, ""])


def _service(here: HostSchedule) -> list[str]:
    # Through env: systemd does not accept quotes in the path of a program.
    lines = [
        "After=network.target docker.service",
        "",
        "[Service]",
        "Type=oneshot",
        f"User={here.user}",
        f"WorkingDirectory={_plain(here.project.root)}",
        f"ExecStart=/usr/bin/env {' '.join(map(_word, here.command))}",
        f"StandardOutput=append:{_plain(here.log)}",
        "StandardError=inherit",
    ]
    for line in lines:
        _refuse_broken(line)
    return lines


def _timer(here: HostSchedule) -> list[str]:
    return [
        "",
        "[Timer]",
        f"OnCalendar=*-*-* {here.at:%H:%M}:00 UTC",
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]


def _word(text: str) -> str:
    """Quote a word of a command as systemd reads it."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{_plain(plain)}"' if plain != text or " " in text else _plain(plain)


def _plain(path: Path | str) -> str:
    """Escape what systemd would expand."""
    return str(path).replace("%", "%%")


def _refuse_broken(line: str) -> None:
    if "\n" in line or "\r" in line:
        raise Refused("the path of this repository has a line break", "move the repository", code=2)
