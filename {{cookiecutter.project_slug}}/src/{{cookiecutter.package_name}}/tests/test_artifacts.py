import errno
import json
import threading
from pathlib import Path

import pytest

from .. import artifacts
from ..artifacts import ArtifactError, Metadata
from .conftest import refused


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
    artifacts.write(folder, metadata(), b"one")
    return folder


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
    assert f"is not complete: {key}" in refused(lambda: artifacts.current(models, "tier1"))


def test_half_of_the_metadata_is_not_complete(models: Path) -> None:
    file = (models / metadata().file).with_suffix(".json")
    file.write_bytes(file.read_bytes()[:100])
    message = refused(lambda: artifacts.current(models, "tier1"), ArtifactError)
    assert message.startswith(f"{file} is not complete: Invalid JSON: EOF")


def test_a_full_disk_is_said_and_leaves_nothing_half_written(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted(models.iterdir())
    following = metadata("v1.1", b"two")
    for function in ("os.fsync", "pathlib.Path.replace", "pathlib.Path.symlink_to"):
        with monkeypatch.context() as patch:
            patch.setattr(function, full)
            message = refused(lambda: artifacts.write(models, following, b"two"), ArtifactError)
        assert message.startswith(f"cannot write {models}/tier1_")
        assert message.endswith(": No space left on device; make room on that disk")
        assert [file for file in models.iterdir() if file.name.startswith(".")] == []
        assert artifacts.current(models, "tier1") == metadata()
    assert set(before) <= set(models.iterdir())


def test_a_folder_that_cannot_be_read_is_said(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("pathlib.Path.is_symlink", denied)
    message = refused(lambda: artifacts.current(models, "tier1"), ArtifactError)
    assert message.startswith(f"cannot read {models}/tier1_current.onnx: Permission denied; let")


def test_metadata_of_another_file_are_refused(models: Path) -> None:
    file = models / "tier1_v1.1_2026-11-22.json"
    file.write_text(metadata().model_dump_json())
    message = refused(lambda: artifacts.read(models, "tier1_v1.1_2026-11-22.onnx"), ArtifactError)
    assert "is about tier1_v1.0" in message


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
    artifacts.write(models, metadata("v1.1", b"two"), b"two")
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
