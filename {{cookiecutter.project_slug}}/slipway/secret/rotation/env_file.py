"""Secrets in the env file: a new value is recorded there, then passed to the services."""

from __future__ import annotations

import secrets
import time
from functools import cached_property
from typing import TYPE_CHECKING

from slipway.config import envfile, service_env
from slipway.config import values as config_values
from slipway.core import redaction
from slipway.core.errors import Refused
from slipway.secret import encrypted_env
from slipway.secret.rotation.base import RotationStep, SecretRotation, count_of, join_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from slipway.config.schema import Variable
    from slipway.config.service_env import ServiceEnv
    from slipway.core.transaction import Change
    from slipway.secret.rotation.base import RotationRequest
    from slipway.stack.engines.base import Engine
    from slipway.stack.session import Session

POLL = 0.25
"""Seconds between two checks of a service."""
LIMIT = 120.0
"""Seconds that a service may take to use its new values."""
UP_TO_RECORD, AFTER_RECORD = "record", ("move", "check", "retire")


class SecretHandover:
    """Records values in the env file, passes them to the services, and can undo both."""

    def __init__(
        self,
        session: Session,
        follow: Callable[[str], None],
        last_service: str = "",
        first_variable: str = "",
    ) -> None:
        """Change nothing yet; `follow` waits until a running service uses its new values."""
        self.session = session
        self.project, self.engine = session.project, session.engine
        self.path = self.project.env_file(session.profile)
        self.follow = follow
        self.last_service = last_service
        self.first_variable = first_variable
        self.recorded: dict[str, str | None] = {}
        """The previous values in the env file; None for a variable that was not set."""
        self.replaced: dict[str, dict[str, str]] = {}
        """The previous values of each service."""

    def record_values(self, values: Mapping[str, str]) -> None:
        """Write values into the env file, all at once; an empty one removes its variable."""
        before = envfile.read(self.path).values
        self.recorded = {name: before.get(name) for name in values}
        self._write({name: value or None for name, value in values.items()})

    def _write(self, values: Mapping[str, str | None]) -> None:
        envfile.set_variables(self.path, values)
        encrypted_env.renew_encrypted(self.project, self.session.profile)

    def hand_over(self) -> list[str]:
        """Pass the values of the env file to the services; return those that had others.

        Raises:
            Refused: a running service does not start to use them.
        """
        there, outdated, running = (
            service_env.read_service_envs(self.project),
            self.outdated(),
            self.running(),
        )
        for service in self.in_order(list(outdated)):
            names = sorted(outdated[service], key=lambda name: name != self.first_variable)
            self.replaced[service] = {name: there[f"{service}/{name}"] for name in names}
            values = {name: outdated[service][name] for name in names}
            service_env.replace_secrets(self.project, service, values)
            if service in running:
                self._follow(service)
        return [*outdated]

    def put_back(self) -> None:
        """Restore the env file, then the values of the services, in reverse order."""
        if self.recorded:
            self._write(self.recorded)
        running = self.running()
        for service, before in reversed(self.replaced.items()):
            back = {name: before[name] for name in reversed(before)}
            service_env.replace_secrets(self.project, service, back)
            if service in running:
                self._follow(service)

    def _follow(self, service: str) -> None:
        if self.engine.reads_once(service):
            self.engine.restart(service, LIMIT)
        else:
            self.follow(service)

    def outdated(self) -> dict[str, dict[str, str]]:
        """Return the services whose values differ from the env file, with those of the env file."""
        there = service_env.read_service_envs(self.project)
        found = {}
        for service, item in self._planned().items():
            found[service] = {
                name: value
                for name, value in item.secret.items()
                if there.get(f"{service}/{name}", value) != value
            }
        return {service: values for service, values in found.items() if values}

    def _planned(self) -> dict[str, ServiceEnv]:
        values = config_values.require_values(self.project, self.session.profile, self.engine.name)
        return service_env.plan_service_envs(self.project, values, self.engine.name)

    def in_order(self, services: list[str]) -> list[str]:
        """Return services in the order in which they get new values."""
        return sorted(services, key=lambda name: name == self.last_service)

    def running(self) -> list[str]:
        """Return the running services."""
        return [item.service for item in self.engine.status() if item.replicas]

    def readers_of(self, value: str) -> list[str]:
        """Return the running services that have a value as a secret, or as part of one."""
        running = self.running()
        return [
            service
            for service, item in self.engine.service_envs.items()
            if service in running and any(value in one for one in item.secret.values())
        ]


class EnvFileRotation(SecretRotation):
    """Rotates a random secret; its readers are restarted one after another."""

    last_service = ""
    """The service that gets its values last."""
    first_variable = ""
    """The variable that a service gets first."""

    def __init__(self, request: RotationRequest) -> None:
        """Check that the rotation is possible.

        Raises:
            Refused: the value is not from the env file, or a newer encrypted file would be lost.
        """
        super().__init__(request)
        self.path = self.project.env_file(self.session.profile)
        self.handover = SecretHandover(
            self.session, self.follow_service, self.last_service, self.first_variable
        )
        self.new: dict[str, str] = {}
        """The new values, by variable; an empty one removes its variable."""
        refuse_other_source(self.values.get(self.name), self.name, self.path.name)
        self._refuse_lost_edit()

    def _refuse_lost_edit(self) -> None:
        """Refuse to overwrite what a colleague has encrypted since."""
        profile = self.session.profile
        if encrypted_env.age_difference(self.project, profile) < 0:
            name = encrypted_env.encrypted_name(profile)
            what = f"{name} is newer than {self.path.name}, and would be overwritten"
            raise Refused(what, config_values.how_to_decrypt(profile))

    @cached_property
    def values(self) -> dict[str, config_values.Value]:
        """The values before the rotation, by variable."""
        profile, engine = self.session.profile, self.engine.name
        found = config_values.effective_values(self.project, profile, engine)
        return {item.name: item for item in found}

    def current_value(self, name: str = "") -> str:
        """Return the current value of a variable in the env file, by default the secret."""
        held = config_values.read_values(self.project, self.session.profile, self.engine.name)
        return held.get(name or self.name, "")

    @property
    def running_readers(self) -> list[str]:
        """The running services that read the secret."""
        return self.handover.readers_of(self.values[self.name].value)

    @property
    def new_value_text(self) -> str:
        """A description of the new value."""
        return f"{self.request.variable.secret} random bytes"

    def plan_steps(self) -> Iterator[RotationStep]:
        """Yield the steps in order."""
        services = join_names(self.running_readers)
        yield self.value_step()
        yield self.record_step(f"into {self.path.name}; the previous value is discarded")
        yield self.move_step(f"{services}: given the new value and restarted, one by one")
        yield self.check_step("every service is healthy")

    def value_step(self, text: str = "") -> RotationStep:
        """Return the step that makes the new value."""
        return RotationStep("value", text or self.new_value_text, self.make_value, once=True)

    def record_step(self, text: str) -> RotationStep:
        """Return the step that records the new value."""
        return RotationStep("record", text, self.record_value, changes=True, once=True)

    def move_step(self, text: str) -> RotationStep:
        """Return the step that passes the new value to the services."""
        return RotationStep("move", text, self.move_services, "one service at a time")

    def check_step(self, text: str, doing: str = "looking at what runs") -> RotationStep:
        """Return the step that checks the services."""
        return RotationStep("check", text, self.check_services, doing)

    def make_value(self) -> str:
        """Make the new value."""
        refuse_unhealthy(self.engine)
        finished = self.finish_interrupted()
        self.new = {self.name: random_value(self.request.variable)}
        first = f"{join_names(finished)} given the value of {self.path.name}; " if finished else ""
        return f"{first}{self.new_value_text}"

    def finish_interrupted(self) -> list[str]:
        """After an interrupted rotation, pass the env file's values on; return the services."""
        if not self.interrupted:
            return []
        self.changed = True
        finished = self.handover.hand_over()
        self.handover.replaced.clear()  # a failure from now on brings back what the env file says
        self.changed = False
        return finished

    def record_value(self) -> str:
        """Write the new values into the env file."""
        self.handover.record_values(self.new)
        return self.path.name

    def move_services(self) -> str:
        """Pass the new values to the services."""
        return join_names(self.handover.hand_over()) or "no service needed it"

    def check_services(self) -> str:
        """Check that every service is healthy."""
        return f"{count_of(refuse_unhealthy(self.engine), 'service')} healthy"

    def follow_service(self, service: str) -> None:
        """Wait until a running service uses its new values; by default it is restarted.

        Raises:
            Refused: it does not within the limit.
        """
        self.engine.restart(service, LIMIT)

    @cached_property
    def resumed(self) -> bool:
        """Whether an interrupted rotation had recorded its value, so that only the rest remains."""
        step = (self.interrupted or {}).get("step", "")
        return step in AFTER_RECORD or (step == UP_TO_RECORD and bool(self.handover.outdated()))

    def make_steps(self, change: Change) -> None:
        """Run all steps, after encrypting what an interrupted rotation recorded."""
        if self.resumed:
            encrypted_env.renew_encrypted(self.project, self.session.profile)
        super().make_steps(change)

    def undo(self) -> None:
        """Restore the previous value."""
        self.handover.put_back()
        self.withdraw()

    def withdraw(self) -> None:
        """Have the new value refused again, once no service uses it."""

    @property
    def outcome(self) -> str:
        """What to print once the rotation is done."""
        return f"{self.name} has a new value."

    def restart_text(self, services: list[str], how: str) -> str:
        """Describe how services get the new value; some have to be restarted."""
        restarted = [name for name in services if self.engine.reads_once(name)]
        others = join_names([name for name in services if name not in restarted])
        more = f"; {join_names(restarted)}: restarted" if restarted else ""
        return f"{others}: {how}{more}"


def refuse_unhealthy(engine: Engine) -> int:
    """Check that everything that runs is healthy; return the number of services.

    Raises:
        Refused: something is not.
    """
    found = engine.status()
    if ill := [item for item in found if item.replicas and item.state != "healthy"]:
        what = "; ".join(f"{item.service} is {item.state}: {item.detail}" for item in ill)
        raise Refused(what, "inv deploy.status")
    return sum(item.state == "healthy" for item in found)


def await_health(engine: Engine, service: str, deadline: float) -> None:
    """Wait until a service is healthy; the deadline is on the monotonic clock.

    Raises:
        Refused: it is not healthy by then.
    """
    while True:
        state = next(item.state for item in engine.status() if item.service == service)
        if state == "healthy":
            return
        if time.monotonic() > deadline:
            raise Refused(f"{service} is {state}", f"inv deploy.logs --service {service}")
        time.sleep(POLL)


def random_value(variable: Variable) -> str:
    """Make a value of the strength that the schema asks for.

    Raises:
        Refused: a random value does not match the variable's pattern.
    """
    value = secrets.token_urlsafe(variable.secret)
    if should := variable.wrong(value):
        what = f"{variable.name} {should}, and a random value does not"
        raise Refused(what, f"change its pattern: env/schema.toml:{variable.line}")
    redaction.remember_secrets([value])
    return value


def refuse_other_source(value: config_values.Value | None, name: str, file: str) -> None:
    """Check that a value comes from the env file.

    Raises:
        Refused: it comes from elsewhere, or there is none.
    """
    if value is None:
        raise Refused(f"{name} has no value to replace", f"set it in {file}")
    if value.source != file:
        what = f"{name} is set in {value.source}, not in {file}"
        raise Refused(what, f"change it where {name} or {name}_FILE is set, then: inv deploy.up")
