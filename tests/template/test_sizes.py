import subprocess
from pathlib import Path

import pytest
from invoke.exceptions import Exit

from devtools import sizes
from devtools.bake import settings
from devtools.sizes import Size
from tests.support.bakes import baked

FILES = {
    "src/x/api.py": "application",
    "src/x/store.lua": "application",
    "src/x/tests/test_api.py": "tests",
    "src/x/jobs/tests/working.py": "tests",
    "tests/smoke.py": "tests",
    "slipway/core/files.py": "Slipway's",
    "slipway/README.md": "Slipway's",
    "noxfile.py": "pages, configuration, data",
    "services/api/README.md": "pages, configuration, data",
}


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sizes, "PAGE", tmp_path / "page.md")
    return sizes.PAGE


def fill(folder: Path, *names: str, text: str = "1\n2\n") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize(("preset", "floor"), sizes.GOALS)
def test_a_preset_stays_within_its_limit(preset: str, floor: str) -> None:
    assert 0 < sizes.count(baked(preset))[floor].lines <= sizes.GOALS[preset, floor]


def test_the_page_compares_every_preset_with_0_1_0() -> None:
    _, _, rest = sizes.PAGE.read_text(encoding="utf-8").partition(sizes.BEGIN)
    text, end, _ = rest.partition(sizes.END)
    assert end
    lines = [tuple(line.strip("| ").split(" | ")) for line in text.splitlines()]
    assert lines[0] == sizes.HEADS
    expected = [
        (preset, version)
        for preset in settings()["_presets"]
        for version in ("0.1.0", settings()["_template_version"])
    ]
    assert [line[:2] for line in lines[2:]] == expected
    first = [line for line in lines if line[1] == "0.1.0"]
    assert first == sizes.rows("0.1.0", sizes.FIRST_SIZES)


def test_the_limits_are_those_that_the_page_names() -> None:
    text = sizes.PAGE.read_text(encoding="utf-8")
    assert all(f"at most {limit:,}" in " ".join(text.split()) for limit in sizes.GOALS.values())


def test_files_are_counted_by_whose_they_are(tmp_path: Path) -> None:
    fill(tmp_path, *FILES, ".git/config", "slipway/__pycache__/x.pyc")
    fill(tmp_path, "requirements.txt", text="a==1 \\\n    --hash=sha256:0\n")
    found = sizes.count(tmp_path)
    kinds = {"locks", *FILES.values()}
    assert {kind: found[kind].files for kind in kinds} == {
        kind: [*FILES.values(), "locks"].count(kind) for kind in kinds
    }
    assert found["all"] == Size(20, 10)
    assert found["Python in slipway/"] == Size(2, 1)
    assert found["Python outside slipway/"] == Size(10, 5)


def test_the_tests_of_the_first_version_are_those_of_its_tasks(tmp_path: Path) -> None:
    fill(tmp_path, "ops/shell.py", "tests/test_shell.py")
    found = sizes.count(tmp_path)
    assert found["Slipway's"] == found["tests of Slipway's"] == Size(2, 1)
    assert found["Python outside slipway/"] == Size(2, 1)


def test_a_commit_is_counted_as_it_was() -> None:
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()
    assert {*sizes.measure(head)} == {*settings()["_presets"]}


def test_a_commit_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Exit, match="no commit 'nowhere'"):
        sizes.template_at("nowhere", tmp_path)


def test_the_table_is_written_between_its_marks(page: Path) -> None:
    page.write_text(f"before\n{sizes.BEGIN}old\n{sizes.END}after\n")
    sizes.write([("serving", "0.2.0")])
    text = page.read_text()
    assert text.startswith(f"before\n{sizes.BEGIN}| preset | version |")
    assert text.endswith(f"| serving | 0.2.0 |\n{sizes.END}after\n")


def test_a_page_without_the_marks_is_left_alone(page: Path) -> None:
    page.write_text("before\n")
    with pytest.raises(Exit, match="lacks the lines"):
        sizes.write([])
    assert page.read_text() == "before\n"
