"""No secret of a stack of processes is in anything that is printed, kept or run."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from slipway.core.redaction import MASK
from tests.support.copies import Copy
from tests.support.secret_leaks import Hunt

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_that_a_session_leaves_behind_holds_a_secret(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    copy = Copy(tmp_path / "repository", models=True, SLIPWAY_ENGINE="local", TMPDIR=str(temporary))
    hunt = Hunt(copy, "dev")
    try:
        with hunt.watched():
            _work(hunt, tmp_path)
    finally:
        copy.inv("deploy.down")
    hunt.files(copy.root)
    hunt.files(temporary)
    hunt.look("the archive", (tmp_path / "point.tar").read_bytes())
    assert hunt.found == set()
    _control(hunt.again(), tmp_path)


def _work(hunt: Hunt, folder: Path) -> None:
    """Type what people type, and what goes wrong for them."""
    hunt.inv("deploy.up")
    hunt.inv("deploy.status", "--json")
    hunt.inv("deploy.logs", "--lines=500")
    assert MASK in hunt.inv("env.show")
    hunt.inv("env.check")
    hunt.inv("doctor", code=0)
    hunt.inv("data.collect")
    hunt.inv("backup.create")
    (point,) = json.loads(hunt.inv("backup.list", "--json"))
    hunt.inv("backup.export", point["id"], f"--to={folder / 'point.tar'}")
    hunt.inv("models.promote", "tier1", "v9.9", code=1)
    hunt.inv("deploy.logs", "--service=apy", code=2)
    said = hunt.break_down()
    assert f"POSTGRES_PASSWORD={MASK}" in said
    assert "RuntimeError: API_KEY=" in said


def _control(hunt: Hunt, folder: Path) -> None:
    """Show that what is planted would be found, wherever it is."""
    value = hunt.values["POSTGRES_PASSWORD"]
    (folder / "planted").mkdir()
    (folder / "planted" / "file").write_text(f"x{value}y")
    hunt.files(folder / "planted")
    with hunt.watched():
        subprocess.run([sys.executable, "-c", "import time; time.sleep(1)", value], check=True)
    places = {"file", "the arguments of a process"}
    assert hunt.found == {("POSTGRES_PASSWORD", place) for place in places}
