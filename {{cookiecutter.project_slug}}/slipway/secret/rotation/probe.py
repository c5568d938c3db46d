"""Requests to each running replica of the API.

In a container they are made from inside: the proxy would choose who answers.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from slipway.core import shell
from slipway.core.errors import Refused
from slipway.core.files import parse_json_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slipway.stack.session import Session

PATIENCE = 40
"""Seconds for one answer: a request to load models waits for every process."""
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

task = json.load(sys.stdin)
print(json.dumps([ask(task["base"], **request) for request in task["requests"]]))
"""
"""Needs nothing but Python. The requests come on standard input, as keys may be in them."""


@dataclass(frozen=True)
class ReplicaRequest:
    """One request."""

    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ReplicaAnswer:
    """A replica's answer; its status is 0 where none came."""

    replica: str
    status: int
    text: str

    def __str__(self) -> str:
        """Return it for a message; it does not show the request."""
        return f"{self.replica} answered {self.status}: {' '.join(self.text.split())[:200]}"


HEALTH = ReplicaRequest("/health")
FORECAST = ReplicaRequest("/predict", "POST", body={})
"""Forecasts from the newest rows, and writes the forecast into the database."""


def ask_replicas(session: Session, requests: Sequence[ReplicaRequest]) -> list[ReplicaAnswer]:
    """Make every request to every replica.

    Raises:
        Refused: a replica could not be asked at all.
    """
    found: list[ReplicaAnswer] = []
    for replica in session.engine.replicas():
        access = session.engine.replica_access(replica)
        command = [*access.python, "-c", SCRIPT]
        task = {"base": access.base_url, "requests": [asdict(item) for item in requests]}
        limit = PATIENCE * len(requests) + 20.0
        done = shell.attempt(
            command, given=json.dumps(task), cwd=session.project.root, timeout=limit
        )
        if done.code:
            raise Refused(f"{replica.name} could not be asked: {done.err.strip()[-300:]}")
        found += [ReplicaAnswer(replica.name, *answer) for answer in parse_json_value(done.out)]
    return found


def refuse_bad_answers(answers: Sequence[ReplicaAnswer]) -> None:
    """Check that every answer has the status 200.

    Raises:
        Refused: one has another.
    """
    if bad := [answer for answer in answers if answer.status != 200]:  # noqa: PLR2004 - of HTTP
        raise Refused("; ".join(map(str, bad[:3])), "inv deploy.logs")
