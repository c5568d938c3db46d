"""Remove the services that were not chosen, and say what to type next.

Which service needs which, and what each owns, is one table: `__services` in cookiecutter.json.
"""

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# JSON never holds three quotes in a row, so no answer can end this string.
RENDERED = r"""{{ cookiecutter | jsonify }}"""

NEXT = """
{name} is in {folder}

To set it up and start it:

  cd {folder}
  python3 -m venv .venv && . .venv/bin/activate
  pip install -r requirements.txt && inv deploy.up

To set it up and run its tests:  pip install -r requirements.txt && nox -s ci
"""


def with_needs(services: Iterable[str], table: dict[str, Any]) -> set[str]:
    """Add to the services what they need, and what that needs."""
    found = set(services)
    for service in services:
        found |= with_needs(table[service]["needs"], table)
    return found


def remove(path: Path) -> None:
    """Remove a file, or a folder and what is in it."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def remove_service(service: str, table: dict[str, Any], project: Path) -> None:
    """Remove the paths a service owns, and what other files say of its folder."""
    for pattern in table[service]["paths"]:
        for path in project.glob(pattern):
            remove(path)
    for file in (*project.glob("compose*.yaml"), *project.glob("requirements*.in")):
        remove_lines(file, f"services/{service}/")
    for file in project.glob("docs/inventory.md"):
        remove_section(file, f"## {service}")


def remove_lines(file: Path, part: str) -> None:
    """Remove the lines of a file that name such a part of a path."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = (line for line in lines if part not in line)
    file.write_text("".join(kept), encoding="utf-8")


def remove_section(file: Path, heading: str) -> None:
    """Remove a heading and what is under it, up to the next one."""
    head, *sections = re.split(r"\n(?=## )", file.read_text(encoding="utf-8"))
    kept = [section for section in sections if section.partition("\n")[0] != heading]
    file.write_text("\n".join([head, *kept]), encoding="utf-8")


def shortest(project: Path) -> str:
    """Return the folder as someone in the folder cookiecutter ran in would type it."""
    relative = os.path.relpath(project, os.environ.get("PWD", project.parent))
    return shlex.quote(min(relative, str(project), key=len))


def main() -> None:
    """Make the repository what was chosen."""
    answers = json.loads(RENDERED)
    table = answers["__services"]
    chosen = with_needs(answers["services"].replace(",", " ").split(), table)
    for service in sorted(set(table) - chosen):
        remove_service(service, table, Path())
    print(NEXT.format(name=answers["project_name"], folder=shortest(Path.cwd())))  # noqa: T201


if __name__ == "__main__":
    main()
