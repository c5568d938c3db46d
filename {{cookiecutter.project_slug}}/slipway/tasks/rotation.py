"""env.rotate: replace the secrets of services while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from slipway.core import output
from slipway.core.transaction import change
from slipway.secret.rotation import VERB
from slipway.stack import session
from slipway.tasks import options

if TYPE_CHECKING:
    from invoke.context import Context

NEEDS = ("api", "postgres", "redis")
NAMESPACE = "env"


@task(
    help=options.WHERE
    | {
        "name": "such as POSTGRES_PASSWORD",
        "overlap": "how long the previous API key stays valid; 0: not at all",
        "yes": options.YES,
    }
)
def rotate(
    _c: Context,
    name: str,
    overlap: str = "24 hours",
    profile: str = "",
    engine: str = "",
    yes: bool = False,
) -> None:
    """Replace a secret everywhere, without downtime."""
    from slipway.secret.rotation.choose import choose_rotation  # noqa: PLC0415 - speed

    opened = session.open_session(profile, engine)
    turn = choose_rotation(opened, name, options.duration(overlap, "--overlap"))
    where = f"profile {opened.profile}, engine {opened.engine.name}"
    output.say(f"{VERB}: {name} ({where})")
    output.show(turn.rows(), as_json=False, empty="")
    output.confirm(f"Replace {name}?", yes=yes)
    turn.ask()
    with change(opened.project.root, VERB, name=name, profile=opened.profile) as made:
        turn.run(made)
    output.say(turn.outcome)
