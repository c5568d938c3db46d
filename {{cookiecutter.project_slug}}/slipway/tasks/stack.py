"""stack.*: the components of the stack."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.tasks import task

from slipway.config import schema
from slipway.core import output, project
from slipway.stack.inventory import inventory_page, read_components
from slipway.tasks import options

if TYPE_CHECKING:
    from invoke.context import Context


@task(help={"json": options.JSON})
def inventory(_c: Context, json: bool = False) -> None:
    """Print every component: command, image, ports, health."""
    here = project.load()
    described = (item for item in schema.read(here) if not item.setting)
    found = read_components(here.root, schema.read_by(described))
    output.say(
        output.format_json([asdict(item) for item in found])
        if json
        else inventory_page(found).rstrip()
    )
