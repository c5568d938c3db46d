"""env.rotate: the secrets of services that can take a new one while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.tasks import task

from slipway.core import output
from slipway.core.transaction import change
from slipway.secret import rotation
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
        "overlap": "how long the API key before opens too; 0: not at all",
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
    """Replace a secret everywhere, while all runs."""
    opened = session.opened(profile, engine)
    renewal = rotation.of(opened, name, options.duration(overlap, "--overlap"))
    where = f"profile {opened.profile}, engine {opened.engine.name}"
    output.say(f"{rotation.VERB}: {name} ({where})")
    output.show(renewal.rows(), as_json=False, empty="")
    output.confirm(f"Replace {name}?", yes=yes)
    renewal.ask()
    with change(opened.project.root, rotation.VERB, name=name, profile=opened.profile) as made:
        renewal.run(made)
    output.say(renewal.told())
