"""What the tests of rotations on engines share: a stack that is asked all the time."""

from __future__ import annotations

import json
import re
import signal
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slipway.config import envfile
from tests.support import promotions
from tests.support.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.copies import Copy

STEPS = re.compile(r"^  (\d \w+) +ok", re.MULTILINE)


@dataclass
class Stand:
    """A stack that is up, and asked for forecasts."""

    copy: Copy
    traffic: Traffic
    seen: set[str] = field(default_factory=set)
    """Every value that a secret had."""
    said: list[str] = field(default_factory=list)
    """All that was printed."""

    @property
    def path(self) -> Path:
        return self.copy.root / f".env.{self.copy.environment.get('APP_ENV', 'dev')}"

    def held(self, name: str) -> str:
        """Return the value of the env file; it is remembered."""
        value = envfile.read(self.path).values.get(name, "")
        self.seen |= {part for part in (value, value.partition("/")[2]) if len(part) > len("app_b")}
        return value

    def rotate(self, name: str, *options: str, code: int = 0) -> str:
        """Type it, and return what was printed."""
        self.held(name)
        self.said.append(self.copy.inv("env.rotate", name, "--yes", *options, code=code))
        self.held(name)
        self.held(f"{name}_PREVIOUS")
        return self.said[-1]

    def rotate_but(self, step: str, command: str, name: str) -> tuple[int, str]:
        """Rotate, and run a command right before a step; return the exit code and the output."""
        self.held(name)
        stand = promotions.Stand(self.copy, self.traffic)
        process = stand.start("env.rotate", name, "--yes", at_step=step, command=command)
        said, _ = process.communicate(timeout=300)
        self.held(name)
        self.said.append(said)
        return process.returncode, said

    def killed(self, step: str, name: str) -> None:
        """Rotate, and be killed right before a step."""
        code, _ = self.rotate_but(step, promotions.KILL, name)
        assert code == -signal.SIGKILL

    @contextmanager
    def nothing_lost(self) -> Iterator[None]:
        """See every request answered that is made in the block."""
        versions = {answer.version for answer in self.traffic.answers if answer.status == 200}
        with self.traffic.only(*versions):
            yield

    def opens(self, key: str) -> int:
        """Ask for what the key opens; return the status."""
        url = f"{self.copy.api}/admin/reload-model"
        request = urllib.request.Request(url, b"", {"X-API-Key": key})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code


def steps(said: str) -> list[str]:
    """Return the steps that were made, with their numbers."""
    return STEPS.findall(said)


@contextmanager
def asked(copy: Copy) -> Iterator[Stand]:
    """Ask a stack all the time: what a model was shown in training, and something new."""
    (path,) = (copy.root / "models").glob(f"{promotions.TIER}_current.*")
    said = json.loads(path.resolve().with_suffix(".json").read_text(encoding="utf-8"))
    with Traffic(copy.api, [{"at": said["rows"]["held_out"]["last"]}, {}]) as traffic:
        stand = Stand(copy, traffic)
        while not traffic.answers:
            pass
        yield stand
