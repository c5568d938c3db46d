"""The order of the rooms of slipway/, read from its imports.

An arrow counts wherever it is written, also under TYPE_CHECKING and inside a function: whoever
names a type of a higher room knows that room. In a cycle only imports that run count, at the top of
a module or inside a function.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from devtools.bake import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ORDER = (
    "ci", "core", "config", "stack", "releases", "models", "secret", "backup", "pipeline",
    "harness", "tasks",
)  # fmt: skip
"""Each room may import those before it; ci/ is what noxfiles import, which have no package."""
MOST_FILES = 10
CROWDED = frozenset({"tasks"})
"""Folders with more files: a task is found by its namespace, and each namespace is a module."""
REASON = re.compile(r"# noqa: PLC0415 - (speed|optional)\b")
"""An import inside a function saves time, or is of a package that a repository may be without."""


class Arrow(NamedTuple):
    """An import of one module of slipway/ by another."""

    source: str
    target: str
    runs: bool
    """False where only a type checker reads it."""


@cache
def modules() -> dict[str, Path]:
    """Return every module by its name without `slipway.`; a package is named as its folder is."""
    found = {}
    for path in sorted((TEMPLATE / "slipway").rglob("*.py")):
        parts = path.relative_to(TEMPLATE / "slipway").with_suffix("").parts
        found[".".join(parts).removesuffix("__init__").removesuffix(".")] = path
    return found


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


def imports_of(node: ast.AST) -> Iterator[str]:
    """Yield the modules that a statement imports, as far as they are of slipway/."""
    if isinstance(node, ast.Import):
        named = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, f"line {node.lineno}: write the whole name, not a relative one"
        whole = [f"{node.module}.{alias.name}" for alias in node.names]
        named = [name if module_of(name) in modules() else str(node.module) for name in whole]
    else:
        return
    yield from (module_of(name) for name in named if f"{name}.".startswith("slipway."))


def module_of(name: str) -> str:
    return name.removeprefix("slipway").removeprefix(".")


def walk(node: ast.AST, *, runs: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Yield every node below, and whether it runs."""
    for child in ast.iter_child_nodes(node):
        typed = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield child, runs and not typed
        yield from walk(child, runs=runs and not typed)


@cache
def arrows() -> frozenset[Arrow]:
    return frozenset(
        Arrow(name, target, runs)
        for name in modules()
        for node, runs in walk(tree(name))
        for target in imports_of(node)
        if target != name
    )


def room(module: str) -> str:
    return module.partition(".")[0]


def upward() -> Iterator[str]:
    for arrow in arrows():
        source, target = room(arrow.source), room(arrow.target)
        if target and (not source or ORDER.index(target) > ORDER.index(source)):
            yield f"{arrow.source} imports {arrow.target}, which is above it"


def circular() -> Iterator[str]:
    """Find the imports that are part of a cycle: the target leads back to the source."""
    following = defaultdict(set)
    for arrow in arrows():
        if arrow.runs:
            following[arrow.source].add(arrow.target)
    for source, targets in following.items():
        for target in targets:
            if source in reachable(target, following):
                yield f"{source} imports {target}, which leads back to it"


def reachable(start: str, following: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        for name in following.get(ahead.pop(), ()):
            if name not in found:
                found.add(name)
                ahead.append(name)
    return found


def crowded() -> Iterator[str]:
    counts = Counter(path.parent for path in modules().values())
    for folder, count in counts.items():
        name = folder.relative_to(TEMPLATE / "slipway").as_posix()
        if count > MOST_FILES and name not in CROWDED:
            yield f"{name}/ has more than {MOST_FILES} files"


def doubled() -> Iterator[str]:
    nodes = (node for name in modules() for node in ast.walk(tree(name)))
    counts = Counter(node.name for node in nodes if isinstance(node, ast.ClassDef))
    yield from (f"class {name} is defined more than once" for name, n in counts.items() if n > 1)


def lazy() -> Iterator[str]:
    """Find imports inside functions without a reason that counts."""
    for name, path in modules().items():
        lines = path.read_text(encoding="utf-8").splitlines()
        for function in ast.walk(tree(name)):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Import | ast.ImportFrom) and not any(
                        map(REASON.search, lines[node.lineno - 1 : node.end_lineno])
                    ):
                        yield f"{name} imports {imported(node)} inside a function"


def imported(node: ast.Import | ast.ImportFrom) -> str:
    return str(node.module) if isinstance(node, ast.ImportFrom) else node.names[0].name


def test_every_room_has_its_place_in_the_order() -> None:
    assert {room(name) for name in modules()} - {*ORDER, ""} == set()


def test_imports_go_down_only() -> None:
    assert sorted(upward()) == []


def test_imports_make_no_cycle() -> None:
    assert sorted(circular()) == []


def test_folders_are_small() -> None:
    assert sorted(crowded()) == []


def test_every_class_has_a_name_of_its_own() -> None:
    assert sorted(doubled()) == []


def test_imports_inside_functions_say_what_they_save() -> None:
    assert sorted(lazy()) == []
