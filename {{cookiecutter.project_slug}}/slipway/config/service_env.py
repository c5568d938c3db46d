"""The variables of each service: plain ones in an env file, secrets in separate files.

They follow from `read_by` in env/schema.toml and are kept in `.env.d`, which git and images ignore:
`<service>.env`, and `<service>/<NAME>` for each secret, whose path the service gets as
`<NAME>_FILE`. Compose mounts the folder as the secret named after the service; because it is a
folder, a running service sees files that are replaced.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from slipway.config import compose_file, envfile, schema
from slipway.config import values as config_values
from slipway.config.schema import APPLICATION, COMPOSE
from slipway.config.values import FILE_SUFFIX
from slipway.core import files
from slipway.core.redaction import SHORTEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from slipway.config.schema import Variable
    from slipway.core.project import Project

FOLDER = ".env.d"
INSIDE = "/run/secrets"
"""Where compose mounts secrets in a container."""
STAMP = "SECRETS_CHANGED"
"""A variable next to the secrets: when it changes, the service is recreated."""


@dataclass(frozen=True)
class ServiceEnv:
    """The variables of one service."""

    service: str
    plain: Mapping[str, str]
    secret: Mapping[str, str]
    """The content of its files; empty for a secret that has no value yet."""
    stamp: str = ""
    """When a secret last changed before the service was started; empty without secrets."""

    def variables(self, engine: str) -> dict[str, str]:
        """Return the variables in the environment of the service, which contain no secret."""
        stamp = {STAMP: self.stamp} if self.secret else {}
        return {**self.plain, **self.named(engine), **stamp}

    def named(self, engine: str) -> dict[str, str]:
        """Return the variables with the paths of its secrets."""
        place = f"{INSIDE}/{self.service}" if engine == COMPOSE else f"{FOLDER}/{self.service}"
        return {f"{name}{FILE_SUFFIX}": f"{place}/{name}" for name in self.secret}


def plan_service_envs(
    project: Project, values: Mapping[str, str], engine: str
) -> dict[str, ServiceEnv]:
    """Return the variables of each service and, as processes, of the application's tasks.

    Those that compose fills in itself are left to it: ports, images, replicas.

    Raises:
        Refused: the schema or a compose file cannot be read.
    """
    variables = schema.read(project)
    hidden, read = secret_names(variables, values), schema.read_by(variables)
    own = {} if engine == COMPOSE else {APPLICATION: frozenset[str]()}
    found = {}
    for service, filled_in in (services(project) | own).items():
        names = [name for name in read.get(service, ()) if name not in filled_in]
        plain = {name: values[name] for name in names if values.get(name) and name not in hidden}
        secret = {name: values.get(name, "") for name in names if name in hidden}
        found[service] = _stamped(project, ServiceEnv(service, plain, secret))
    return found


def services(project: Project) -> dict[str, frozenset[str]]:
    """Return every service, with what compose and `x-local` fill in for it on any profile."""
    found: dict[str, frozenset[str]] = {}
    for entries in compose_file.read_profiles(project.root).values():
        for name, entry in entries.items():
            found[name] = found.get(name, frozenset()) | compose_file.filled_variables(entry)
    return found


def secret_names(variables: Iterable[Variable], values: Mapping[str, str]) -> set[str]:
    """Return the secrets: by the schema, by a secret in the value, or by a password in a URL."""
    variables = list(variables)
    said = {item.name for item in variables if item.is_secret}
    held = [value for name in said if len(value := values.get(name, "")) >= SHORTEST]
    return said | {
        name
        for name, value in values.items()
        if config_values.without_password(value) != value or any(secret in value for secret in held)
    }


def _stamped(project: Project, env: ServiceEnv) -> ServiceEnv:
    """Add the time of the last change, which is kept if the secrets are unchanged."""
    if not env.secret:
        return env
    before = _read(_env_file(project, env.service)).get(STAMP)
    same = all(
        _text(_folder(project, env.service) / name) == value for name, value in env.secret.items()
    )
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    return replace(env, stamp=before if before and same else now)


def write_service_envs(project: Project, envs: Mapping[str, ServiceEnv], engine: str) -> None:
    """Write the files of all services, and remove those of services that no longer exist.

    Raises:
        Refused: a value would be read differently by different tools.
        OSError: the disk is full or refuses the write; then nothing has changed.
    """
    texts: dict[Path, str] = {}
    for name, env in envs.items():
        texts |= _secret_files(project, name, env.secret)
        texts[_env_file(project, name)] = env_text(env, engine)
    _put(project, texts)
    for path in _left_over(project, {*texts}):
        path.unlink()


def add_service_envs(project: Project, some: Iterable[ServiceEnv], engine: str) -> None:
    """Write the files of some services, and leave those of the others alone.

    For a service that has no variables and never had any, nothing is written.

    Raises:
        Refused: a value would be read differently by different tools.
        OSError: the disk is full or refuses the write; then nothing has changed.
    """
    texts: dict[Path, str] = {}
    for env in some:
        path = _env_file(project, env.service)
        if env.variables(engine) or path.is_file():
            texts |= _secret_files(project, env.service, env.secret)
            texts[path] = env_text(env, engine)
    if texts:
        _put(project, texts)


def replace_secrets(project: Project, service: str, secrets: Mapping[str, str]) -> None:
    """Replace secrets of a service, which may be running; each file is replaced atomically.

    Raises:
        OSError: the disk is full or refuses the write; then nothing has changed.
    """
    _put(project, _secret_files(project, service, secrets))


def env_text(env: ServiceEnv, engine: str) -> str:
    """Return the content of a service's env file.

    Raises:
        Refused: a value would be read differently by different tools.
    """
    head = f"# The variables of {env.service}, generated from {schema.FILE} and the env file."
    lines = (envfile.line(name, value) for name, value in env.variables(engine).items())
    return "\n".join([head, *lines]) + "\n"


def read_service_envs(project: Project) -> dict[str, str]:
    """Return the content of all files, to restore it if a change fails."""
    top = project.root / FOLDER
    found = (path for path in top.rglob("*") if path.is_file()) if top.is_dir() else ()
    return {str(path.relative_to(top)): path.read_text(encoding="utf-8") for path in found}


def restore_service_envs(project: Project, texts: Mapping[str, str]) -> None:
    """Restore the content of all files.

    Raises:
        OSError: the disk refuses the write.
    """
    _put(project, {project.root / FOLDER / name: text for name, text in texts.items()})


def _secret_files(project: Project, service: str, secrets: Mapping[str, str]) -> dict[Path, str]:
    return {_folder(project, service) / name: value for name, value in secrets.items()}


def _left_over(project: Project, wanted: set[Path]) -> Iterator[Path]:
    """Yield the files that no service uses any more."""
    found = [path for path in (project.root / FOLDER).rglob("*") if path.is_file()]
    yield from (path for path in found if path not in wanted)


def _folder(project: Project, service: str) -> Path:
    return project.root / FOLDER / service


def _env_file(project: Project, service: str) -> Path:
    return project.root / FOLDER / f"{service}.env"


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _read(path: Path) -> dict[str, str | None]:
    return dotenv_values(path, interpolate=False) if path.is_file() else {}


def _put(project: Project, texts: Mapping[Path, str]) -> None:
    """Write files that everyone with access to the folder can read; then move all into place.

    A full disk is noticed before anything has changed.
    """
    top = project.root / FOLDER
    top.mkdir(mode=0o700, exist_ok=True)
    top.chmod(0o700)  # nobody but its owner gets into it
    changed = {path: text for path, text in texts.items() if _text(path) != text}
    with ExitStack() as written:
        for path, text in changed.items():
            path.parent.mkdir(exist_ok=True)
            if path.parent != top:
                path.parent.chmod(0o755)
            temporary = written.enter_context(files.replacing_file(path))
            temporary.write_text(text, encoding="utf-8")
            temporary.chmod(0o444)
            files.flush_to_disk(temporary)
