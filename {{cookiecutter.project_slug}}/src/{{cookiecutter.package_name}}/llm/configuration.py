"""The models of config/llm_ensemble.yaml: the profile's section, merged into the default one.

Sections are merged key by key, and members by name; a key that a profile sets to null is removed.
`python -m <package>.llm.configuration` checks the file.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from ..settings import chosen_profile, hint
from ..shared import masking
from ..shared.console import AppError, run
from ..shared.valuefiles import FileSecret, read_all

FILE = Path("config/llm_ensemble.yaml")
SECTIONS = ("default", "dev", "staging", "prod")
VARIABLE = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")


class ConfigurationError(AppError):
    """The file is invalid; each line of the message names a key and the reason."""

    exit_code = 2


class Strict(BaseModel):
    """Refuses unknown keys, and text for numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Member(Strict):
    """The settings of every model, whatever its back end."""

    weight: float = Field(gt=0)
    """Its weight, relative to the others."""
    timeout_seconds: float = Field(gt=0, le=600)
    """Seconds for an answer, after which the member is left out."""
    max_tokens: int = Field(ge=1, le=8192)
    """Maximum length of an answer, in tokens."""


class ChatMember(Member):
    """A model behind any server with OpenAI's chat completions API."""

    backend: Literal["openai"]
    model: str = Field(min_length=1)
    base_url: str
    """Up to the /v1; `{NAME}` stands for the value of a variable."""
    key_variable: str | None = None
    """The variable with its key, if it needs one; with _FILE appended, that key's file."""


class ProcessMember(Member):
    """A model in a folder, run in this process by transformers."""

    backend: Literal["transformers"]
    path: str = Field(min_length=1)
    device_map: str
    """auto, cpu, cuda:0, ..."""
    bits: Literal[4, 8] | None = None
    """Bits per weight after quantisation; null does not quantise."""


class Ensemble(Strict):
    """The models by name, and how requests to them are batched."""

    members: dict[str, Annotated[ChatMember | ProcessMember, Field(discriminator="backend")]] = (
        Field(min_length=1)
    )
    batch_wait_ms: float = Field(ge=0, le=1000)
    """How long the first request of a batch waits for others."""
    batch_size_max: int = Field(ge=1, le=256)
    rest_seconds: float = Field(ge=0)
    """How long a member is skipped after it was slow or unreachable, so that no job waits."""


def load(file: Path = FILE, profile: str = "") -> Ensemble:
    """Return the settings for a profile, by default that of this process.

    Raises ConfigurationError, naming every invalid key.
    """
    profile = profile or chosen_profile()
    sections = read(file)
    merged = merge(sections["default"], sections.get(profile) or {})
    members = merged.get("members")
    if isinstance(members, dict):
        members = {str(name): one for name, one in members.items() if one is not None}
        merged = {**merged, "members": members}
    try:
        return Ensemble.model_validate(merged)
    except ValidationError as error:
        reasons = [reason(one) for one in error.errors()]
        where = f"{file} [{profile} over default]"
        raise ConfigurationError("\n  ".join([f"{where} cannot be used:", *reasons])) from None


def reason(error: Mapping[str, Any]) -> str:
    """Describe what is wrong with a key, under the name that it has in the file."""
    place = [str(part) for part in error["loc"]]
    if place[0] == "members" and len(place) > 2:  # noqa: PLR2004 - members, name, back end
        del place[2]
    known = {*Ensemble.model_fields, *ChatMember.model_fields, *ProcessMember.model_fields}
    meant = hint(place[-1], known) if error["type"] == "extra_forbidden" else ""
    if error["type"] == "extra_forbidden":
        return f"{'.'.join(place)}: unknown key{meant}"
    return f"{'.'.join(place)}: {error['msg']}"


def read(file: Path) -> dict[str, dict[str, Any]]:
    """Return the sections of the file.

    Raises ConfigurationError if it cannot be read, or has sections that are not profiles.
    """
    try:
        sections = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{file}: {error}") from None
    if not isinstance(sections, dict) or not isinstance(sections.get("default"), dict):
        raise ConfigurationError(f"{file}: should have a section default, and one for each profile")
    for name, section in sections.items():
        if name not in SECTIONS:
            meant = hint(str(name), SECTIONS)
            raise ConfigurationError(f"{file} [{name}]: unknown section{meant}")
        if section is not None and not isinstance(section, dict):
            raise ConfigurationError(f"{file} [{name}]: should have keys, not {section!r:.50}")
    return sections


def merge(default: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge one mapping into another, recursively."""
    both = {
        key: merge(default[key], value)
        for key, value in over.items()
        if isinstance(value, dict) and isinstance(default.get(key), dict)
    }
    return {**default, **over, **both}


def filled_in(text: str) -> str:
    """Replace {NAME} in a text by the value of the variable.

    Raises ConfigurationError if a variable has no value.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if found := os.environ.get(name) or read_all([name.lower()]).values.get(name.lower()):
            return found
        raise ConfigurationError(
            f"{FILE}: {name} has no value: list worker-llm in its read_by in env/schema.toml, "
            "then: inv deploy.up"
        )

    return VARIABLE.sub(value, text)


def secret(name: str | None) -> SecretStr | None:
    """Return the key in a variable, or None; logs will not show it.

    A key in a file is read again whenever the file changes.

    Raises ConfigurationError if the file cannot be read.
    """
    if name is None:
        return None
    files = read_all([name.lower()])
    if wrong := files.wrong.get(name.lower()):
        raise ConfigurationError(f"{files.place(name.lower())}: {wrong}")
    if path := files.paths.get(name.lower()):
        held = files.values.get(name.lower(), "")
        masking.learn([held])
        return FileSecret(path, held, lambda _new: None)
    given = os.environ.get(name, "")
    masking.learn([given])
    return SecretStr(given) if given else None


def main() -> None:
    members = load().members
    for member in members.values():
        if isinstance(member, ChatMember):
            filled_in(member.base_url)
            secret(member.key_variable)
    print(f"{len(members)} members: {', '.join(members)}")


if __name__ == "__main__":
    run(main)
