import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from .. import artifacts, signing
from ..artifacts import ArtifactError, Metadata
from ..shared.formats import LOADERS
from ..shared.tests.conftest import refused
from .conftest import PACKAGE


def metadata(version: str = "v1.0", content: bytes = b"one") -> Metadata:
    return Metadata.model_validate(
        {
            "tier": "tier1",
            "version": version,
            "file": f"tier1_{version}_2026-11-22.onnx",
            "sha256": artifacts.sha256(content),
            "trained_at": "2026-11-22T08:30:00Z",
            "duration_seconds": 1.5,
            "seed": 1,
            "rows": {"train": {"count": 2, "first": "1", "last": "2"}},
            "features": ["a"],
            "targets": ["t"],
            "metrics": {
                "t": {
                    "kind": "quantity",
                    "unit": "m",
                    "score": "mae",
                    "model": {"mae": 1},
                    "baselines": {"mean": {"mae": 2}},
                    "beats_baselines": True,
                }
            },
            "libraries": {"numpy": "2"},
            "golden": {"features": [[1]], "outputs": {"t": [1]}},
        }
    )


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    written(folder, metadata(), b"one")
    return folder


def written(folder: Path, described: Metadata, content: bytes) -> None:
    """Write a model and serve it."""
    artifacts.write(folder, described, content)
    artifacts.point(folder, described)


def test_what_was_written_is_current_and_comes_back(models: Path) -> None:
    assert artifacts.current(models, "tier1") == metadata()
    assert artifacts.content(models, metadata()) == b"one"
    assert metadata().beats_baselines == {"t": True}


def test_the_link_is_relative_so_that_the_folder_may_move(models: Path) -> None:
    link = models / "tier1_current.onnx"
    assert str(link.readlink()) == metadata().file
    moved = models.rename(models.with_name("moved"))
    assert artifacts.current(moved, "tier1") == metadata()


def test_nothing_else_is_left_in_the_folder(models: Path) -> None:
    names = {file.name for file in models.iterdir()}
    assert names == {"tier1_current.onnx", metadata().file, "tier1_v1.0_2026-11-22.json"}


def test_a_tier_without_a_link_has_no_current_model(models: Path) -> None:
    assert artifacts.current(models, "tier2") is None
    assert artifacts.current(models / "nowhere", "tier1") is None


def test_a_model_without_metadata_does_not_exist(models: Path) -> None:
    (models / metadata().file).with_suffix(".json").unlink()
    message = refused(lambda: artifacts.current(models, "tier1"), ArtifactError)
    assert message == f"{models}/tier1_v1.0_2026-11-22.json: No such file or directory"


@pytest.mark.parametrize("key", sorted(Metadata.model_fields))
def test_a_model_with_incomplete_metadata_does_not_exist(models: Path, key: str) -> None:
    file = (models / metadata().file).with_suffix(".json")
    values = json.loads(file.read_text())
    del values[key]
    file.write_text(json.dumps(values))
    assert f"is incomplete: {key}" in refused(lambda: artifacts.current(models, "tier1"))


def test_half_of_the_metadata_is_not_complete(models: Path) -> None:
    file = (models / metadata().file).with_suffix(".json")
    file.write_bytes(file.read_bytes()[:100])
    message = refused(lambda: artifacts.current(models, "tier1"), ArtifactError)
    assert message.startswith(f"{file} is incomplete: Invalid JSON: EOF")


@pytest.mark.parametrize("function", ["os.fsync", "pathlib.Path.replace"])
def test_a_full_disk_is_said_and_leaves_nothing_half_written(
    models: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    before = sorted(models.iterdir())
    monkeypatch.setattr(function, full)
    following = metadata("v1.1", b"two")
    message = refused(lambda: artifacts.write(models, following, b"two"), ArtifactError)
    assert message.startswith(f"cannot write {models}/tier1_")
    assert message.endswith(": No space left on device; free space on that disk")
    assert sorted(models.iterdir()) == before


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_link_where_it_was(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    following = metadata("v1.1", b"two")
    artifacts.write(models, following, b"two")
    before = sorted(models.iterdir())
    monkeypatch.setattr("pathlib.Path.symlink_to", full)
    message = refused(lambda: artifacts.point(models, following), ArtifactError)
    assert message.startswith(f"cannot write {models}/tier1_current.onnx: No space left")
    assert artifacts.current(models, "tier1") == metadata()
    assert sorted(models.iterdir()) == before


def test_a_folder_that_cannot_be_read_is_said(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("os.lstat", denied)
    message = refused(lambda: artifacts.current(models, "tier1"), ArtifactError)
    assert message.startswith(f"cannot read {models}/tier1_current.onnx: Permission denied; give")


def test_metadata_of_another_file_are_refused(models: Path) -> None:
    file = models / "tier1_v1.1_2026-11-22.json"
    file.write_text(metadata().model_dump_json())
    message = refused(lambda: artifacts.read(models, "tier1_v1.1_2026-11-22.onnx"), ArtifactError)
    assert "is metadata of tier1_v1.0" in message


def test_a_changed_model_is_refused(models: Path) -> None:
    (models / metadata().file).write_bytes(b"two")
    assert "was changed" in refused(lambda: artifacts.content(models, metadata()), ArtifactError)


def test_a_missing_model_is_refused(models: Path) -> None:
    (models / metadata().file).unlink()
    message = refused(lambda: artifacts.content(models, metadata()), ArtifactError)
    assert message == f"{models}/{metadata().file}: No such file or directory"


def test_versions_count_on_from_the_highest(models: Path) -> None:
    assert artifacts.next_version(models, "tier2") == "v1.0"
    assert artifacts.next_version(models, "tier1") == "v1.1"
    for version in ("v1.9", "v1.10"):
        (models / f"tier1_{version}_2026-11-22.onnx").touch()
    assert artifacts.next_version(models, "tier1") == "v1.11"
    assert artifacts.next_version(models, "tier1", major=True) == "v2.0"


def test_versions_of_a_tier_with_a_longer_name_are_not_its_own(models: Path) -> None:
    (models / "tier1_vast_v7.0_2026-11-22.onnx").touch()
    assert artifacts.next_version(models, "tier1") == "v1.1"


def test_a_reader_never_misses_the_link_while_it_is_moved(models: Path) -> None:
    """Readers go on all the while a writer moves the link back and forth."""
    written(models, metadata("v1.1", b"two"), b"two")
    stop, seen = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            current = artifacts.current(models, "tier1")
            seen.add(current and artifacts.content(models, current))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(300):
        artifacts.point(models, metadata())
        artifacts.point(models, metadata("v1.1", b"two"))
    stop.set()
    reader.join()
    assert seen <= {b"one", b"two"}


def test_what_is_written_is_not_served_yet(models: Path) -> None:
    artifacts.write(models, metadata("v1.1", b"two"), b"two")
    assert artifacts.current(models, "tier1") == metadata()


def test_a_model_is_written_before_its_signature_and_that_before_its_metadata(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = signing.make_keys(tmp_path / "keys")
    names, move = [], Path.replace

    def watched(path: Path, to: Path) -> Path:
        names.append(to.suffix)
        return move(path, to)

    monkeypatch.setattr("pathlib.Path.replace", watched)
    following = metadata("v1.1", b"two")
    artifacts.write(models, following, b"two", private)
    assert names == [".onnx", ".sig", ".json"]
    assert artifacts.read(models, following.file, public) == following


@pytest.mark.parametrize("suffix", sorted(LOADERS))
def test_a_link_has_the_extension_of_what_it_names(tmp_path: Path, suffix: str) -> None:
    described = metadata().model_copy(update={"file": f"tier1_v1.0_2026-11-22{suffix}"})
    written(tmp_path, described, b"one")
    assert (tmp_path / f"tier1_current{suffix}").is_symlink()
    assert artifacts.current(tmp_path, "tier1") == described


def test_of_two_links_the_one_made_last_holds(models: Path) -> None:
    time.sleep(0.02)  # the clock of the files ticks this often
    (models / "tier1_current.skops").symlink_to("tier1_v1.1_2026-11-22.skops")
    assert artifacts.pointed(models, "tier1") == "tier1_v1.1_2026-11-22.skops"
    time.sleep(0.02)
    artifacts.point(models, metadata())
    assert artifacts.pointed(models, "tier1") == metadata().file
    assert [path.name for path in models.glob("*_current.*")] == ["tier1_current.onnx"]


def test_a_link_of_a_format_that_nothing_reads_is_seen(tmp_path: Path) -> None:
    (tmp_path / "tier1_current.h5").symlink_to("tier1_v1.0_2026-11-22.h5")
    assert artifacts.pointed(tmp_path, "tier1") == "tier1_v1.0_2026-11-22.h5"


READER = """
import importlib, sys
from pathlib import Path
artifacts = importlib.import_module(sys.argv[1] + ".artifacts")
models, stop, reads = Path(sys.argv[2]), Path(sys.argv[3]), 0
print("reads", flush=True)
while not stop.exists():
    metadata = artifacts.current(models, "tier1")
    assert metadata, "there is no link"
    artifacts.content(models, metadata)
    reads += 1
print(reads)
"""


def test_of_10_000_swaps_no_reader_sees_one_missing_dangling_or_partial(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers are processes of their own, and a swap may change the format of the model."""
    monkeypatch.setattr("os.fsync", lambda _: None)  # what the disk keeps, no reader can tell
    described = [
        metadata("v1.1", bytes(100_000)),
        metadata("v1.2", bytes(50_000)).model_copy(update={"file": "tier1_v1.2_2026-11-22.skops"}),
    ]
    for one, size in zip(described, (100_000, 50_000), strict=True):
        written(models, one, bytes(size))
    stop = models / "stop"
    command = [sys.executable, "-c", READER, PACKAGE.name, str(models), str(stop)]
    variables = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    readers = [
        subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        for reader in readers:
            assert reader.stdout
            assert reader.stdout.readline() == "reads\n"
        for number in range(10_000):
            # Nine of ten keep the format, as most do: that is one rename.
            artifacts.point(models, described[number % 10 == 0])
    finally:
        stop.touch()
        said = [reader.communicate(timeout=30)[0] for reader in readers]
    assert [reader.returncode for reader in readers] == [0, 0]
    assert all(int(reads) > 100 for reads in said)
