"""The stages of this repository: what compose.yaml says of them, runs as processes and on Ray."""

from __future__ import annotations

import hashlib
import json
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from slipway.core.project import load
from slipway.pipeline import stages
from slipway.pipeline.stages import Work
from tests.support.copies import REPOSITORY, Copy

if TYPE_CHECKING:
    from pathlib import Path

HERE = load(REPOSITORY)
SERIES = ("--series", "temp_max,wind")
QUICK = ("--to", "process", *SERIES)
"""What fits no model."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Make a fresh copy, as a clone would be."""
    return Copy(tmp_path_factory.mktemp("pipeline") / "repository")


def outcomes(copy: Copy) -> list[str]:
    newest = max((copy.root / "reports" / "pipeline").iterdir())
    said = json.loads((newest / "summary.json").read_text(encoding="utf-8"))
    return [item["state"] for item in said["outcomes"]]


def digests(root: Path) -> dict[str, str]:
    """Digest all that stages made, by the names of files."""
    folders = (root / "data" / "pipeline", root / "artifacts")
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
    }


def test_compose_says_of_the_stages_what_they_do() -> None:
    said = import_module(f"{HERE.package}.pipeline.stages").STAGES
    there = stages.stages(REPOSITORY)
    assert [stage.name for stage in there] == [stage.name for stage in said]
    work = Work("wind", "1w")
    places = {"data": "data/pipeline/wind-1w", "artifacts": "artifacts/wind-1w"}

    def placed(names: tuple[str, ...]) -> set[str]:
        return {f"{places[name.partition('/')[0]]}/{name.partition('/')[2]}" for name in names}

    for declared, stage in zip(there, said, strict=True):
        made = (*declared.outputs, *declared.appends)
        assert {work.place(one) for one in made} == placed(stage.outputs), stage.name
        assert {work.place(one) for one in declared.inputs} >= placed(stage.inputs), stage.name
        assert "config/pipeline.yaml" in declared.inputs
        module = f"src/{HERE.package}/pipeline/{stage.run.partition(':')[0]}.py"
        assert set(declared.code) == {f"src/{HERE.package}/pipeline/__main__.py", module}
        makers = {one.name for one in there if {*one.outputs, *one.appends} & {*declared.inputs}}
        assert makers == {*declared.needs} | (makers & {"train", "process", "predict"})


def test_compose_knows_every_series_and_interval() -> None:
    rules = import_module(f"{HERE.package}.pipeline.rules")
    work = import_module(f"{HERE.package}.pipeline.work")
    known = stages.known(REPOSITORY)
    assert known.series == tuple(rules.load(REPOSITORY / rules.FILE).series)
    assert known.intervals == tuple(work.INTERVALS)


def test_a_run_on_processes(copy: Copy) -> None:
    copy.inv("pipeline.run", "--engine", "local", *QUICK, "--parallel", cwd=copy.root / "src")
    assert outcomes(copy) == ["made"] * 4
    copy.inv("pipeline.run", "--engine", "local", *QUICK)
    assert outcomes(copy) == ["skipped"] * 4
    for series in ("temp_max-1d", "wind-1d"):
        assert (copy.root / "data" / "pipeline" / series / "features.csv").is_file()
    gap = ("--", "--gap-days-max", "2")
    said = copy.inv("pipeline.run", "--engine", "local", "--only", "process", *gap)
    assert "its parameters changed" in said
    rules = copy.root / "config" / "pipeline.yaml"
    rules.write_text(f"{rules.read_text(encoding='utf-8')}# another\n", encoding="utf-8")
    said = copy.inv("pipeline.run", "--engine", "local", "--to", "process")
    assert "its input changed: config/pipeline.yaml" in said
    wrong = ("--only", "process", "--", "--gap-day", "1")
    said = copy.inv("pipeline.run", "--engine", "local", *wrong, code=1)
    assert "did you mean --gap-days-max?" in said


def test_without_ray_it_says_what_to_type(copy: Copy) -> None:
    if find_spec("ray"):
        pytest.skip("Ray is installed")
    said = copy.inv("pipeline.run", "--engine", "ray", *QUICK, code=1)
    assert "pip install -r services/pipeline/ray.txt" in said


def test_on_ray_the_same_bytes_are_made(copy: Copy, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: services/pipeline/ray.txt")
    copy.inv("pipeline.run", "--engine", "local", *QUICK, "--again")
    other = Copy(tmp_path / "repository")
    said = other.inv("pipeline.run", "--engine", "ray", *QUICK)
    assert outcomes(other) == ["made"] * 4, said
    assert digests(other.root) == digests(copy.root)
    other.inv("pipeline.run", "--engine", "local", *QUICK)
    assert outcomes(other) == ["skipped"] * 4
