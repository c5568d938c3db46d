"""Secrets that a provider issues: asked for, tried where that is possible, and only then used."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

from slipway.config import values as config_values
from slipway.core import redaction
from slipway.core.errors import Refused
from slipway.secret.rotation import secret_probes
from slipway.secret.rotation.base import RotationStep, join_names
from slipway.secret.rotation.env_file import EnvFileRotation, refuse_unhealthy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway.secret.rotation.base import RotationRequest

LONGEST = 64 * 1024


class ProviderSecretRotation(EnvFileRotation):
    """Rotates a secret that a provider issues."""

    def __init__(self, request: RotationRequest) -> None:
        """Check that the rotation is possible, and how to try the new secret."""
        super().__init__(request)
        self.secret_probe = secret_probes.get(self.name)
        self.typed = ""

    def plan_steps(self) -> Iterator[RotationStep]:
        """Yield the steps in order."""
        probe = self.secret_probe
        place = f"{probe.place} accepts it" if probe else "there is no way to try it"
        how = "while it runs" if probe else "given the new value and restarted"
        yield self.value_step("asked for next")
        yield RotationStep("probe", place, self.try_value, "trying it", once=True)
        yield self.record_step(f"into {self.path.name}; the previous value is discarded")
        yield self.move_step(f"{join_names(self.running_readers) or 'nothing runs'}: {how}")
        yield self.check_step("every service is healthy; then revoke the previous value")

    def ask(self) -> None:
        """Let a person type the value unseen, or read it from a pipe."""
        if sys.stdin.isatty():
            self.typed = getpass.getpass(f"The new value of {self.name} (not shown): ")
        else:
            self.typed = sys.stdin.read(LONGEST).removesuffix("\n")

    def make_value(self) -> str:
        """Take the value that was typed."""
        redaction.remember_secrets([self.typed])
        refuse_unhealthy(self.engine)
        self._refuse_unfit()
        self.finish_interrupted()
        self.new = {self.name: self.typed}
        return "received"

    def _refuse_unfit(self) -> None:
        if not self.typed:
            raise Refused(f"no new value of {self.name} was entered", "type it, or pipe it in")
        if should := self.request.variable.wrong(self.typed):
            raise Refused(f"the new value of {self.name} {should}")
        if self.typed == self.values[self.name].value:
            raise Refused(f"the new value of {self.name} is the one it has already")

    def try_value(self) -> str:
        """Use the value where it belongs, if a probe is known."""
        if not self.secret_probe:
            return "there is no way to try it"
        held = config_values.read_values(self.project, self.session.profile, self.engine.name)
        return self.secret_probe.try_secret(held, self.new[self.name])

    def follow_service(self, service: str) -> None:
        """Restart a service, unless it reads the secret each time it needs it."""
        if not self.secret_probe:
            super().follow_service(service)

    @property
    def outcome(self) -> str:
        """What to print once the rotation is done."""
        return f"{self.name} has the value that you entered. Now revoke the previous one."
