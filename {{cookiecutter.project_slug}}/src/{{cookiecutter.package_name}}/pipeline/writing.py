"""Atomic files, with the same bytes for the same content.

Numbers are written with six significant digits, the precision of the models' float32.
"""

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..shared.console import AppError, explain


def replace(file: Path, content: bytes) -> bool:
    """Write a file under a temporary name and rename it; return whether its content changed.

    A file that already has the content is left untouched, and keeps its times.

    Raises AppError if the operating system refuses; the file is then unchanged.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        if file.is_file() and file.read_bytes() == content:
            return False
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        error.filename = file
        raise AppError(f"cannot write {explain(error)}") from error
    return True


def replace_json(file: Path, value: object) -> bool:
    """Write a value as JSON with sorted keys; return whether that changed the file."""
    text = json.dumps(rounded(value), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    return replace(file, f"{text}\n".encode())


def replace_table(file: Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> bool:
    """Write a CSV file, with empty fields for None; return whether that changed it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([rounded(field) for field in row] for row in rows)
    return replace(file, text.getvalue().encode())


def json_line(value: object) -> str:
    return json.dumps(rounded(value), sort_keys=True, allow_nan=False, ensure_ascii=False)


def rounded(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Return the value with all its numbers rounded to six significant digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}") + 0.0  # which makes -0.0 to 0.0
    if isinstance(value, dict):
        return {key: rounded(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(held) for held in value]
    return value


def read_table(file: Path, maker: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file that the stage `maker` writes.

    Raises AppError, naming that stage, if it is missing or has no rows.
    """
    with io.StringIO(read_text(file, maker), newline="") as lines:
        rows = list(csv.DictReader(lines))
    if not rows:
        raise AppError(f"{file} has no rows; run the stage {maker} again")
    return rows


def read_json(file: Path, maker: str) -> dict[str, Any]:
    """Return the object in a JSON file that the stage `maker` writes; raises AppError."""
    try:
        found = json.loads(read_text(file, maker))
    except ValueError as error:
        raise AppError(f"{file} is not JSON ({error}); run the stage {maker} again") from error
    if not isinstance(found, dict):
        raise AppError(f"{file} is not a JSON object; run the stage {maker} again")
    return found


def read_text(file: Path, maker: str) -> str:
    """Return the text of a file that the stage `maker` writes; raises AppError."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AppError(f"{file} is missing; run the stage {maker} first") from None
    except OSError as error:
        raise AppError(f"cannot read {explain(error)}") from error
    except UnicodeDecodeError as error:
        raise AppError(f"{file} is not text; run the stage {maker} again") from error
