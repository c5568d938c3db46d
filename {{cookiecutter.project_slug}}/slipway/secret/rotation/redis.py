"""The cache's password, in containers: the server accepts two while services move.

Redis is sent only the digest of a password, which is what it stores (ACL SETUSER). A restart resets
it to the password in its own file.
"""

from __future__ import annotations

import hashlib
import re
import time
from typing import TYPE_CHECKING

from slipway.config import values as config_values
from slipway.core.errors import Refused
from slipway.secret.rotation.base import RotationStep, count_of
from slipway.secret.rotation.env_file import LIMIT, POLL, EnvFileRotation, await_health
from slipway.secret.rotation.probe import FORECAST, HEALTH, ask_replicas, refuse_bad_answers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway.secret.rotation.base import RotationRequest
    from slipway.stack.engines.exec import ServiceContainer

SERVICE, REDIS_PASSWORD = "redis", "REDIS_PASSWORD"  # pragma: allowlist secret
URL = "REDIS_URL"
QUIET = 1
"""Seconds that a connection has to be idle before it is ended."""
COMMANDS = """
IFS= read -r REDISCLI_AUTH
export REDISCLI_AUTH
exec redis-cli
"""
"""The first line of its input is the password, the rest are commands."""
CONNECTION = re.compile(
    r"^id=(?P<id>\d+) addr=(?P<address>[^ ]*):\d+ .*\bage=(?P<age>\d+) idle=(?P<idle>\d+) ",
    re.MULTILINE,
)


class RedisServer:
    """The cache's server, in its container."""

    def __init__(self, container: ServiceContainer) -> None:
        """Take its container; no command is sent yet."""
        self.container = container

    def ask(self, password: str, *commands: str) -> str:
        """Return the server's reply to commands.

        Raises:
            Refused: they could not be sent.
        """
        given = "".join(f"{line}\n" for line in (password, *commands))
        done = self.container.run("sh", "-c", COMMANDS, given=given)
        if done.code:
            raise Refused(f"{SERVICE}: {done.err.strip()[-300:]}", "inv deploy.status")
        return done.out

    def order(self, password: str, *commands: str) -> None:
        """Send commands that return OK or a small number.

        Raises:
            Refused: one was refused.
        """
        lines = self.ask(password, *commands).splitlines()
        wrong = [line for line in lines if line.strip() and line.strip() not in ("OK", "0", "1")]
        if wrong:
            raise Refused(f"{SERVICE}: {wrong[0][:200]}", f"inv deploy.logs --service {SERVICE}")

    def accepts(self, password: str) -> bool:
        """Return whether a password is accepted."""
        return self.ask(password, "PING").strip().endswith("PONG")

    def connections(self, password: str) -> list[dict[str, str]]:
        """Return the connections, each with the service that it belongs to."""
        services = self.container.addresses()
        return [
            item | {"service": services.get(item["address"], "")}
            for item in parse_connections(self.ask(password, "CLIENT LIST"))
        ]


class RedisPasswordRotation(EnvFileRotation):
    """Rotates REDIS_PASSWORD."""

    last_service = SERVICE
    """Once restarted, the server accepts only the password in its own file."""

    def __init__(self, request: RotationRequest) -> None:
        """Check that the rotation is possible."""
        container = request.session.engine.service_container(SERVICE)
        if container is None:
            what = "as a process, the cache answers this machine only, and has no password"
            raise Refused(what, f"inv env.rotate {REDIS_PASSWORD} --engine compose")
        super().__init__(request)
        url = self.values.get(URL)
        if url and url.source != config_values.DEFAULT:
            what = f"{URL} is set in {url.source}, so services do not follow {self.name}"
            raise Refused(what, f"change the password where {URL} leads, then {URL} itself")
        self.server = RedisServer(container)
        container.container()
        self.old_password = self.values[self.name].value
        self.handed_at: dict[str, float] = {}
        """When each service got the new password, by the monotonic clock."""

    def plan_steps(self) -> Iterator[RotationStep]:
        """Yield the steps in order."""
        services = self.handover.in_order(self.running_readers)
        yield self.value_step()
        yield RotationStep(
            "accept", f"{SERVICE} accepts it beside the previous one", self.accept_value,
            changes=True, once=True,
        )  # fmt: skip
        yield RotationStep("probe", "log in with both", self.try_passwords, once=True)
        yield self.record_step(f"into {self.path.name}")
        yield self.move_step(self.restart_text(services, "while it runs"))
        yield self.check_step("every service is healthy, and each replica reaches the cache")
        yield RotationStep(
            "retire", "the previous one is refused, and its connections are ended",
            self.retire_password, "ending the connections made with the previous password",
        )  # fmt: skip

    def make_value(self) -> str:
        """Make the new password, and check that the server has the previous one."""
        self._refuse_no_login(self.old_password)
        return super().make_value()

    def accept_value(self) -> str:
        """Let the server accept the new password too."""
        rule = accept_rule(self.new[self.name])
        self.server.order(self.old_password, f"ACL SETUSER default {rule}")
        return "both are accepted"

    def try_passwords(self) -> str:
        """Log in with both passwords."""
        for password in (self.old_password, self.new[self.name]):
            self._refuse_no_login(password)
        return "both can log in"

    def follow_service(self, service: str) -> None:
        """Wait until a service is healthy; it connects with the new password from now on."""
        self.handed_at.setdefault(service, time.monotonic())
        await_health(self.engine, service, time.monotonic() + LIMIT)

    def check_services(self) -> str:
        """Check that everything is healthy, and that every replica reaches the cache."""
        if not self.server.accepts(self.current_value()):  # restarted meanwhile, with the old one
            self.engine.restart(SERVICE, LIMIT)
        text = super().check_services()
        answers = ask_replicas(self.session, [HEALTH, FORECAST])
        refuse_bad_answers(answers)
        return f"{text}; reached from {count_of(len(answers) // 2, 'replica')}"

    def retire_password(self) -> str:
        """Let the server accept only the new password, and end the connections made before."""
        password = self.current_value()
        self._refuse_no_login(password)
        self.retired = True
        self.server.order(password, f"ACL SETUSER default {only_rule(password)}")
        self._end_connections(password)
        if self.old_password != password and self.server.accepts(self.old_password):
            raise Refused(f"{SERVICE} still accepts the previous value")
        refuse_bad_answers(ask_replicas(self.session, [HEALTH]))
        return "it is refused"

    def _end_connections(self, password: str) -> None:
        start = time.monotonic()
        while left := self._old_connections(password):
            if time.monotonic() - start > LIMIT:
                raise Refused(f"still open: {count_of(len(left), 'connection')} made before")
            quiet = [item["id"] for item in left if int(item["idle"]) >= QUIET]
            if quiet:
                self.server.order(password, *(f"CLIENT KILL ID {id_}" for id_ in quiet))
            time.sleep(POLL)

    def _old_connections(self, password: str) -> list[dict[str, str]]:
        """Return the connections that services opened before they got the new password."""
        now = time.monotonic()
        return [
            item
            for item in self.server.connections(password)
            if (since := self.handed_at.get(item["service"]))
            and int(item["age"]) > now - since + QUIET
        ]

    def withdraw(self) -> None:
        """Let the server accept only the previous password again."""
        if self.new:
            rule = only_rule(self.old_password)
            self.server.order(self.old_password, f"ACL SETUSER default {rule}")

    def _refuse_no_login(self, password: str) -> None:
        """Check that a password is accepted.

        Raises:
            Refused: it is not.
        """
        if not self.server.accepts(password):
            what = f"{SERVICE} does not accept the value of {self.path.name}"
            raise Refused(what, f"put the value that it was started with back: {self.path.name}")


def accept_rule(password: str) -> str:
    """Return the rule that accepts a password in addition to others."""
    return f"#{hashlib.sha256(password.encode()).hexdigest()}"


def only_rule(password: str) -> str:
    """Return the rules that accept only one password."""
    return f"resetpass {accept_rule(password)}"


def parse_connections(answer: str) -> list[dict[str, str]]:
    """Parse the reply to CLIENT LIST."""
    return [found.groupdict() for found in CONNECTION.finditer(answer)]
