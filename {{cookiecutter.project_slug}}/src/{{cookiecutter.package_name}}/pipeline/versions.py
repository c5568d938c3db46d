"""The data, code and libraries that made a result: identified by content, not by time."""

import argparse
import hashlib
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..shared.console import AppError, explain
from .series import QUANTILES
from .work import Work

CODE = Path(__file__).parent


def digest(file: Path) -> str:
    """Return the sha256 of a file; raises AppError."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise AppError(f"cannot read {explain(error)}") from error


def code() -> str:
    """Return a single sha256 of this package's modules."""
    found = hashlib.sha256()
    for file in sorted(CODE.glob("*.py")):
        found.update(f"{file.name} {digest(file)}\n".encode())
    return found.hexdigest()


def libraries(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of Python, of the libraries of every model, and of packages."""
    names = ("numpy", "onnxruntime", *packages)
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def made_by(work: Work, data: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Return the facts that are recorded with every fitted model."""
    return {
        "series": work.series,
        "interval": work.interval,
        "unit": work.rule.unit,
        "model": asked.model,
        "horizon": asked.horizon,
        "quantiles": dict(QUANTILES),
        "seed": asked.seed,
        "data_sha256": data,
        "code_sha256": code(),
    }
