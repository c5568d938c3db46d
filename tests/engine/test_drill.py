"""A drill beside a stack of containers, whose database is PostgreSQL."""

from __future__ import annotations

import re
import signal
import urllib.request
from typing import TYPE_CHECKING

from slipway.stack.ephemeral import cleanup
from tests.support import drills
from tests.support.promotions import KILL

if TYPE_CHECKING:
    from tests.engine import conftest

INTERRUPT = "(sleep 3; kill -INT $PPID) >/dev/null 2>&1 &"
"""In the middle of what follows."""


class Containers(drills.Stack):
    """A stack beside which drills are made in containers."""

    def __init__(self, stack: conftest.Stack) -> None:
        super().__init__(stack)
        self.stack = stack

    def left(self, said: str) -> list[str]:
        """Return what is there of the stack of a drill."""
        name = drills.name_in(said)
        folders = [str(path) for path in self.folders if path.name == name]
        commands = [str(process) for process in cleanup.compose_processes(name)]
        return [*dict(cleanup.stack_parts(self.stack.client, name)), *folders, *commands]


def test_what_a_drill_needs_is_its_own_and_goes_with_it(stack: conftest.Stack) -> None:
    own = Containers(stack)
    point = own.create()
    before = own.untouched()

    code, killed = own.drill_but("migration", KILL, point)
    there = own.left(killed)
    assert code == -signal.SIGKILL
    assert {entry.split()[0] for entry in there} >= {"container", "network", "volume", "image"}

    code, interrupted = own.drill_but("start", INTERRUPT, point)
    assert (code, own.entry["outcome"]) == (130, "interrupted")
    assert f"remains of an earlier drill: {drills.name_in(killed)}" in interrupted
    assert [*own.left(killed), *own.left(interrupted)] == []

    said = own.drill(point, "--keep")
    assert [*own.entry["steps"]][:3] == ["copy", "images", "server"]
    assert (own.entry["outcome"], own.entry["engine"]) == ("done", "compose")
    assert re.search(rf"Drill of {point} took \d+ s; the objective is 1 h\.", said)
    (url, *_) = re.findall(r"It is still up, in .*: (http://[^\s,]+)", said)
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.status == 200
    drills.end_as_told(own, said)
    assert (own.left(said), own.untouched()) == ([], before)
