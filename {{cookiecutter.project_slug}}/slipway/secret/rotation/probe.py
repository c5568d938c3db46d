"""What is asked of each running copy of the service that serves models, from beside it.

In a container that is from inside of it: through the proxy one would not know who answers.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from slipway.core import shell
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slipway.stack.session import Session

PATIENCE = 40
"""Seconds for one answer; asking for models to be loaded waits for every process."""
SCRIPT = f"""
import json, sys
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

def ask(base, path, method, headers, body):
    data = None if body is None else json.dumps(body).encode()
    headers = {{"Content-Type": "application/json", **headers}}
    request = Request(base + path, data, headers, method=method)
    try:
        with build_opener(ProxyHandler({{}})).open(request, timeout={PATIENCE}) as answer:
            return [answer.status, answer.read().decode(errors="replace")]
    except HTTPError as error:
        return [error.code, error.read().decode(errors="replace")]
    except OSError as error:
        return [0, str(error)]

said = json.load(sys.stdin)
print(json.dumps([ask(said["base"], **question) for question in said["questions"]]))
"""
"""Needs nothing but Python. What it is to ask comes on its standard input: keys may be in it."""


@dataclass(frozen=True)
class Question:
    """One request."""

    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Answer:
    """What a replica answered; status 0 where nothing came."""

    replica: str
    status: int
    text: str

    def __str__(self) -> str:
        """Return it for a message; what was asked is not in it."""
        return f"{self.replica} answered {self.status}: {' '.join(self.text.split())[:200]}"


HEALTH = Question("/health")
FORECAST = Question("/predict", "POST", body={})
"""The newest rows are forecast from; and what was forecast is written into the database."""


def everywhere(session: Session, questions: Sequence[Question]) -> list[Answer]:
    """Ask every replica everything.

    Raises:
        Refused: one of them could not be asked at all.
    """
    engine, project = session.engine, session.project
    found: list[Answer] = []
    for replica in engine.replicas():
        access = engine.replica_access(replica)
        command = [*access.python, "-c", SCRIPT]
        said = {"base": access.base_url, "questions": [asdict(item) for item in questions]}
        limit = PATIENCE * len(questions) + 20.0
        done = shell.fed(command, json.dumps(said), cwd=project.root, timeout=limit)
        if done.code:
            raise Refused(f"{replica.name} could not be asked: {done.err.strip()[-300:]}")
        found += [Answer(replica.name, *answer) for answer in json.loads(done.out)]
    return found


def refuse_bad(answers: Sequence[Answer]) -> None:
    """Check that all was answered as it should be.

    Raises:
        Refused: something was not.
    """
    if bad := [answer for answer in answers if answer.status != 200]:  # noqa: PLR2004 - of HTTP
        raise Refused("; ".join(map(str, bad[:3])), "inv deploy.logs")
