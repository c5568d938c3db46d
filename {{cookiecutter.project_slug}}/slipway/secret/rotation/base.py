"""What all kinds have in common: the steps of a secret that its readers are started anew for."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from slipway.config import envfile, service_env
from slipway.config import values as config_values
from slipway.core import output, redaction
from slipway.core.errors import Refused
from slipway.core.steps import Steps
from slipway.core.transaction import uninterrupted
from slipway.secret import encrypted_env
from slipway.secret.rotation import VERB, interruption

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from slipway.config.schema import Variable
    from slipway.config.service_env import Handout
    from slipway.core.transaction import Change
    from slipway.secret.rotation import Order

VALUE, ACCEPT, PROBE, RECORD, MOVE, CHECK, RETIRE = (
    "value",
    "accept",
    "probe",
    "record",
    "move",
    "check",
    "retire",
)
TOUCHING = (ACCEPT, RECORD)
"""The steps before which nothing was changed."""
POLL = 0.25
"""Seconds between two looks at what changes."""
LIMIT = 120.0
"""Seconds until a service has to use what it was handed."""


@dataclass
class Progress:
    """What has been done, so that it can be undone."""

    touched: bool = False
    recorded: dict[str, str | None] = field(default_factory=dict)
    """What the env file said of the variables that were set otherwise; None where it did not."""
    moved: dict[str, dict[str, str]] = field(default_factory=dict)
    """What each service was handed before."""
    retired: bool = False
    """Whether the value before may be refused by now: then there is no way back."""


class Renewal:
    """One change of one secret; nothing is changed before `run`."""

    steps: ClassVar[tuple[str, ...]] = (VALUE, RECORD, MOVE, CHECK)
    doing: ClassVar[Mapping[str, str]] = {
        MOVE: "one service after the other",
        CHECK: "looking at what runs",
    }
    """What is said while a step lasts."""

    def __init__(self, order: Order) -> None:
        """See whether it can be done.

        Raises:
            Refused: the value comes from elsewhere, or there is none, or a kind says why not.
        """
        self.order = order
        self.session = order.session
        self.project, self.engine = order.session.project, order.session.engine
        self.name = order.name
        self.path = self.project.env_file(order.session.profile)
        self.done = Progress()
        self.new: dict[str, str] = {}
        """The values to come, by variable; empty for one that is to have none."""
        self.left = interruption(self.project.root, self.name, order.session.profile)
        """What is known of a try before that was left in the middle."""
        self.refuse()

    @cached_property
    def values(self) -> dict[str, config_values.Value]:
        """What holds before."""
        profile, engine = self.session.profile, self.engine.name
        found = config_values.effective(self.project, profile, engine)
        return {item.name: item for item in found}

    def refuse(self) -> None:
        """Find what stands against it.

        Raises:
            Refused: the value comes from elsewhere, or there is none; or what a colleague has
                encrypted since would be written over.
        """
        refuse_elsewhere(self.values.get(self.name), self.name, self.path.name)
        profile = self.session.profile
        if encrypted_env.later(self.project, profile) < 0:
            what = (
                f"{encrypted_env.shown(profile)} is newer than {self.path.name}, and would be lost"
            )
            raise Refused(what, encrypted_env.opening(profile))

    def plan(self) -> Iterator[tuple[str, str]]:
        """Yield each step, and what it will do."""
        yield VALUE, described(self.order.variable)
        yield RECORD, f"into {self.path.name}; the one before is forgotten"
        yield MOVE, f"{listed(self.running())}: handed the new one and started anew, one by one"
        yield CHECK, "every service is healthy"

    def rows(self) -> list[dict[str, str]]:
        """Return the plan as it is shown."""
        planned = [*self.plan()]
        return [
            {"step": f"{number} {step}", "what": self._planned(step, what)}
            for number, (step, what) in enumerate(planned, 1)
        ]

    def _planned(self, step: str, what: str) -> str:
        return "done before it was interrupted" if self._is_behind_us(step) else what

    def ask(self) -> None:
        """Let a person say what only they know; most kinds have nothing to ask."""

    def told(self) -> str:
        """Say what holds in the end."""
        return f"{self.name} is a new one."

    # The steps; each returns what is said at its end.

    def value(self) -> str:
        """Make the new value; where it was left undone, first hand out what the env file says."""
        self.refuse_ill()
        settled = self._moved() if self.left else []
        self.done.moved.clear()  # it is not what is gone back to
        self.new = {self.name: made(self.order.variable)}
        first = f"{listed(settled)} first given what {self.path.name} says; " if settled else ""
        return f"{first}{described(self.order.variable)}"

    def record(self) -> str:
        """Write the new values into the env file, all at once."""
        held = envfile.read(self.path).values
        self.done.recorded = {name: held.get(name) for name in self.new}
        self._write({name: value or None for name, value in self.new.items()})
        return self.path.name

    def move(self) -> str:
        """Hand the new values to one service after the other."""
        return listed(self._moved()) or "nothing was handed out"

    def check(self) -> str:
        """See that every service is well."""
        return f"{counted(self.refuse_ill(), 'service')} healthy"

    def refuse_ill(self) -> int:
        """See that what runs is well, as it has to be in the end; return how many are.

        Raises:
            Refused: something is not.
        """
        found = self.engine.status()
        ill = [item for item in found if item.replicas and item.state != "healthy"]
        if ill:
            what = "; ".join(f"{item.service} is {item.state}: {item.detail}" for item in ill)
            raise Refused(what, "inv deploy.status")
        return sum(item.state == "healthy" for item in found)

    def follow(self, service: str) -> None:
        """See that a service that runs uses what it was handed: by default it is started anew.

        Raises:
            Refused: it does not within the limit.
        """
        self.engine.restart(service, LIMIT)

    def await_health(self, service: str, deadline: float) -> None:
        """Wait until a service is well, by a clock that nobody sets.

        Raises:
            Refused: it is not by then.
        """
        while True:
            state = next(item.state for item in self.engine.status() if item.service == service)
            if state == "healthy":
                return
            if time.monotonic() > deadline:
                raise Refused(f"{service} is {state}", f"inv deploy.logs --service {service}")
            time.sleep(POLL)

    def withdraw(self) -> None:
        """Have the new value refused again, once nobody has it."""

    # What the steps are made of.

    def _write(self, values: Mapping[str, str | None]) -> None:
        """Change the env file, and what git keeps of it encrypted."""
        envfile.changed(self.path, values)
        encrypted_env.renew(self.project, self.session.profile)

    def handed(self) -> dict[str, Handout]:
        """Return what each service is to be handed, as the env file is now."""
        held = config_values.require(self.project, self.session.profile, self.engine.name)
        return service_env.planned(self.project, held, self.engine.name)

    def behind(self) -> dict[str, dict[str, str]]:
        """Return the services that were handed something else than the env file says, and that."""
        there = service_env.taken(self.project)
        found = {}
        for service, item in self.handed().items():
            names = {name: f"{service}/{name}" for name in item.secret}
            found[service] = {
                name: value
                for name, value in item.secret.items()
                if names[name] in there and there[names[name]] != value
            }
        return {service: other for service, other in found.items() if other}

    def _moved(self) -> list[str]:
        """Hand each service what the env file says; return who was handed something."""
        there, running, behind = service_env.taken(self.project), self.up(), self.behind()
        for service in self.in_order(behind):
            names = self.in_turn(behind[service])
            self.done.moved[service] = {name: there[f"{service}/{name}"] for name in names}
            service_env.renew(
                self.project, service, {name: behind[service][name] for name in names}
            )
            if service in running:
                self._see(service)
        return [*behind]

    def _see(self, service: str) -> None:
        """Have a service that runs use what it was handed, whatever way it does that.

        Raises:
            Refused: it does not within the limit.
        """
        if self.engine.reads_once(service):
            self.engine.restart(service, LIMIT)
        else:
            self.follow(service)

    def told_of(self, services: list[str], how: str) -> str:
        """Say how services come to use the new value: in a way, or as they are started anew."""
        anew = [name for name in services if self.engine.reads_once(name)]
        others = listed([name for name in services if name not in anew])
        return f"{others}: {how}" + (f"; {listed(anew)}: started anew" if anew else "")

    def in_order(self, services: Mapping[str, object]) -> list[str]:
        """Return services in the order in which they are handed the new value."""
        return [*services]

    def in_turn(self, names: Iterable[str]) -> list[str]:
        """Return variables in the order in which a service is handed their new values."""
        return [*names]

    def up(self) -> list[str]:
        """Return the services that run."""
        return [item.service for item in self.engine.status() if item.replicas]

    def readers(self) -> list[str]:
        """Return the services that are handed the secret, or what it is a part of."""
        value = self.values[self.name].value
        return [
            service
            for service, item in self.engine.handouts.items()
            if any(value in one for one in item.secret.values())
        ]

    def running(self) -> list[str]:
        """Return those of them that run."""
        up = self.up()
        return [service for service in self.readers() if service in up]

    # How it goes.

    @cached_property
    def resumed(self) -> bool:
        """Whether a try before had recorded its value, so that only the rest is to be done."""
        step = (self.left or {}).get("step", "")
        if step not in self.steps or RECORD not in self.steps:
            return False
        past = self.steps.index(step) - self.steps.index(RECORD)
        return past > 0 or (past == 0 and bool(self.behind()))

    def _is_behind_us(self, step: str) -> bool:
        return self.resumed and self.steps.index(step) <= self.steps.index(RECORD)

    def run(self, change: Change) -> None:
        """Make all steps.

        Raises:
            Refused: one failed; it says which value holds now.
        """
        try:
            if self.resumed:
                encrypted_env.renew(self.project, self.session.profile)
            self._make(Steps(change, self.steps), change)
        except Refused as error:
            what = f"{error.what}\n  {self._undone(change)}"
            raise Refused(what, error.fix, error.code) from error
        except BaseException:
            output.say(f"  {self._undone(change)}")
            raise

    def _make(self, steps: Steps, change: Change) -> None:
        for name in self.steps:
            if self._is_behind_us(name):
                steps.skipped(name, "done before it was interrupted")
                continue
            if name in TOUCHING or self.resumed:
                change.note(touched=True)
                self.done.touched = True
            elif self.left:  # what that one has left is not forgotten if this one is refused
                change.note(touched=True)
            with steps.made(name, self.doing.get(name, "")) as step:
                step.detail = getattr(self, name)()
        change.commit()

    def _undone(self, change: Change) -> str:
        """Bring back the value before, unless that is refused already; say what holds."""
        again = f"inv {VERB} {self.name} --profile {self.session.profile}"
        if self.done.retired or self.resumed:
            return f"The new value holds. What is left to do, this does: {again}"
        if not (self.done.touched or self.done.moved):
            return "Nothing was changed."
        with uninterrupted():
            try:
                change.note(step="undo")
                self._undo()
                change.note(undone=True)
            except (Refused, OSError) as error:
                what = getattr(error, "what", None) or str(error)
                return (
                    f"It could not be put back: {what}\n  Both values are accepted. Next: {again}"
                )
        return "The value before holds, as before."

    def _undo(self) -> None:
        """Bring back the env file, then what services were handed; both values are accepted."""
        if self.done.recorded:
            self._write(self.done.recorded)
        running = self.up()
        for service, before in reversed(self.done.moved.items()):
            back = {name: before[name] for name in reversed(before)}
            service_env.renew(self.project, service, back)
            if service in running:
                self._see(service)
        self.withdraw()


def described(variable: Variable) -> str:
    """Say what a new value is."""
    return f"{variable.secret} random bytes"


def made(variable: Variable) -> str:
    """Make a value of the strength that the schema asks for.

    Raises:
        Refused: what is made at random does not match the variable's pattern.
    """
    value = secrets.token_urlsafe(variable.secret)
    if should := variable.wrong(value):
        what = f"{variable.name} {should}, and what is made at random does not"
        raise Refused(what, f"change its pattern: env/schema.toml:{variable.line}")
    redaction.learn([value])
    return value


def refuse_elsewhere(value: config_values.Value | None, name: str, file: str) -> None:
    """Check that a value comes from the env file.

    Raises:
        Refused: it comes from elsewhere, or there is none.
    """
    if value is None:
        raise Refused(f"{name} has no value, so there is none to replace", f"set it in {file}")
    if value.source != file:
        what = f"{name} is not from {file}, but from: {value.source}"
        raise Refused(what, f"change it there, where {name} or {name}_FILE is set; then deploy.up")


def counted(count: int, what: str) -> str:
    """Write how many there are of something."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def listed(names: list[str]) -> str:
    """Write names one after another."""
    return ", ".join(names)
