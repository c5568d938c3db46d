"""The password of the cache in containers: it accepts two for as long as services move.

What is told to Redis is the digest of a password, which is what it keeps (ACL SETUSER). That holds
until it is started anew; then the file that it was handed says which one is accepted.
"""

from __future__ import annotations

import hashlib
import re
import time
from typing import TYPE_CHECKING, ClassVar

from slipway.config import values
from slipway.core.errors import Refused
from slipway.secret.rotation import probe as rotation_probe
from slipway.secret.rotation.base import (
    ACCEPT,
    CHECK,
    LIMIT,
    MOVE,
    POLL,
    PROBE,
    RECORD,
    RETIRE,
    VALUE,
    Renewal,
    counted,
    described,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SERVICE, URL = "redis", "REDIS_URL"
QUIET = 1
"""Seconds that a connection has to be idle before it is ended."""
COMMANDS = """
IFS= read -r REDISCLI_AUTH
export REDISCLI_AUTH
exec redis-cli
"""
"""The first line that it is given is the password, the rest are commands."""
CONNECTION = re.compile(
    r"^id=(?P<id>\d+) addr=(?P<address>[^ ]*):\d+ .*\bage=(?P<age>\d+) idle=(?P<idle>\d+) ",
    re.MULTILINE,
)


class Cache(Renewal):
    """A renewal of REDIS_PASSWORD."""

    steps: ClassVar[tuple[str, ...]] = (VALUE, ACCEPT, PROBE, RECORD, MOVE, CHECK, RETIRE)
    doing: ClassVar[Mapping[str, str]] = {
        **Renewal.doing,
        RETIRE: "ending the connections that were made before",
    }

    def refuse(self) -> None:
        """Find what stands against it."""
        server = self.engine.service_container(SERVICE)
        if server is None:
            what = "as a process, the cache answers this machine alone, and has no password"
            raise Refused(what, f"inv env.rotate {self.name} --engine compose, on a stack of that")
        super().refuse()
        url = self.values.get(URL)
        if url and url.source != values.DEFAULT:
            what = f"{URL} is set in {url.source}, so services do not follow {self.name}"
            raise Refused(what, f"change the password where {URL} leads, then {URL} itself")
        self.server = server
        self.server.container()
        self.before = self.values[self.name].value
        self.since: dict[str, float] = {}
        """When each service was handed the new value, by a clock that nobody sets."""

    def plan(self) -> Iterator[tuple[str, str]]:
        """Yield each step, and what it will do."""
        yield VALUE, described(self.order.variable)
        yield ACCEPT, f"{SERVICE} accepts it beside the one before"
        yield PROBE, "log in with both"
        yield RECORD, f"into {self.path.name}"
        yield MOVE, self.told_of(self.in_order(dict.fromkeys(self.running())), "while it runs")
        yield CHECK, "every service is healthy, and each replica reaches the cache"
        yield RETIRE, "the one before is refused, and what was connected with it is ended"

    def in_order(self, services: Mapping[str, object]) -> list[str]:
        """Return the server last: started anew, it accepts what its own file says."""
        return sorted(services, key=lambda name: name == SERVICE)

    def value(self) -> str:
        """Make the new value, and see that the one before is what the server has."""
        self._refuse_no_entry(self.before)
        return super().value()

    def accept(self) -> str:
        """Have the new value accepted too."""
        self._told(self.before, f"ACL SETUSER default {accepted(self.new[self.name])}")
        return "both are accepted"

    def probe(self) -> str:
        """Log in with both."""
        for password in (self.before, self.new[self.name]):
            self._refuse_no_entry(password)
        return "both are let in"

    def follow(self, service: str) -> None:
        """Wait until a service is well; it connects with the new value from now on."""
        self.since.setdefault(service, time.monotonic())
        self.await_health(service, time.monotonic() + LIMIT)

    def check(self) -> str:
        """See that all is well, and that every replica reaches the cache."""
        if not self._enters(self._now()):  # it ended in between, and began with the one before
            self.engine.restart(SERVICE, LIMIT)
        said = super().check()
        answers = rotation_probe.everywhere(
            self.session, [rotation_probe.HEALTH, rotation_probe.FORECAST]
        )
        rotation_probe.refuse_bad(answers)
        return f"{said}; reached from {counted(len(answers) // 2, 'replica')}"

    def retire(self) -> str:
        """Have nothing but the new value accepted, and end what was connected before."""
        password = self._now()
        self._refuse_no_entry(password)
        self.done.retired = True
        self._told(password, f"ACL SETUSER default {alone(password)}")
        start = time.monotonic()
        while left := self._of_before():
            if time.monotonic() - start > LIMIT:
                raise Refused(f"{len(left)} connections are still of before")
            quiet = [item["id"] for item in left if int(item["idle"]) >= QUIET]
            if quiet:
                self._told(password, *(f"CLIENT KILL ID {id_}" for id_ in quiet))
            time.sleep(POLL)
        if self.before != password:
            self._refuse_entry(self.before)
        rotation_probe.refuse_bad(rotation_probe.everywhere(self.session, [rotation_probe.HEALTH]))
        return "it is refused"

    def withdraw(self) -> None:
        """Have only the value before accepted again."""
        if self.new:
            self._told(self.before, f"ACL SETUSER default {alone(self.before)}")

    def _now(self) -> str:
        """Return the value that the env file has now."""
        held = values.held(self.project, self.session.profile, self.engine.name)
        return held[self.name]

    def _of_before(self) -> list[dict[str, str]]:
        """Return the connections that services had made before they were handed the new value."""
        whose, now = self.server.addresses(), time.monotonic()
        return [
            item
            for item in connections(self._said(self._now(), "CLIENT LIST"))
            if (since := self.since.get(whose.get(item["address"], "")))
            and int(item["age"]) > now - since + QUIET
        ]

    def _told(self, password: str, *commands: str) -> None:
        """Tell the server something.

        Raises:
            Refused: it did not take it.
        """
        lines = self._said(password, *commands).splitlines()
        wrong = [line for line in lines if line.strip() and line.strip() not in ("OK", "0", "1")]
        if wrong:
            raise Refused(f"{SERVICE}: {wrong[0][:200]}", f"inv deploy.logs --service {SERVICE}")

    def _said(self, password: str, *commands: str) -> str:
        """Return what the server says to commands."""
        given = "".join(f"{line}\n" for line in (password, *commands))
        done = self.server.run("sh", "-c", COMMANDS, given=given)
        if done.code:
            raise Refused(f"{SERVICE}: {done.err.strip()[-300:]}", "inv deploy.status")
        return done.out

    def _enters(self, password: str) -> bool:
        return self._said(password, "PING").strip().endswith("PONG")

    def _refuse_no_entry(self, password: str) -> None:
        """Check that a password is accepted.

        Raises:
            Refused: it is not.
        """
        if not self._enters(password):
            what = f"{SERVICE} does not accept the value of {self.path.name}"
            raise Refused(what, f"put the value back that it was started with: {self.path.name}")

    def _refuse_entry(self, password: str) -> None:
        if self._enters(password):
            raise Refused(f"{SERVICE} still accepts the value before")


def accepted(password: str) -> str:
    """Build the rule that accepts a password beside others."""
    return f"#{hashlib.sha256(password.encode()).hexdigest()}"


def alone(password: str) -> str:
    """Build the rules that accept one password and no other."""
    return f"resetpass {accepted(password)}"


def connections(said: str) -> list[dict[str, str]]:
    """Read the answer to CLIENT LIST."""
    return [found.groupdict() for found in CONNECTION.finditer(said)]
