"""Getting the images that a stack is to run from: pulled from a registry, or built here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slipway.core import output
from slipway.core.errors import Refused
from slipway.stack.build import images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slipway.stack.engines.exec import ComposeRunner

PULL_LIMIT = 1800.0


def pull_or_build(
    compose: ComposeRunner, services: Mapping[str, Mapping[str, Any]], building: Mapping[str, str]
) -> None:
    """Pull the images of a version that was pushed; else build those that changed.

    `building` are the variables of a build: those of the stack, and labels too.

    Raises:
        Refused: they cannot be pulled or built; what runs is left alone.
    """
    values = compose.environment
    if not images.pulled_from_registry(values):
        with output.step("images", "building what changed"):
            compose.logged("build", limit=images.BUILD_LIMIT, env=building)
        return
    version, registry = values["VERSION"], values["REGISTRY"]
    ours = [name for name, entry in services.items() if "build" in entry]
    try:
        with output.step("images", f"pulling version {version} from {registry}"):
            compose.logged("pull", *ours, limit=PULL_LIMIT)
    except Refused as error:
        what = f"version {version} cannot be pulled from {registry}: {error.what}"
        raise Refused(what, images.pull_advice(version, registry)) from error
