"""Whose stack it is: which clone of the repository deploys the containers and volumes of a name.

A volume that holds nothing says so in its labels: it is there while containers are not, and labels
of the volumes that hold data could not be changed later.
"""

from __future__ import annotations

import platform
import uuid
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.config.schema import COMPOSE, PROFILES
from slipway.core import journal
from slipway.core.errors import Refused
from slipway.stack.engines.containers import PROJECT, connect_engine

if TYPE_CHECKING:
    import docker

    from slipway.core.project import Project

FOLDER, MACHINE, HOST = "slipway.folder", "slipway.machine", "slipway.host"
UNNAMED = "slipway.unnamed"
"""The label for the profile that has the volumes without a profile in their names."""
COMPOSE_FOLDER = "com.docker.compose.project.working_dir"
COMPOSE_FILES = "com.docker.compose.project.config_files"


class StackOwnership:
    """Which clone a stack belongs to, and which of its volumes are a profile's."""

    def __init__(self, project: Project, name: str, profile: str) -> None:
        """Take the name of the compose project; the container engine is not asked yet."""
        self.project = project
        self.name = name
        self.profile = profile
        self.marker = f"{name}_owner"
        self.here = {
            FOLDER: str(project.root.resolve()),
            MACHINE: machine_id(),
            HOST: platform.node(),
        }

    @cached_property
    def client(self) -> docker.DockerClient:
        """The connection to the container engine."""
        return connect_engine()

    @cached_property
    def recorded(self) -> dict[str, str]:
        """What the marker's labels say; nothing if there is no marker."""
        from docker.errors import NotFound  # noqa: PLC0415 - speed: as in connect_engine()

        try:
            return dict(self.client.volumes.get(self.marker).attrs["Labels"] or {})
        except NotFound:
            return {}

    @cached_property
    def containers(self) -> list[dict[str, str]]:
        """The labels of the stack's containers, which compose has given them."""
        ours = {"label": f"{PROJECT}={self.name}"}
        return [item["Labels"] for item in self.client.api.containers(all=True, filters=ours)]

    def other_owner(self) -> str:
        """Say which clone the stack belongs to; "" if it is this one's, or nobody's yet."""
        if known := self.recorded:
            ours = all(known.get(label) == self.here[label] for label in (FOLDER, MACHINE))
            return "" if ours else f"{known.get(FOLDER)} on {known.get(HOST)}"
        folders = {labels.get(COMPOSE_FOLDER, "") for labels in self.containers}
        return next(iter(sorted(folders - {self.here[FOLDER]})), "")

    def refuse_other(self) -> None:
        """Check that no other clone deploys this stack.

        Raises:
            Refused: one does.
        """
        if owner := self.other_owner():
            what = f"the stack {self.name} belongs to {owner}, not to this folder"
            fix = "work there, or give this one a name of its own: "
            fix += f"export COMPOSE_PROJECT_NAME={self.name}-2"
            raise Refused(what, f"{fix}; or take the stack over: inv deploy.up --take-over")

    def claim(self) -> None:
        """Record that the stack is this clone's.

        Raises:
            Refused: another clone was faster.
        """
        if not self.recorded:
            self._record(self._unnamed_profile())
            self.refuse_other()

    def take_over(self) -> None:
        """Make the stack this clone's, whoever it belongs to."""
        unnamed = self._unnamed_profile()
        if self.recorded:
            self.client.volumes.get(self.marker).remove()
        self._record(unnamed)

    def _record(self, unnamed: str) -> None:
        """Make the marker; one that is there stays, so of two that claim at once only one does."""
        labels = {PROJECT: self.name, **self.here, UNNAMED: unnamed}
        self.client.volumes.create(self.marker, labels=labels)
        del self.recorded

    def release(self) -> None:
        """Forget whose the stack is, if no volume of it is left."""
        if not self.volumes() and self.recorded:
            self.client.volumes.get(self.marker).remove()

    def volumes(self) -> list[str]:
        """Name the volumes of the stack that hold data, whichever profile's."""
        found = self.client.volumes.list(filters={"label": f"{PROJECT}={self.name}"})
        return sorted(item.name for item in found if item.name != self.marker)

    def volume_prefix(self) -> str:
        """Return how the names of the profile's volumes begin."""
        if self.profile == self._unnamed_profile():
            return self.name
        return f"{self.name}_{self.profile}"

    def _unnamed_profile(self) -> str:
        """Return the profile that has the volumes without a profile in their names.

        It is dev, unless the stack was made when all profiles shared their volumes: then it is the
        profile that was last up.
        """
        if UNNAMED in self.recorded:
            return self.recorded[UNNAMED]
        if not self.volumes():
            return PROFILES[0]
        files = " ".join(labels.get(COMPOSE_FILES, "") for labels in self.containers)
        up = [name for name in PROFILES if f"compose.{name}.yaml" in files]
        if not self.containers:
            done = {"verb": "deploy.up", "engine": COMPOSE, "outcome": "done"}.items()
            past = journal.entries(self.project.root)
            up = [item["profile"] for item in past if done <= item.items()]
        return [PROFILES[0], *up][-1]


def machine_id() -> str:
    """Return what tells this machine from others; its name may change with the network."""
    path = Path("/etc/machine-id")
    known = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    # Hashed: the id itself is not meant to be seen outside the machine.
    return uuid.uuid5(uuid.NAMESPACE_OID, known or f"{uuid.getnode():x}").hex[:12]
