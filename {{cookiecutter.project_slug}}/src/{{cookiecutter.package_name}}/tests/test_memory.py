import resource
import subprocess
import sys
from pathlib import Path

import pytest

from .. import memory
from .conftest import PACKAGE

MEGABYTE = 1024**2
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@linux
def test_the_machine_has_memory_left() -> None:
    left = memory.available()
    assert left
    assert MEGABYTE < left <= int(Path("/proc/meminfo").read_text().split()[1]) * 1024


def limited(monkeypatch: pytest.MonkeyPatch, folder: Path, groups: str) -> Path:
    """Make as if the kernel said that this process is in some control groups."""
    (folder / "cgroup").write_text(groups)
    monkeypatch.setattr(memory, "GROUPS", folder / "cgroup")
    monkeypatch.setattr(memory, "MOUNTED", folder / "mounted")
    return folder / "mounted"


def group(folder: Path, **said: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in said.items():
        (folder / name.replace("_", ".", 1)).write_text(text + "\n")


def test_a_control_group_s_limit_counts_without_what_is_given_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounted = limited(monkeypatch, tmp_path, "0::/a/b\n")
    group(mounted / "a/b", memory_max="1000", memory_current="700", memory_stat="inactive_file 200")
    assert memory.available() == 500


def test_the_limit_of_a_group_above_counts_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounted = limited(monkeypatch, tmp_path, "0::/a/b\n")
    group(mounted / "a/b", memory_max="max", memory_current="700")
    group(mounted / "a", memory_max="900", memory_current="800")
    assert memory.available() == 100


def test_in_a_container_its_own_group_is_the_root(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounted = limited(monkeypatch, tmp_path, "0::/../elsewhere\n")
    group(mounted, memory_max="900", memory_current="1000")
    assert memory.available() == 0


def test_the_first_version_of_control_groups_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounted = limited(monkeypatch, tmp_path, "5:cpu:/a\n4:memory:/docker/1\n0::/\n")
    folder = mounted / "memory"
    group(folder, memory_stat="total_inactive_file 10")
    (folder / "memory.limit_in_bytes").write_text("100\n")
    (folder / "memory.usage_in_bytes").write_text("60\n")
    assert memory.available() == 50


def test_where_the_system_does_not_tell_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limited(monkeypatch, tmp_path, "")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "nowhere")
    monkeypatch.setattr(memory, "STATUS", tmp_path / "nowhere")
    assert memory.available() is None
    assert memory.peak() == memory.held() > MEGABYTE
    before = resource.getrlimit(resource.RLIMIT_DATA)
    memory.limit_to(1)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


LIMITED = """
import importlib, sys
memory = importlib.import_module(sys.argv[1] + ".memory")
memory.limit_to(100 * 1024**2)
bytearray(50 * 1024**2)
try:
    bytearray(200 * 1024**2)
except MemoryError:
    print("refused")
"""


@linux
def test_beyond_the_limit_taking_memory_fails() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, PACKAGE.name],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("refused\n", 0), done.stderr


@linux
def test_the_peak_is_told_since_it_was_forgotten() -> None:
    bytearray(200 * MEGABYTE)
    assert memory.peak() - memory.held() > 100 * MEGABYTE
    memory.forget_peak()
    assert memory.peak() - memory.held() < 50 * MEGABYTE
