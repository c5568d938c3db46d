"""Who the application is in a container, and which of this machine's files it reads and writes."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from slipway.core import journal
from slipway.core.errors import Refused
from slipway.core.files import give_to_owner, replace_file
from slipway.stack.services import BindMount, bind_mounts, shared_run_folders

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from slipway.core.project import Project

APPLICATION_USER = 10001
"""The application's user in a container when root deploys (Dockerfile)."""
DOTENV = ".env"
DOTENV_HEAD = "# Who owns what containers write, for docker compose. Made by inv; git ignores it."
PRIVATE_KEY = "*.private.pem"
READABLE, RUNNABLE = 0o044, 0o011
"""Readable for everybody; what its owner may run or enter, everybody may."""


def application_user() -> int:
    """Return the user that writes models: the one who deploys, but never root."""
    return os.getuid() or APPLICATION_USER


def application_group() -> int:
    """Return the group that goes with that user."""
    return os.getgid() or APPLICATION_USER


def write_dotenv(root: Path) -> None:
    """Write who the application is into `.env`, which `docker compose` reads without `inv` too.

    A `.env` that somebody else wrote is left alone.
    """
    path = root / DOTENV
    if path.exists() and not path.read_text(encoding="utf-8").startswith(DOTENV_HEAD):
        return
    lines = [DOTENV_HEAD, f"APP_UID={application_user()}", f"APP_GID={application_group()}"]
    text = "\n".join(lines) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        replace_file(path, text)


def make_writable_folders(project: Project) -> None:
    """Make the folders that containers write to: models, and what they mount of run/."""
    for folder in (project.models, *shared_run_folders(project.root)):
        folder.mkdir(parents=True, exist_ok=True)
        give_to_application(folder)


def unreadable_mounts(root: Path, file: str) -> Iterator[tuple[BindMount, Path]]:
    """Yield each file or folder that a service of a compose file mounts and its user cannot read.

    What is mounted read-only is looked through, but for private keys and what a folder hides.
    """
    ours = {"U": str(application_user()), "G": str(application_group())}
    for found in bind_mounts(root, file):
        user = re.sub(r"\$\{APP_([UG])ID[^}]*}", lambda match: ours[match[1]], found.user)
        mount = found._replace(user=user)
        yield from ((mount, path) for path in _unreadable(mount.path, mount))


def _unreadable(path: Path, mount: BindMount) -> Iterator[Path]:
    if path.exists() and not can_read(mount.user, path.stat()):
        yield path
    if mount.read_only and path.is_dir() and can_read(mount.user, path.stat()):
        for inside in sorted(path.iterdir()):
            if not inside.is_symlink() and not inside.match(PRIVATE_KEY):
                yield from _unreadable(inside, mount)


def can_read(user: str, found: os.stat_result) -> bool:
    """Say whether a container's user, a number with or without a group, can read a path.

    A name counts as anybody: only the image knows its number.
    """
    uid, _, gid = user.partition(":")
    place = 6 if uid == str(found.st_uid) else 3 if gid == str(found.st_gid) else 0
    wanted = 0o5 if stat.S_ISDIR(found.st_mode) else 0o4
    return found.st_mode >> place & wanted == wanted


def make_mounts_readable(root: Path, file: str) -> None:
    """Let containers read what they mount read-only of the repository, whatever their user.

    Raises:
        Refused: some of it is somebody else's.
    """
    for mount, path in unreadable_mounts(root, file):
        if mount.read_only and path.is_relative_to(root):
            try:
                make_readable(path)
            except PermissionError as error:
                what = f"{mount.service} cannot read {path}, which is not yours"
                raise Refused(what, f"sudo chmod -R a+rX {path}") from error


def make_readable(path: Path) -> None:
    """Let everybody read a file that is mounted, whatever the umask of whoever cloned it."""
    mode = stat.S_IMODE(path.stat().st_mode)
    wanted = mode | READABLE | (RUNNABLE if mode & stat.S_IXUSR else 0)
    if mode != wanted:
        path.chmod(wanted)


def give_to_application(path: Path) -> None:
    """Give a path to the application's user, where root deploys and somebody else owns it."""
    if os.getuid() == 0 and path.stat().st_uid != application_user():
        os.chown(path, application_user(), -1)


def share_with_scheduler(project: Project) -> None:
    """Make what the scheduler shares with the tasks: backups, the journal and the lock of changes.

    The container engine would make what is missing: as a folder, and as root's.
    """
    project.backups.mkdir(mode=0o700, exist_ok=True)
    (project.run / "scheduler").mkdir(exist_ok=True)
    files = (project.run / "lock", project.root / journal.NAME)
    for file in files:
        if not file.exists():
            file.touch()
    for path in (project.backups, project.run, project.run / "scheduler", *files):
        give_to_application(path)
    for point in project.backups.iterdir():  # made while the folder was root's
        give_to_owner(point)


def share_folders(root: Path, names: Iterable[str]) -> None:
    """Make folders of the repository, and let the application's user write to them.

    The engine would make what is missing when it is mounted: as root's. If root deploys, the
    application's user has to own what it writes over.
    """
    write_dotenv(root)
    user, group = application_user(), application_group()
    for name in names:
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, user, group, follow_symlinks=False)
