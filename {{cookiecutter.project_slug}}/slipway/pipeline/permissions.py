"""What containers of stages share with this machine: folders that they can write to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from slipway.pipeline.stages import stages
from slipway.stack.engines.permissions import application_group, application_user, write_dotenv

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from slipway.pipeline.stages import Stage


def folders(some: Iterable[Stage]) -> list[str]:
    """Return the folders that stages write to, whatever a run is of."""
    patterns = (pattern for stage in some for pattern in (*stage.outputs, *stage.appends))
    return sorted({pattern.partition("{")[0].rpartition("/")[0] for pattern in patterns} - {""})


def share(root: Path) -> None:
    """Let containers of stages write where they have to, also those that people start themselves.

    What is not there when it is mounted, the engine makes: as root's. Where root deploys, who
    the application is has to own what it writes over.
    """
    write_dotenv(root)
    user, group = application_user(), application_group()
    for name in folders(stages(root)):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, user, group, follow_symlinks=False)
