"""What slipway/ reads is declared, and what it declares is read: found in its syntax."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from typing import TYPE_CHECKING

from devtools.bake import TEMPLATE
from slipway.config import variables

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = re.compile(r"[A-Z][A-Z0-9_]*")
SET = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "RAY_USAGE_STATS_ENABLED"}
"""Only given a default for another library."""


@cache
def trees() -> list[ast.Module]:
    return [
        ast.parse(path.read_text(encoding="utf-8"))
        for path in (TEMPLATE / "slipway").rglob("*.py")
        if path.name != "variables.py"
    ]


@cache
def constants() -> dict[str, str]:
    """Return the texts that modules give a name, by that name."""
    nodes = (node for tree in trees() for node in tree.body if isinstance(node, ast.Assign))
    pairs = (pair for node in nodes for pair in assigned(node.targets[0], node.value))
    return {
        name.id: text.value
        for name, text in pairs
        if isinstance(name, ast.Name)
        and isinstance(text, ast.Constant)
        and isinstance(text.value, str)
    }


def assigned(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return [*zip(target.elts, value.elts, strict=True)]
    return [(target, value)]


def texts() -> set[str]:
    nodes = (node for tree in trees() for node in ast.walk(tree))
    said = {node.value for node in nodes if isinstance(node, ast.Constant)}
    return {text for text in said if isinstance(text, str) and NAME.fullmatch(text)}


def asked() -> Iterator[str]:
    """Yield the names that the environment is asked for, but for those in variables of a loop."""
    for node in (node for tree in trees() for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("os.environ."):
            name = node.args[0]
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            name = node.slice
        else:
            continue
        if isinstance(name, ast.Constant):
            yield str(name.value)
        elif isinstance(name, ast.Name) and name.id in constants():
            yield constants()[name.id]


def test_every_variable_that_the_environment_is_asked_for_is_declared() -> None:
    assert {*asked()} >= {"SLIPWAY_ENGINE", "MODELS_SIGNING_KEY", "POSTGRES_DB"}
    assert {*asked()} - variables.READ - SET == set()


def test_every_variable_of_the_schema_that_is_named_is_declared() -> None:
    schema = tomllib.loads((TEMPLATE / "env" / "schema.toml").read_text(encoding="utf-8"))
    settable = {name for name, entry in schema.items() if "set_by" not in entry}
    assert settable & texts() - variables.DESCRIBED.keys() == set()
    assert variables.DESCRIBED.keys() - schema.keys() == set()
    assert variables.UNDESCRIBED.keys() & schema.keys() == set()


def test_nothing_is_declared_that_is_not_read() -> None:
    assert variables.READ - texts() == set()
