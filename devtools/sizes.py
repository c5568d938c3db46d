"""Count the lines and files of what each preset generates, by whose they are."""

import subprocess
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from invoke.exceptions import Exit

from devtools import bake
from devtools.console import table

PAGE = bake.ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- begin: inv sizes --write -->\n", "<!-- end: inv sizes --write -->\n"
KINDS = (
    "application",
    "tests",
    "Slipway's",
    "tests of Slipway's",
    "locks",
    "pages, configuration, data",
    "all",
)
FLOORS = ("Python outside slipway/", "Python in slipway/")
HEADS = ("preset", "version", *KINDS, *FLOORS)
GOALS = {("serving", FLOORS[0]): 15_000, ("pipeline", FLOORS[1]): 11_500}
"""The most lines that a preset may have."""
FIRST_COMMIT = "aff2cf7"
"""The last commit of 0.1.0. A shallow clone lacks it, so its figures are below."""


class Size(NamedTuple):
    """How many lines there are, in how many files."""

    lines: int = 0
    files: int = 0

    def plus(self, lines: int) -> "Size":
        return Size(self.lines + lines, self.files + 1)

    def __str__(self) -> str:
        return f"{self.lines:,} ({self.files})" if self.files else "-"


Sizes = Mapping[str, Size]

FIRST_SIZES: dict[str, Sizes] = {
    preset: dict(zip((*KINDS, *FLOORS), map(Size._make, sizes), strict=True))
    for preset, sizes in {
        "serving": [
            *[(6603, 53), (7196, 42), (19734, 112), (15895, 100), (14093, 6), (4316, 62)],
            *[(67837, 375), (29802, 196), (19734, 112)],
        ],
        "workers": [
            *[(10320, 91), (9660, 75), (19734, 112), (13807, 88), (15713, 8), (4650, 69)],
            *[(73884, 443), (33636, 254), (19734, 112)],
        ],
        "pipeline": [
            *[(4353, 40), (1461, 10), (19734, 112), (11765, 75), (8521, 4), (3147, 31)],
            *[(48981, 272), (17904, 127), (19734, 112)],
        ],
    }.items()
}
"""What `inv sizes --commit aff2cf7` printed."""


def preset_sizes(template: Path) -> dict[str, Sizes]:
    """Bake each preset of a template, and count."""
    with tempfile.TemporaryDirectory() as parent, bake.silence():
        return {
            preset: count(bake.bake(Path(parent, preset), {"preset": preset}, template))
            for preset in bake.settings(template)["_presets"]
        }


def count(folder: Path) -> Sizes:
    """Count the lines and files of a generated repository by kind, and those of Python by floor."""
    sizes: defaultdict[str, Size] = defaultdict(Size)
    # Before 0.2.0, slipway/ was called ops/, and tests/ were its tests.
    is_old = (folder / "ops").is_dir()
    for path in source_files(folder):
        content = (folder / path).read_bytes()
        kind = "locks" if b"--hash=sha256:" in content and path.suffix == ".txt" else kind_of(path)
        kinds = ["tests of Slipway's" if is_old and path.parts[0] == "tests" else kind, "all"]
        if path.suffix == ".py":
            kinds.append(FLOORS[kind == "Slipway's"])
        for each in kinds:
            sizes[each] = sizes[each].plus(content.count(b"\n"))
    return sizes


def source_files(folder: Path) -> Iterator[Path]:
    """Find the files of a generated repository, relative to it."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if bake.is_source(path))
    return (path for path in paths if path.parts[0] != ".git")


def kind_of(path: Path) -> str:
    """Return whose a file is, by its folder."""
    first, *others = path.parts
    if first in {"slipway", "ops"}:
        return "Slipway's"
    if first == "tests" or (first == "src" and "tests" in others):
        return "tests"
    is_page = first != "src" or path.suffix == ".md"
    return "pages, configuration, data" if is_page else "application"


def template_at(commit: str, folder: Path) -> Path:
    """Unpack the template as it was at a commit."""
    command = ["git", "archive", commit]
    done = subprocess.run(command, cwd=bake.ROOT, capture_output=True, check=False)
    if done.returncode:
        raise Exit(f"git has no commit {commit!r} here. In a shallow clone: git fetch --unshallow")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def measure(commit: str = "") -> dict[str, Sizes]:
    """Count what the template generates: as it is now, or as it was at a commit."""
    if not commit:
        return preset_sizes(bake.ROOT)
    with tempfile.TemporaryDirectory() as folder:
        return preset_sizes(template_at(commit, Path(folder)))


def rows(version: str, sizes: Mapping[str, Sizes]) -> list[tuple[str, ...]]:
    """Return the table's line for each preset."""
    return [
        (preset, version, *(str(found.get(kind, Size())) for kind in (*KINDS, *FLOORS)))
        for preset, found in sizes.items()
    ]


def comparison(sizes: Mapping[str, Sizes]) -> list[tuple[str, ...]]:
    """Put each preset's line below its line of 0.1.0."""
    lines = rows("0.1.0", FIRST_SIZES) + rows(bake.settings()["_template_version"], sizes)
    return sorted(lines, key=lambda line: [*sizes].index(line[0]))


def report(lines: list[tuple[str, ...]]) -> str:
    return table(HEADS, lines)


def markdown(lines: list[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in (HEADS, ["---"] * len(HEADS), *lines))


def write(lines: list[tuple[str, ...]]) -> None:
    """Replace the table in docs/architecture.md."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, marker, after = rest.partition(END)
    if not marker:
        raise Exit(f"docs/architecture.md lacks the lines {BEGIN}and {END}")
    PAGE.write_text(f"{before}{BEGIN}{markdown(lines)}{END}{after}", encoding="utf-8")
