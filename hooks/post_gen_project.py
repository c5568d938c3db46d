"""Remove the services that were not chosen, and say what to type next.

What each service needs, and owns besides its folder in services/, is in one table: `__services` in
cookiecutter.json.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# JSON never contains three quotes in a row, so no answer can end this string.
RENDERED = r"""{{ cookiecutter | jsonify }}"""

UP = "inv deploy.up"
"""Starts the services, except those whose entry names another command."""
MARK = " <!-- services/{} -->"
"""Ends a heading or a line of README.md that is removed with a service."""
NEEDS = re.compile(r"^NEEDS = \((.*)\)$", re.MULTILINE)
"""Where a module of slipway/ names the services that it is for; any one of them is enough."""
VIA = re.compile(r"\n    # via((?: \S.*|(?:\n    #   .*)+))")
"""Where a lock names what requires a package."""

DECLARED = "variables.py"
"""Where slipway/ declares the variables that it may read: that reads none."""

OLDEST_PYTHON = "3.11"
NEXT = """
{name} is in {folder}
{need}
To set it up and start it:

  cd {folder}
  {python} -m venv .venv && . .venv/bin/activate
  pip install -r requirements.txt && {start}

To set it up and run its tests:  pip install -r requirements.txt && nox -s ci
"""


def with_needs(services: Iterable[str], table: dict[str, Any]) -> set[str]:
    """Add to the services what they depend on, directly or not."""
    found = set(services)
    for service in services:
        found |= with_needs(table[service]["needs"], table)
    return found


def owned_paths(service: str, table: dict[str, Any]) -> list[str]:
    """Return the patterns of what a service owns: its folder, and what the table lists."""
    return [f"services/{service}", *table[service].get("paths", ())]


def owned_by(services: Iterable[str], table: dict[str, Any], project: Path) -> set[Path]:
    """Return the files that some services own."""
    patterns = {pattern for service in services for pattern in owned_paths(service, table)}
    found = {path for pattern in patterns for path in project.glob(pattern)}
    inside = {path for folder in found for path in folder.rglob("*")}
    return {path for path in found | inside if not path.is_dir()}


def left_by(service: str, chosen: Iterable[str], table: dict[str, Any], project: Path) -> set[Path]:
    """Return the files of a service that was not chosen, except those a chosen service also owns.

    The services it depends on do not count: they work without these files.
    """
    sharing = {*chosen} - with_needs([service], table)
    return owned_by([service], table, project) - owned_by(sharing, table, project)


def useless_in(slipway: Path, chosen: set[str]) -> set[Path]:
    """Return the files of slipway/ that none of the chosen services needs.

    What the __init__.py of a folder says is said of all that is in it.
    """
    found: set[Path] = set()
    for file in slipway.rglob("*.py"):
        said = NEEDS.search(file.read_text(encoding="utf-8"))
        if said and not chosen & {*re.findall(r'"([\w-]+)"', said[1])}:
            found |= {*file.parent.rglob("*.*")} if file.name == "__init__.py" else {file}
    return found


def remove_files(files: Iterable[Path]) -> None:
    """Remove files, and the folders left empty."""
    folders = set[Path]()
    for file in files:
        file.unlink(missing_ok=True)
        folders |= {*file.parents}
    for folder in sorted(folders, reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def remove_caches(project: Path) -> None:
    """Remove what running the template's code in place has left in it, and cookiecutter copied."""
    for folder in [*project.rglob("__pycache__")]:
        shutil.rmtree(folder)


def remove_mentions(service: str, project: Path) -> None:
    """Remove the mentions of a service from the repository's shared files."""
    for file in project.glob("compose*.yaml"):
        remove_lines(file, f"services/{service}/")
    for file in project.glob("docs/inventory.md"):
        remove_section(file, f"## {service}")
    for file in project.glob("README.md"):
        remove_sections(file, MARK.format(service))
        remove_lines(file, MARK.format(service))


def remove_sections(file: Path, mark: str) -> None:
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("## ") and line.endswith(mark):
            remove_section(file, line)


def remove_marks(file: Path) -> None:
    """Remove the marks of the services that were chosen."""
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(re.escape(MARK).replace(r"\{\}", r"[\w-]+"), "", text), encoding="utf-8")


def remove_lines(file: Path, part: str) -> None:
    """Remove the lines of a file that contain a text."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = (line for line in lines if part not in line)
    file.write_text("".join(kept), encoding="utf-8")


def remove_section(file: Path, heading: str) -> None:
    """Remove a heading and its section."""
    head, *sections = re.split(r"\n(?=## )", file.read_text(encoding="utf-8"))
    kept = [section for section in sections if section.partition("\n")[0] != heading]
    file.write_text("\n".join([head, *kept]), encoding="utf-8")


def compose_services(file: Path) -> list[str]:
    """Return the services that a compose file defines."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    block = re.search(r"^services:\n((?:[ #].*\n|\n)*)", text, re.MULTILINE)
    return re.findall(r"^  ([\w-]+):", block[1], re.MULTILINE) if block else []


def remove_stages(names: Iterable[str], dockerfile: Path) -> None:
    """Remove the services' stages from a Dockerfile, and the stages built on them."""
    blocks = dockerfile.read_text(encoding="utf-8").split("\n\n")
    gone = {stage for name in names for stage in (name, f"{name}-packages")}
    while more := {stage for block in blocks for stage in stages(block, gone)} - gone:
        gone |= more
    kept = (block for block in blocks if not stages(block, gone))
    dockerfile.write_text("\n\n".join(kept).rstrip("\n") + "\n", encoding="utf-8")


def stages(block: str, gone: set[str]) -> list[str]:
    """Return the stage that a block builds, if it or a stage it is built on is gone."""
    made = re.findall(r"^FROM \S+ AS (\S+)$", block, re.MULTILINE)
    used = re.findall(r"^FROM (\S+) AS|[-,]from=([\w-]+)", block, re.MULTILINE)
    return made if gone & {*made, *(name for pair in used for name in pair)} else []


def remove_readers(names: Iterable[str], project: Path) -> None:
    """Remove services from the schema of variables, and the variables that only they read.

    A variable that another one's default names stays: that one needs it. Tasks read what slipway/
    names, and parts of it may be gone.
    """
    schema = project / "env" / "schema.toml"
    head, *entries = re.split(r"\n(?=\[)", schema.read_text(encoding="utf-8"))
    modules = (file for file in project.glob("slipway/**/*.py") if file.name != DECLARED)
    code = "".join(file.read_text(encoding="utf-8") for file in modules)
    gone = {entry: {*names, *unread(variable(entry), code)} for entry in entries}
    left = {entry: without(entry, gone[entry]) for entry in entries}
    kept = {entry for entry, text in left.items() if text == entry or "read_by = []" not in text}
    while more := {one for one in left.keys() - kept if any(named(one, kept))}:
        kept |= more
    schema.write_text("\n".join([head, *(left[one] for one in entries if one in kept)]), "utf-8")
    left_out = [variable(entry) for entry in entries if entry not in kept]
    for file in project.glob("docs/env.md"):
        for name in names:
            remove_section(file, f"## {name}")
        for name in left_out:
            remove_lines(file, f"| `{name}` |")
    for file in project.glob(".env.example"):
        remove_paragraphs(file, left_out)


def unread(name: str, code: str) -> list[str]:
    """Return the reader `tasks` if no code names a variable."""
    return [] if f'"{name}"' in code else ["tasks"]


def without(entry: str, names: set[str]) -> str:
    """Remove services from the readers of a variable."""

    def kept(line: re.Match[str]) -> str:
        readers = [name for name in json.loads(line[1]) if name not in names]
        return f"read_by = {json.dumps(readers)}"

    return re.sub(r"^read_by = (\[.*\])$", kept, entry, flags=re.MULTILINE)


def variable(entry: str) -> str:
    return entry[1 : entry.index("]")]


def named(entry: str, others: Iterable[str]) -> Iterable[bool]:
    return ("${" + variable(entry) + "}" in other for other in others)


def remove_paragraphs(file: Path, names: Iterable[str]) -> None:
    """Remove variables and their descriptions from an env file."""
    paragraphs = file.read_text(encoding="utf-8").rstrip("\n").split("\n\n")
    lines = [re.compile(rf"^(# )?{name}=", re.MULTILINE) for name in names]
    kept = [text for text in paragraphs if not any(line.search(text) for line in lines)]
    file.write_text("\n\n".join(kept) + "\n", encoding="utf-8")


def prune_requirements(project: Path) -> None:
    """Remove mentions of requirement files that are gone, and what only they required."""
    files = [*project.glob("requirements*.in"), *project.glob("services/*/*.in")]
    for file in files:
        for name in re.findall(r"^-r (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE):
            if not (file.parent / name).is_file():
                remove_lines(file, f"-r {name}")
    for file in files:
        prune_lock(file.with_suffix(".txt"), project)


def prune_lock(lock: Path, project: Path) -> None:
    """Remove the packages that nothing requires any more from a lock.

    The lock names what requires each package: requirement files and other packages.
    """
    blocks = re.split(r"\n(?=[^\s#])", lock.read_text(encoding="utf-8").rstrip("\n"))
    askers = {block: asked_by(block) for block in blocks if not block.startswith("#")}
    found = {word for words in askers.values() for word in words if is_there(word, project)}
    kept = {block for block in blocks if block not in askers}
    while more := {block for block, words in askers.items() if words & found} - kept:
        kept |= more
        found |= {named_by(block) for block in more}
    left = (told(block, found) if block in askers else block for block in blocks if block in kept)
    lock.write_text("\n".join(left) + "\n", encoding="utf-8")


def asked_by(block: str) -> set[str]:
    """Return the packages and files that require a package of a lock."""
    (words,) = VIA.findall(block)
    return {word.strip(" #") for word in words.split("\n") if word.strip(" #")}


def named_by(block: str) -> str:
    return re.split(r"[=\[ ]", block, maxsplit=1)[0]


def is_there(word: str, project: Path) -> bool:
    return word.startswith("-r ") and (project / word[3:]).is_file()


def told(block: str, found: set[str]) -> str:
    """Remove what is gone from the list of what requires a package."""
    words = sorted(word for word in asked_by(block) if word in found or word.startswith("-c "))
    lines = f" {words[0]}" if len(words) == 1 else "".join(f"\n    #   {word}" for word in words)
    return VIA.sub(f"\n    # via{lines}", block)


def address(template: str) -> str:
    """Return where the template is: a folder as an absolute path, a URL without its password."""
    folder = Path(os.environ.get("PWD", "."), template)
    return (
        str(folder.resolve()) if folder.is_dir() else re.sub(r"^(https?://)[^/]*@", r"\1", template)
    )


def commit_of(folder: str) -> str:
    """Return the commit that a clone of the template is at; nothing where there is none."""
    top, _, commit = git(folder, "rev-parse", "--show-toplevel", "HEAD").partition("\n")
    return commit if top and Path(top).samefile(folder) else ""


def git(folder: str, *words: str) -> str:
    """Return what git says; nothing without git, or outside a repository."""
    command = ["git", "-C", folder, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def record_template(answers: dict[str, Any], file: Path) -> None:
    """Write into project.toml where the template is, and at which commit it was."""
    clone = Path(os.environ.get("PWD", "."), answers.get("_repo_dir", ""))
    # cruft knows the commit, cookiecutter does not
    commit = answers.get("_commit") or commit_of(str(clone))
    text = file.read_text(encoding="utf-8")
    for key, value in (("address", address(answers.get("_template", ""))), ("commit", commit)):
        text = text.replace(f'\n{key} = ""', f"\n{key} = {json.dumps(value)}", 1)
    file.write_text(text, encoding="utf-8")


def shortest(project: Path) -> str:
    """Return the folder as one would type it where cookiecutter was run."""
    relative = os.path.relpath(project, os.environ.get("PWD", project.parent))
    return shlex.quote(min(relative, str(project), key=len))


def is_new_enough(python: str) -> bool:
    """Say whether a Python of this name is there and can run what was made."""
    oldest = tuple(map(int, OLDEST_PYTHON.split(".")))
    question = f"import sys; sys.exit(sys.version_info < {oldest})"
    try:
        return (
            subprocess.run([python, "-c", question], capture_output=True, check=False).returncode
            == 0
        )
    except OSError:
        return False


def next_steps(name: str, project: Path, start: str) -> str:
    """Say what to type next, with a Python that is new enough, or that one is needed."""
    names = ["python3", *(f"python3.{minor}" for minor in range(20, 10, -1))]
    there = next(filter(is_new_enough, names), "")
    need = "" if there else f"\nPython {OLDEST_PYTHON} or newer is needed: install it first.\n"
    python = there or f"python{OLDEST_PYTHON}"
    folder = shortest(project)
    return NEXT.format(name=name, folder=folder, need=need, python=python, start=start)


def main() -> None:
    answers = json.loads(RENDERED)
    table = answers["__services"]
    chosen = with_needs(answers["services"].replace(",", " ").split(), table)
    gone = sorted(set(table) - chosen)
    files = (Path("services", service, "compose.yaml") for service in gone)
    defined = [name for file in files for name in compose_services(file)]
    readers = [name for service in gone for name in table[service].get("readers", ())]
    remove_caches(Path())
    remove_files(file for service in gone for file in left_by(service, chosen, table, Path()))
    remove_files(useless_in(Path("slipway"), chosen))
    for service in gone:
        remove_mentions(service, Path())
    remove_marks(Path("README.md"))
    if gone:
        prune_requirements(Path())
    remove_stages([*gone, *defined], Path("Dockerfile"))
    remove_readers([*defined, *readers], Path())
    if not Path("slipway/secret/rotation").exists():
        remove_section(Path("docs/env.md"), "## Rotation")
    if not [*Path("src").glob("*/settings.py")]:
        remove_section(Path("docs/env.md"), "## Settings")
    record_template(answers, Path("project.toml"))
    starts = {table[service].get("start", UP) for service in chosen}
    start = UP if UP in starts else min(starts)
    print(next_steps(answers["project_name"], Path.cwd(), start))  # noqa: T201


if __name__ == "__main__":
    main()
