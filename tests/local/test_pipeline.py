"""The stages of this repository: what compose.yaml says of them, runs as processes and on Ray."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.support.bakes import baked
from tests.support.copies import Copy

if TYPE_CHECKING:
    from pathlib import Path

PIPELINE = baked("pipeline")
SERIES = ("--series", "temp_max,wind")
QUICK = ("--to", "process", *SERIES)
"""What fits no model."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Make a fresh copy, as a clone would be."""
    return Copy(tmp_path_factory.mktemp("pipeline") / "repository", of=PIPELINE)


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
    other = Copy(tmp_path / "repository", of=PIPELINE)
    said = other.inv("pipeline.run", "--engine", "ray", *QUICK)
    assert outcomes(other) == ["made"] * 4, said
    assert digests(other.root) == digests(copy.root)
    other.inv("pipeline.run", "--engine", "local", *QUICK)
    assert outcomes(other) == ["skipped"] * 4
