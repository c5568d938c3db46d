"""A real repository, with what people do by mistake."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest

from slipway.secret import scan_git
from tests.support.copies import git

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "correct-horse-battery-staple"  # noqa: S105 - it opens nothing
OTHER = "another value that is long"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    if not shutil.which("git"):
        pytest.skip("no git to keep values")
    root = tmp_path / "größe"
    root.mkdir()
    git(root, "init", "--quiet")
    commit(root, "clean.txt", "nothing")
    return root


def commit(root: Path, name: str, text: str, message: str = "more") -> None:
    (root / name).write_text(text)
    git(root, "add", "--force", name)
    git(root, "commit", "--quiet", "--message", message)


def found(root: Path, **values: str) -> dict[str, str]:
    search = scan_git.search_git(root, values or {"KEY": SECRET, "OTHER": OTHER}, 30)
    assert not search.left_out
    return {**search.found}


def test_nothing_is_found_in_a_clean_repository(repository: Path) -> None:
    (repository / "ignored").write_text(SECRET)
    assert found(repository) == {}


def test_a_value_in_a_file_that_is_tracked_is_found(repository: Path) -> None:
    commit(repository, "notes é.txt", f"the key: {SECRET}\n")
    assert found(repository) == {"KEY": "notes é.txt, which git tracks"}


def test_a_value_that_is_staged_is_found(repository: Path) -> None:
    (repository / "staged").write_text(SECRET)
    git(repository, "add", "staged")
    assert found(repository) == {"KEY": "staged, which git tracks"}


def test_a_value_in_the_history_is_found_in_its_commit(repository: Path) -> None:
    commit(repository, ".env.prod", f"KEY={SECRET}")
    git(repository, "rm", "--quiet", ".env.prod")
    git(repository, "commit", "--quiet", "--message", "gone")
    (place,) = found(repository).values()
    assert place.startswith(".env.prod of commit ")


def test_a_value_that_only_another_branch_has_is_found(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "-b", "aside")
    commit(repository, "there", f"{SECRET} {OTHER}")
    git(repository, "checkout", "--quiet", "-")
    assert found(repository).keys() == {"KEY", "OTHER"}


def test_a_value_in_a_message_or_left_behind_is_found(repository: Path) -> None:
    commit(repository, "x", "x", f"use {SECRET}")
    (repository / "left").write_text(OTHER)
    git(repository, "add", "left")
    git(repository, "rm", "--quiet", "--cached", "--force", "left")
    places = found(repository)
    assert places["KEY"].startswith("the message of commit ")
    assert "which is on no branch" in places["OTHER"]


def test_what_is_short_stands_in_many_files_by_chance(repository: Path) -> None:
    assert found(repository, KEY="nothing") == {}


def test_where_there_is_no_repository_nothing_is_found(tmp_path: Path) -> None:
    assert found(tmp_path) == {}
    assert not scan_git.is_tracked(tmp_path, "x")


def test_a_file_is_known_as_tracked(repository: Path) -> None:
    assert scan_git.is_tracked(repository, "clean.txt")
    assert not scan_git.is_tracked(repository, ".env.dev")


def test_the_search_ends_in_time_and_says_what_it_has_not_seen(repository: Path) -> None:
    start = time.monotonic()
    assert scan_git.search_git(repository, {"KEY": SECRET}, 0).left_out
    assert time.monotonic() - start < 5


@pytest.mark.usefixtures("repository")  # skips where there is no git
def test_a_repository_that_git_cannot_read_is_no_clean_one(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: nowhere")
    assert "git" in scan_git.search_git(tmp_path, {"KEY": SECRET}, 30).left_out
