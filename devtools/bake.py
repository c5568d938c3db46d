"""Bake the template of this working tree."""

import difflib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cookiecutter.exceptions import CookiecutterException
from cookiecutter.main import cookiecutter
from invoke.exceptions import Exit

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
BAKED_FROM = (ROOT / "cookiecutter.json", ROOT / "hooks", TEMPLATE)


def settings(template: Path | None = None) -> dict[str, Any]:
    """Read cookiecutter.json, of this template or of another version of it."""
    text = ((template or ROOT) / "cookiecutter.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def questions() -> list[str]:
    return [key for key in settings() if not key.startswith("_")]


def owned_paths(services: Collection[str], package: str) -> set[str]:
    """Return the patterns of what services own: their folders, and what the table lists."""
    table = settings()["__services"]
    listed = {path for service in services for path in table[service].get("paths", ())}
    found = {f"services/{service}" for service in services} | listed
    return {path.replace("{{ cookiecutter.package_name }}", package) for path in found}


def parse(answers: Iterable[str]) -> dict[str, str]:
    pairs = dict(answer.partition("=")[::2] for answer in answers)
    for key in pairs:
        if key not in questions():
            near = "".join(difflib.get_close_matches(key, questions(), n=1))
            question = f": did you mean {near!r}?" if near else "."
            raise Exit(f"There is no question {key!r}{question}", code=2)
    return pairs


def bake(
    parent: Path, answers: Mapping[str, str] | None = None, template: Path | None = None
) -> Path:
    """Bake into a new folder under the parent, and return that folder."""
    # Its log of a refused answer is a traceback; the hook has already said what is wrong.
    logging.getLogger("cookiecutter").setLevel(logging.CRITICAL)
    parent.mkdir(parents=True, exist_ok=True)
    try:
        made = cookiecutter(
            str(template or ROOT),
            no_input=True,
            extra_context=dict(answers or {}),
            output_dir=str(parent),
            default_config=True,
        )
    except CookiecutterException as error:
        raise Exit(f"Nothing was baked. {error}", code=2) from error
    return Path(made)


def bake_as(folder: Path, answers: Mapping[str, str] | None = None) -> None:
    """Bake into exactly this folder, and replace its content only if the bake succeeds."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".bake-") as temporary:
        with silence():
            made = bake(Path(temporary), answers)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


@contextmanager
def silence() -> Iterator[None]:
    """Suppress the output of the hooks: it would name the temporary folder."""
    stdout = os.dup(1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)


def is_source(path: Path) -> bool:
    return path.is_file() and not {"__pycache__", ".mypy_cache", ".ruff_cache"} & {*path.parts}


def fingerprint() -> str:
    """Return a digest of everything a bake is made from."""
    digest = hashlib.sha256()
    trees = (tree.rglob("*") if tree.is_dir() else [tree] for tree in BAKED_FROM)
    for path in sorted(path for tree in trees for path in tree if is_source(path)):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
