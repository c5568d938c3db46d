"""The script that Streamlit runs, on its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .conftest import DASHBOARD, DRAW_SECONDS

DRAW = f"""
import sys
from streamlit.testing.v1 import AppTest

page = AppTest.from_file(sys.argv[1], default_timeout={DRAW_SECONDS}).run()
assert not page.exception, page.exception
print(page.title[0].value)
print(*sorted(name for name in sys.modules if name.split(".")[0] == "other_name"))
"""


def test_it_needs_no_other_part_of_the_package_whatever_that_is_called(tmp_path: Path) -> None:
    package = tmp_path / "src" / "other_name"
    shutil.copytree(DASHBOARD, package / "dashboard", ignore=shutil.ignore_patterns("tests"))
    shutil.copy(DASHBOARD.parent / "__init__.py", package)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env["API_URL"] = "http://127.0.0.1:9"  # nothing listens there
    ran = subprocess.run(
        [sys.executable, "-c", DRAW, str(package / "dashboard" / "streamlit_app.py")],
        cwd=tmp_path,
        env=env,
        check=True,
        capture_output=True,
        text=True,
        timeout=DRAW_SECONDS,
    )
    title, modules = ran.stdout.splitlines()
    assert title == "Other Name"
    names = ("", ".api_types", ".charts", ".client", ".page", ".scores", ".words")
    imported = ["other_name", *(f"other_name.dashboard{name}" for name in names)]
    assert modules.split() == imported
