"""What each service is handed: plain variables in an env file, secrets in files of their own.

They are made from `read_by` of env/schema.toml and kept in `.env.d`, which git and images leave
out: `<service>.env`, and `<service>/<NAME>` for each secret. A service is told by `<NAME>_FILE`
where that is. Compose mounts the folder as the secret of the service's name; because it is a
folder, a running service sees a file that took another's place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from ops import envfiles, environment, files, inventory, schema
from ops.environment import FILE_SUFFIX
from ops.schema import APPLICATION, ENGINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from ops.project import Project
    from ops.schema import Variable

FOLDER = ".env.d"
INSIDE = "/run/secrets"
"""Where compose mounts secrets in a container."""
STAMP = "SECRETS_CHANGED"
"""Handed beside the secrets: what runs is made anew when it changes, as with any variable."""
SHORTEST = 8
"""Characters: a value that holds so long a secret is one itself."""
LOCAL, COMPOSE = ENGINES


@dataclass(frozen=True)
class Handout:
    """The variables of one service."""

    service: str
    plain: Mapping[str, str]
    secret: Mapping[str, str]
    """What goes into files; empty for what has no value yet, and may get one."""
    stamp: str = ""
    """When a secret was last another one as the service was started; nothing without secrets."""

    def variables(self, engine: str) -> dict[str, str]:
        """Return all that the environment of the service gets; no secret is in it."""
        stamp = {STAMP: self.stamp} if self.secret else {}
        return {**self.plain, **self.named(engine), **stamp}

    def named(self, engine: str) -> dict[str, str]:
        """Return the variables that tell the service where its secrets are."""
        place = f"{INSIDE}/{self.service}" if engine == COMPOSE else f"{FOLDER}/{self.service}"
        return {f"{name}{FILE_SUFFIX}": f"{place}/{name}" for name in self.secret}


def planned(project: Project, values: Mapping[str, str], engine: str) -> dict[str, Handout]:
    """Return what each service is to be handed, and as a process the application's tasks too.

    What compose fills in itself is left to it: ports, images, replicas.

    Raises:
        Refused: the schema or a compose file cannot be read.
    """
    variables = schema.read(project)
    hidden, read = secrets_of(variables, values), schema.read_by(variables)
    own = {} if engine == COMPOSE else {APPLICATION: frozenset[str]()}
    found = {}
    for service, filled_in in (services(project) | own).items():
        names = [name for name in read.get(service, ()) if name not in filled_in]
        plain = {name: values[name] for name in names if values.get(name) and name not in hidden}
        secret = {name: values.get(name, "") for name in names if name in hidden}
        found[service] = _stamped(project, Handout(service, plain, secret))
    return found


def services(project: Project) -> dict[str, frozenset[str]]:
    """Return every service, and what compose and `x-local` fill in for it on any profile."""
    found: dict[str, frozenset[str]] = {}
    for file in inventory.files().values():
        if (project.root / file).is_file():
            for name, entry in inventory.composed(project.root, file).items():
                found[name] = found.get(name, frozenset()) | inventory.named(entry)
    return found


def secrets_of(variables: Iterable[Variable], values: Mapping[str, str]) -> set[str]:
    """Name what is a secret: by the schema, by a secret in its value, or by a password in a URL."""
    variables = list(variables)
    said = {item.name for item in variables if item.is_secret}
    held = [value for name in said if len(value := values.get(name, "")) >= SHORTEST]
    return said | {
        name
        for name, value in values.items()
        if environment.without_password(value) != value or any(secret in value for secret in held)
    }


def _stamped(project: Project, handout: Handout) -> Handout:
    """Keep the time of the last change where the secrets are as the service has them."""
    if not handout.secret:
        return handout
    before = _read(_env_file(project, handout.service)).get(STAMP)
    same = all(
        _text(_folder(project, handout.service) / name) == value
        for name, value in handout.secret.items()
    )
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    return replace(handout, stamp=before if before and same else now)


def write(project: Project, handouts: Mapping[str, Handout], engine: str) -> None:
    """Write everything, and remove what is of no service any more.

    Raises:
        Refused: a value would be read differently by different tools.
        OSError: the disk does not take it.
    """
    texts = {name: env_text(item, engine) for name, item in handouts.items()}
    top = _top(project)
    for name, handout in handouts.items():
        renew(project, name, handout.secret)
        for left in {*_names(_folder(project, name))} - handout.secret.keys():
            (_folder(project, name) / left).unlink()
        _put(_env_file(project, name), texts[name])
    for path in (one for one in top.iterdir() if one.name.removesuffix(".env") not in handouts):
        _remove(path)


def renew(project: Project, service: str, secrets: Mapping[str, str]) -> None:
    """Give a service other values of secrets, also while it runs; each at once and whole.

    Raises:
        OSError: the disk does not take it.
    """
    if not secrets:
        return
    folder = _folder(project, service)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)  # whoever it runs as can read: nobody else gets into the folder above
    for name, value in secrets.items():
        if _text(folder / name) != value:
            _put(folder / name, value)


def env_text(handout: Handout, engine: str) -> str:
    """Write the env file of a service.

    Raises:
        Refused: a value would be read differently by different tools.
    """
    head = f"# What {handout.service} is handed, from {schema.FILE} and the env file. Made anew."
    lines = (envfiles.line(name, value) for name, value in handout.variables(engine).items())
    return "\n".join([head, *lines]) + "\n"


def taken(project: Project) -> dict[str, str]:
    """Return all that is handed out now, to be put back if a change fails."""
    top = project.root / FOLDER
    found = (path for path in top.rglob("*") if path.is_file()) if top.is_dir() else ()
    return {str(path.relative_to(top)): path.read_text(encoding="utf-8") for path in found}


def put_back(project: Project, texts: Mapping[str, str]) -> None:
    """Write again what was handed out before.

    Raises:
        OSError: the disk does not take it.
    """
    top = _top(project)
    for name, text in texts.items():
        (top / name).parent.mkdir(exist_ok=True)
        _put(top / name, text)


def _top(project: Project) -> Path:
    """Return the folder of all, which nobody but its owner gets into."""
    top = project.root / FOLDER
    top.mkdir(mode=0o700, exist_ok=True)
    top.chmod(0o700)
    return top


def _folder(project: Project, service: str) -> Path:
    return project.root / FOLDER / service


def _env_file(project: Project, service: str) -> Path:
    return project.root / FOLDER / f"{service}.env"


def _names(folder: Path) -> Iterator[str]:
    if folder.is_dir():
        yield from (path.name for path in folder.iterdir())


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _read(path: Path) -> dict[str, str | None]:
    return dotenv_values(path, interpolate=False) if path.is_file() else {}


def _put(path: Path, text: str) -> None:
    """Write a file that everybody can read who gets to it."""
    with files.moved_to(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o444)
        files.flush(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        for item in path.iterdir():
            item.unlink()
        path.rmdir()
    else:
        path.unlink()
