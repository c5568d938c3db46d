"""What each service is handed: plain variables in an env file, secrets in files of their own.

They are made from `read_by` of env/schema.toml and kept in `.env.d`, which git and images leave
out: `<service>.env`, and `<service>/<NAME>` for each secret. A service is told by `<NAME>_FILE`
where that is. Compose mounts the folder as the secret of the service's name; because it is a
folder, a running service sees a file that took another's place.
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
"""A variable beside the secrets: when it changes, the service is recreated."""


@dataclass(frozen=True)
class ServiceEnv:
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


def plan_service_envs(
    project: Project, values: Mapping[str, str], engine: str
) -> dict[str, ServiceEnv]:
    """Return what each service is to be handed, and as a process the application's tasks too.

    What compose fills in itself is left to it: ports, images, replicas.

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
    """Return every service, and what compose and `x-local` fill in for it on any profile."""
    found: dict[str, frozenset[str]] = {}
    for entries in compose_file.read_profiles(project.root).values():
        for name, entry in entries.items():
            found[name] = found.get(name, frozenset()) | compose_file.filled_variables(entry)
    return found


def secret_names(variables: Iterable[Variable], values: Mapping[str, str]) -> set[str]:
    """Name what is a secret: by the schema, by a secret in its value, or by a password in a URL."""
    variables = list(variables)
    said = {item.name for item in variables if item.is_secret}
    held = [value for name in said if len(value := values.get(name, "")) >= SHORTEST]
    return said | {
        name
        for name, value in values.items()
        if config_values.without_password(value) != value or any(secret in value for secret in held)
    }


def _stamped(project: Project, env: ServiceEnv) -> ServiceEnv:
    """Keep the time of the last change where the secrets are as the service has them."""
    if not env.secret:
        return env
    before = _read(_env_file(project, env.service)).get(STAMP)
    same = all(
        _text(_folder(project, env.service) / name) == value for name, value in env.secret.items()
    )
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    return replace(env, stamp=before if before and same else now)


def write_service_envs(project: Project, envs: Mapping[str, ServiceEnv], engine: str) -> None:
    """Write everything, and remove what is of no service any more.

    Raises:
        Refused: a value would be read differently by different tools.
        OSError: the disk does not take it; then all is as it was.
    """
    texts: dict[Path, str] = {}
    for name, env in envs.items():
        texts |= _secret_files(project, name, env.secret)
        texts[_env_file(project, name)] = env_text(env, engine)
    _put(project, texts)
    for path in _left_over(project, {*texts}):
        path.unlink()


def add_service_envs(project: Project, some: Iterable[ServiceEnv], engine: str) -> None:
    """Write what some services are handed, and leave what others are handed alone.

    Where a service is handed nothing and was not before, nothing is written.

    Raises:
        Refused: a value would be read differently by different tools.
        OSError: the disk does not take it; then all is as it was.
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
    """Give a service other values of secrets, also while it runs; each at once and whole.

    Raises:
        OSError: the disk does not take it; then all is as it was.
    """
    _put(project, _secret_files(project, service, secrets))


def env_text(env: ServiceEnv, engine: str) -> str:
    """Write the env file of a service.

    Raises:
        Refused: a value would be read differently by different tools.
    """
    head = f"# The variables of {env.service}, generated from {schema.FILE} and the env file."
    lines = (envfile.line(name, value) for name, value in env.variables(engine).items())
    return "\n".join([head, *lines]) + "\n"


def read_service_envs(project: Project) -> dict[str, str]:
    """Return all that is handed out now, to be put back if a change fails."""
    top = project.root / FOLDER
    found = (path for path in top.rglob("*") if path.is_file()) if top.is_dir() else ()
    return {str(path.relative_to(top)): path.read_text(encoding="utf-8") for path in found}


def restore_service_envs(project: Project, texts: Mapping[str, str]) -> None:
    """Write again what was handed out before.

    Raises:
        OSError: the disk does not take it.
    """
    _put(project, {project.root / FOLDER / name: text for name, text in texts.items()})


def _secret_files(project: Project, service: str, secrets: Mapping[str, str]) -> dict[Path, str]:
    return {_folder(project, service) / name: value for name, value in secrets.items()}


def _left_over(project: Project, wanted: set[Path]) -> Iterator[Path]:
    """Yield the files that belong to nothing that is handed out now."""
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
    """Write files that everybody can read who gets to them; first all, then each to its place.

    A disk that is full refuses before anything has changed.
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
