from pathlib import Path

from .. import parts


def test_what_has_a_module_is_found_by_it() -> None:
    folders = {path.parent.name for path in Path(parts.__file__).parent.glob("*/conftest.py")}
    assert {module.__name__.split(".")[-2] for module in parts.having("conftest")} == folders
    assert parts.having("no-such-module") == []
