"""Read rows from a CSV file, all of them or none, with every mistake named by its line."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ..problem import KEY, Key, Observation
from .console import AppError, explain

SHOWN = 20
"""Refused rows named in a message; `--json` has all."""


@dataclass(frozen=True)
class Refused:
    """What is wrong with one place of a file."""

    file: str
    line: int
    column: str
    reason: str

    def __str__(self) -> str:
        """Return file:line: column: reason."""
        return f"{self.file}:{self.line}: {self.column}: {self.reason}"


class RefusedFileError(AppError):
    """A file holds rows that are not valid."""

    def __init__(self, refused: list[Refused]) -> None:
        self.refused = refused
        lines = [str(one) for one in refused[:SHOWN]]
        if len(refused) > SHOWN:
            lines.append(f"... and {len(refused) - SHOWN} more")
        count = f"{len(refused)} problem{'s' * (len(refused) > 1)}"
        heading = f"nothing was loaded, {count} to fix:"
        super().__init__("\n  ".join([heading, *lines]))


def read(file: Path) -> list[Observation]:
    """Return the rows of a CSV file whose first line names the columns.

    Raises RefusedFileError, or AppError for a file that cannot be read.
    """
    rows: dict[Key, tuple[int, Observation]] = {}
    refused: list[Refused] = []
    for line, fields in numbered_fields(file):
        try:
            row = Observation.model_validate_strings(fields)
        except ValidationError as error:
            refused += refusals(error, file, line)
            continue
        key: Key = getattr(row, KEY)
        first, _ = rows.setdefault(key, (line, row))
        if first != line:
            reason = f"{key} is also on line {first}"
            refused.append(Refused(str(file), line, KEY, reason))
    if refused:
        raise RefusedFileError(refused)
    if not rows:
        raise AppError(f"{file} has no rows: there is nothing below the header")
    return [row for _, row in rows.values()]


def numbered_fields(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row's line and fields; a field that is empty is left out, as one not known.

    Raises RefusedFileError for columns that are not ours, AppError for what is no CSV at all.
    """
    before = 0
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, restkey="(no name)", strict=True)
            check_columns(file, reader.fieldnames or ())
            before = reader.line_num
            for fields in reader:
                before = reader.line_num
                yield reader.line_num, {name: str(text) for name, text in fields.items() if text}
    except csv.Error as error:
        start = f"the row starting on line {before + 1}"
        raise AppError(
            f"{file} cannot be read: {error} in {start}; is a quote not closed?"
        ) from error
    except OSError as error:
        raise AppError(f"cannot read {explain(error)}") from error
    except UnicodeDecodeError as error:
        raise AppError(f"{file} cannot be read: {error}; save it as UTF-8") from error


def check_columns(file: Path, names: Sequence[str]) -> None:
    """Refuse a file whose first line names other columns than the fields of a row."""
    fields = Observation.model_fields
    missing = [name for name in fields if fields[name].is_required() and name not in names]
    refused = [Refused(str(file), 1, name, "missing column") for name in missing]
    refused += [Refused(str(file), 1, n, "unknown column") for n in names if n not in fields]
    if refused:
        raise RefusedFileError(refused)


def refusals(error: ValidationError, file: Path, line: int) -> Iterator[Refused]:
    """Yield what is wrong with one row; what concerns more than one column names the row."""
    for details in error.errors():
        column = str(details["loc"][0]) if details["loc"] else "row"
        reason = details["msg"].removeprefix("Value error, ")
        if details["type"] not in {"missing", "value_error"}:
            reason = f"{reason} (got {details['input']!r})"
        yield Refused(str(file), line, column, reason)
