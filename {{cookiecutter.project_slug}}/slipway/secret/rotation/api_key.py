"""The API's key: the previous one is accepted for a while, so that callers can change theirs."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from slipway.config import values as config_values
from slipway.core.errors import Refused
from slipway.models import replicas as models_replicas
from slipway.secret.rotation import VERB
from slipway.secret.rotation.base import count_of, join_names
from slipway.secret.rotation.env_file import LIMIT, EnvFileRotation
from slipway.secret.rotation.probe import ReplicaRequest, ask_replicas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway.secret.rotation.base import RotationRequest, RotationStep

API_KEY, API_KEY_PREVIOUS = "API_KEY", "API_KEY_PREVIOUS"  # pragma: allowlist secret
HEADER, ENDPOINT = "X-API-Key", "/admin/reload-model"
"""An endpoint that asks for the key; to load models that are loaded already changes nothing."""
UNAUTHORIZED, TOO_MANY = (401, 403), 429
TRIES = 4
"""Requests a process, on average: nobody can choose which process behind a port answers."""
SOON = timedelta(seconds=10)
"""A key that is about to expire is not tried any more."""
LONGEST_PAUSE = 10.0
"""Seconds between two rounds: the API limits requests per minute."""


class ApiKeyRotation(EnvFileRotation):
    """Rotates API_KEY; services read it again while they run."""

    first_variable = API_KEY_PREVIOUS
    """The previous key comes first, so that it is accepted at every moment."""

    def __init__(self, request: RotationRequest) -> None:
        """Check that it is possible: a third key would end the first before its time."""
        super().__init__(request)
        self.until = datetime.now(UTC) + request.overlap
        self._refuse_third_key()

    def _refuse_third_key(self) -> None:
        held = self.values.get(API_KEY_PREVIOUS)
        until = held.value.partition("/")[0] if held else ""
        if until and self.request.overlap and not self.interrupted:
            left = datetime.fromisoformat(until) - datetime.now(UTC)
            if left > timedelta():
                what = f"the previous key is valid until {until}, and would be refused at once"
                fix = f"wait, or end both at once: inv {VERB} {API_KEY} --overlap 0"
                raise Refused(what, fix)

    def plan_steps(self) -> Iterator[RotationStep]:
        """Yield the steps in order."""
        services = join_names(self.running_readers) or "nothing runs"
        yield self.value_step()
        yield self.record_step(
            f"into {self.path.name}; the previous key into {API_KEY_PREVIOUS}, {self._until_text()}"
        )
        yield self.move_step(f"{services}: while it runs")
        yield self.check_step(
            f"every replica is asked: {self._valid_text()}", "asking each replica"
        )

    def _until_text(self) -> str:
        if not self.request.overlap:
            return "which is refused at once"
        return f"which stays valid until {self.until:%Y-%m-%d %H:%M} UTC"

    def _valid_text(self) -> str:
        return "both keys are valid" if self.request.overlap else "only the new key is valid"

    def make_value(self) -> str:
        """Make the new key, and set when the previous one expires."""
        text = super().make_value()
        previous = self.values[self.name].value
        self.until = datetime.now(UTC) + self.request.overlap
        expiring = previous_key(previous, self.until) if self.request.overlap else ""
        self.new[API_KEY_PREVIOUS] = expiring
        return text

    def follow_service(self, service: str) -> None:
        """Wait for nothing: `check_services` sees whether the key was read again."""

    def check_services(self) -> str:
        """Look whether every process accepts the keys that are valid, and no other."""
        text = super().check_services()
        count = self._await_replicas()
        asked = f"; {count_of(count, 'replica')} asked: {self._valid_text()}"
        return f"{text}{asked if count else ''}"

    def _expected_keys(self) -> dict[str, bool]:
        """Return keys, and whether each is accepted; without one that is about to expire."""
        held = config_values.read_values(self.project, self.session.profile, self.engine.name)
        until, _, previous = held.get(API_KEY_PREVIOUS, "").partition("/")
        if not until:
            before = self.values[API_KEY].value
            return {held[API_KEY]: True, before: before == held[API_KEY]}
        left = datetime.fromisoformat(until) - datetime.now(UTC)
        return {held[API_KEY]: True, **({previous: True} if left > SOON else {})}

    def _await_replicas(self) -> int:
        """Wait until every process accepts the keys that it should; return how many replicas run.

        Raises:
            Refused: one does not within the limit.
        """
        deadline, pause = time.monotonic() + LIMIT, 0.5
        while wrong := self._wrong_answers():
            if time.monotonic() > deadline:
                raise Refused("; ".join(wrong[:3]), "inv deploy.logs")
            time.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)
        return len(self.engine.replicas())

    def _wrong_answers(self) -> list[str]:
        tried = [pair for pair in self._expected_keys().items() for _ in range(self._tries())]
        requests = [ReplicaRequest(ENDPOINT, "POST", {HEADER: key}) for key, _ in tried]
        answers = ask_replicas(self.session, requests)
        return [
            str(answer)
            for number, answer in enumerate(answers)
            if key_accepted(answer.status) is not tried[number % len(tried)][1]
        ]

    def _tries(self) -> int:
        """Return how often to try a key at each replica."""
        processes = len(
            models_replicas.serving_processes(models_replicas.report_folder(self.project.run))
        )
        return TRIES * max(1, -(-processes // max(1, len(self.engine.replicas()))))

    @property
    def outcome(self) -> str:
        """What to print once the rotation is done."""
        if not self.new.get(API_KEY_PREVIOUS):
            return f"{self.name} has a new value, in {self.path.name}."
        return (
            f"{self.name} has a new value, in {self.path.name}. Give it to the callers of the admin"
            f" endpoints before {self.until:%Y-%m-%d %H:%M} UTC, when the previous one expires."
        )


def previous_key(key: str, until: datetime) -> str:
    """Write the previous key, and until when it is valid."""
    return f"{until:%Y-%m-%dT%H:%M:%SZ}/{key}"


def key_accepted(status: int) -> bool | None:
    """Tell from a status whether a key was accepted; None where it does not say."""
    if status in UNAUTHORIZED:
        return False
    return None if status == TOO_MANY or not 200 <= status < 500 else True  # noqa: PLR2004 - of HTTP
