"""The settings: environment, then the YAML file's section of the profile, then its default.

The environment gives the value of a key NAME in NAME, or names a file that holds it in NAME_FILE.
Every default is in config/settings.yaml, and nothing else has one. Every process checks every key,
so that the first one to start refuses what a later one could not use. Only the API needs an API
key, so only the API has to be given one. `python -m <package>.settings` checks, and does nothing.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from . import apikeys
from .shared import masking
from .shared.console import AppError, run
from .shared.valuefiles import FileSecret, ValueFiles, read_all, variable

Profile = Literal["dev", "staging", "prod"]
Sections: TypeAlias = Mapping[str, Mapping[str, Any]]

SETTINGS_FILE = Path("config/settings.yaml")
NEAR_MISS = 0.9
"""How like a key an environment variable must look to be taken for a misspelling of it."""


class SettingsError(AppError):
    """Invalid settings; each line names a source, a key and the reason."""

    exit_code = 2


def usable_database(url: SecretStr) -> SecretStr:
    """Reject a URL of neither SQLite nor PostgreSQL, without repeating it."""
    try:
        parsed = make_url(url.get_secret_value())
    except ArgumentError:
        parsed = make_url("unreadable://")
    if parsed.get_backend_name() not in {"sqlite", "postgresql"} or not parsed.database:
        raise ValueError("should be sqlite:///<path> or postgresql://<user>:<password>@<host>/<db>")
    return url


def usable_redis(url: SecretStr) -> SecretStr:
    """Reject a URL that is not for Redis, without repeating it."""
    if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("should be redis://<host>:<port>/<number>")
    return url


def long_enough(key: SecretStr) -> SecretStr:
    """Raise ValueError for a key that could be guessed."""
    apikeys.check(key.get_secret_value())
    return key


def usable_previous(given: SecretStr | None) -> SecretStr | None:
    """Reject a previous key without an expiry; an empty one means there is none."""
    if given is None or not given.get_secret_value().strip():
        return None
    apikeys.Previous.parse(given.get_secret_value())
    return given


def lower_case(text: object) -> object:
    return text.lower() if isinstance(text, str) else text


ApiKey = Annotated[SecretStr, AfterValidator(long_enough)]


class Settings(BaseSettings):
    """Settings that every process checks, whether it needs them or not."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    app_env: Profile = "dev"
    database_url: Annotated[SecretStr, AfterValidator(usable_database)]
    redis_url: Annotated[SecretStr, AfterValidator(usable_redis)]
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower_case)]
    data_file: Path
    models_dir: Path
    serving_dir: Path
    recovery_dir: Path
    api_key: ApiKey | None = None
    api_key_previous: Annotated[SecretStr | None, AfterValidator(usable_previous)]
    rate_limit_per_minute: int = Field(ge=0)
    body_bytes_max: int = Field(ge=1)
    cache_seconds: int = Field(ge=0)
    model_probation_seconds: float = Field(ge=0)
    reload_seconds_max: float = Field(gt=0)
    allow_executable_models: bool
    models_public_key: Path | None
    models_signing_key: Path | None
    data_max_age_days: int | None = Field(ge=0)
    calibration_error_max: float = Field(ge=0, le=1)
    must_beat_baselines: bool
    worse_max: float = Field(ge=0)
    disk_free_min_mb: int = Field(ge=0)
    clock_apart_max_seconds: float = Field(gt=0)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment override the profile's section, and that the default section.

        What the environment gives by files is what an object is made with.
        """
        del dotenv_settings, file_secret_settings
        sections = read_sections()
        profile, default = (
            InitSettingsSource(settings_cls, dict(sections[section]))
            for section in (chosen_profile(), "default")
        )
        return init_settings, env_settings, profile, default


class ApiSettings(Settings):
    """Settings of the API and its verification: they also need an API key."""

    api_key: ApiKey


Chosen = TypeVar("Chosen", bound=Settings)
FIELDS = ApiSettings.model_fields
KEYS = sorted(FIELDS)
FILE_KEYS = [key for key in KEYS if key != "app_env"]
SECRETS = {
    key for key in KEYS if SecretStr in (FIELDS[key].annotation, *get_args(FIELDS[key].annotation))
}
LIVE: Mapping[str, Callable[[SecretStr], object]] = {
    "database_url": usable_database,
    "redis_url": usable_redis,
    "api_key": long_enough,
    "api_key_previous": usable_previous,
}
"""What is read again while a process runs, where it is in a file; and what checks a new value."""


def load(kind: type[Chosen]) -> Chosen:
    """Return the settings, and mask their secrets in all output of this process.

    Raises SettingsError, which lists every unknown key and every bad or missing value.
    """
    files = read_all(KEYS)
    masking.learn(value for key, value in files.values.items() if key in SECRETS)
    sections = read_sections()
    refusals = [*unknown_keys(sections), *misspelt_variables(os.environ), *wrong_files(files)]
    try:
        settings = kind(**dict[str, Any](files.values))  # the other sources give the others
    except ValidationError as error:
        refusals += refused_values(error, files, sections)
    if refusals:
        raise SettingsError("\n  ".join(["these settings cannot be used:", *refusals]))
    masking.learn(secrets_of(settings))
    return settings.model_copy(update=live(files))


def secrets_of(settings: Settings) -> Iterator[str]:
    """Yield every secret that has a value."""
    for key in SECRETS:
        secret: SecretStr | None = getattr(settings, key)
        if secret is not None:
            yield secret.get_secret_value()


def live(files: ValueFiles) -> dict[str, FileSecret]:
    """Return, by key, each secret that a file holds and that may change while a process runs.

    A file for the key before is empty until there is one.
    """
    held = {"api_key_previous": "", **files.values}
    return {
        key: FileSecret(files.paths[key], held[key], check)
        for key, check in LIVE.items()
        if key in files.paths and key in held
    }


def chosen_profile() -> str:
    return read_all(["app_env"]).values.get("app_env") or os.environ.get("APP_ENV") or "dev"


def read_sections() -> Sections:
    """Return the sections of the settings file: the default one, and one a profile.

    A section may be empty.

    Raises SettingsError if the file, or a section that is needed, is not as it should be.
    """
    try:
        sections = yaml.safe_load(SETTINGS_FILE.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"{SETTINGS_FILE}: {error}") from None
    expected = ("default", *get_args(Profile))
    if not isinstance(sections, dict):
        raise SettingsError(f"{SETTINGS_FILE}: should have the sections {', '.join(expected)}")
    for section in sections.keys() - expected:
        meant = hint(section, expected)
        raise SettingsError(f"{SETTINGS_FILE} [{section}]: unknown section{meant}")
    if missing := [section for section in expected if section not in sections]:
        raise SettingsError(f"{SETTINGS_FILE}: there is no section {missing[0]}")
    if chosen_profile() not in expected[1:]:
        profiles = ", ".join(expected[1:])
        where = source("app_env", read_all(["app_env"]), {})
        raise SettingsError(f"{where}: should be one of {profiles}")
    return {name: keys_of(name, values) for name, values in sections.items()}


def keys_of(section: str, values: object) -> dict[str, Any]:
    """Return the keys of a section, none where nothing stands below its name."""
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"{SETTINGS_FILE} [{section}]: should have keys, not {values!r:.50}")
    return values


def unknown_keys(sections: Sections) -> Iterator[str]:
    """List the unknown keys of the file."""
    for section, values in sections.items():
        for key in values.keys() - FILE_KEYS:
            meant = hint(str(key).lower(), FILE_KEYS)
            yield f"{SETTINGS_FILE} [{section}]: {key}: unknown key{meant}"


def misspelt_variables(names: Iterable[str]) -> Iterator[str]:
    """List the environment variables that look like misspelled settings.

    The environment contains much else, so only near misses are found.
    """
    known = {name.lower() for key in KEYS for name in (key, variable(key))}
    for name in names:
        meant = get_close_matches(name.lower(), known, 1, NEAR_MISS)
        if meant and name.lower() not in known:
            yield f"environment variable {name}: unknown key; did you mean {meant[0].upper()}?"


def wrong_files(files: ValueFiles) -> Iterator[str]:
    """List files that cannot be read, and values that are set twice."""
    for key, reason in files.wrong.items():
        yield f"{files.place(key)}: {reason}"
    for name, value in os.environ.items():
        if value and name.lower() in files.values:
            both = f"environment variables {name} and {variable(name)}"
            yield f"{both}: both have a value; unset one of them"


def hint(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" if a known name is similar, otherwise an empty string."""
    meant = get_close_matches(name, list(known), 1)
    return f"; did you mean {meant[0]}?" if meant else ""


def refused_values(error: ValidationError, files: ValueFiles, sections: Sections) -> Iterator[str]:
    """List bad or missing values, except those whose file could not be read."""
    for details in error.errors():
        if details["loc"][0] not in files.wrong:
            yield refusal(details, files, sections)


def refusal(details: ErrorDetails, files: ValueFiles, sections: Sections) -> str:
    """Describe one bad or missing value in a line, without the value of a secret."""
    key = str(details["loc"][0])
    if details["type"] == "missing" and key in files.paths:
        return f"{key}: missing; {files.place(key)} is empty"
    if details["type"] == "missing":
        return f"{key}: missing; set the environment variable {key.upper()} or {variable(key)}"
    given = "" if key in SECRETS else f" (got {details['input']!r})"
    reason = details["msg"].removeprefix("Value error, ")
    return f"{source(key, files, sections)}: {reason}{given}"


def source(key: str, files: ValueFiles, sections: Sections) -> str:
    """Return where a key's value was read."""
    if key in files.values:
        return files.place(key)
    for name, value in os.environ.items():
        if value and name.lower() == key:
            return f"environment variable {name}"
    section = chosen_profile() if key in sections[chosen_profile()] else "default"
    return f"{SETTINGS_FILE} [{section}]: {key}"


def main() -> None:
    load(Settings)
    print("settings are valid")


if __name__ == "__main__":
    run(main)
