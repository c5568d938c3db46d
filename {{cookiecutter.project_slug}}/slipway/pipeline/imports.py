"""The files of a program: the Python modules it starts from, and everything they import.

They are parsed, not run. A module that is imported by a computed name is not found: it has to be
listed among the starting points.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def program_files(root: Path, source: Path, starts: Iterable[str]) -> list[Path]:
    """Return the files of a program; `source` is the folder on PYTHONPATH.

    `starts` are modules, folders of modules or other files, relative to `root`; tests in a folder
    do not count.

    Raises:
        Refused: a file is missing, or is not valid Python.
    """
    left, found = [*_started(root, starts)], set()
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            if path.suffix == ".py":
                left += _imported(path, source)
    return sorted(found)


def _started(root: Path, starts: Iterable[str]) -> Iterator[Path]:
    for start in starts:
        path = root / start
        if path.is_dir():
            inside = (one for one in path.rglob("*.py") if "tests" not in one.parts)
            yield from inside
        elif path.is_file():
            yield path
        else:
            raise Refused(f"{start} is listed as code of a stage, but does not exist")


def _imported(path: Path, source: Path) -> Iterator[Path]:
    """Yield the modules of the application that a module imports."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise Refused(f"{path} is not valid Python: {error}") from error
    package = path.relative_to(source).with_suffix("").parts[:-1]
    yield from _modules(source, package)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _modules(source, tuple(alias.name.split(".")))
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            base = (*above, *(node.module.split(".") if node.module else ()))
            yield from _modules(source, base)
            for alias in node.names:  # each may be a module too
                yield from _modules(source, (*base, alias.name))


def _modules(source: Path, name: tuple[str, ...]) -> Iterator[Path]:
    """Yield the file of a module, and the `__init__.py` of its packages."""
    for length in range(1, len(name) + 1):
        path = source.joinpath(*name[:length])
        if (path / "__init__.py").is_file():
            yield path / "__init__.py"
    if name and (module := source.joinpath(*name).with_suffix(".py")).is_file():
        yield module
