from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from slipway.core import journal
from slipway.core.errors import Refused
from slipway.core.redaction import MASK, remember_secrets
from slipway.core.transaction import change
from slipway.stack import hooks
from tests.support.user_hooks import KEEPS, add_hook, handed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scratch import Scratch


def test_without_hooks_nothing_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with change(tmp_path, "deploy.up") as made:
        hooks.run_before(hooks.PRE_DEPLOY, made)
    hooks.run_after(hooks.POST_DEPLOY, made)
    assert capsys.readouterr().out == ""


def test_a_hook_is_handed_the_entry_of_the_journal(tmp_path: Path) -> None:
    add_hook(tmp_path, hooks.PRE_DEPLOY)
    add_hook(tmp_path, hooks.POST_DEPLOY)
    with change(tmp_path, "deploy.up", profile="prod") as made:
        hooks.run_before(hooks.PRE_DEPLOY, made)
        made.note(models={"tier1": "v1.1"})
    with change(tmp_path, "models.train"):
        pass  # another one may come in between
    hooks.run_after(hooks.POST_DEPLOY, made)
    entry = journal.entries(tmp_path)[0]
    assert handed(tmp_path, hooks.POST_DEPLOY) == entry
    begun = handed(tmp_path, hooks.PRE_DEPLOY)
    assert begun.items() < entry.items()
    assert {*entry} - {*begun} == {"at", "outcome", "models"}


def test_a_hook_stops_a_change_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_hook(tmp_path, hooks.PRE_DEPLOY, "#!/bin/sh\necho First.\necho Not today. >&2\nexit 3\n")
    with pytest.raises(Refused) as caught, change(tmp_path, "deploy.up") as made:
        hooks.run_before(hooks.PRE_DEPLOY, made)
    assert caught.value.what == "hooks/pre-deploy failed with exit code 3: Not today."
    assert caught.value.fix == "fix what it says, then: inv deploy.up"
    assert "  hooks/pre-deploy: First.\n" in capsys.readouterr().out
    (entry,) = journal.entries(tmp_path)
    assert (entry["outcome"], entry["error"]) == ("failed", caught.value.what)


def test_a_change_stands_whatever_comes_of_the_hook_after_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_hook(tmp_path, hooks.POST_BACKUP, "#!/bin/sh\nexit 1\n")
    with change(tmp_path, "backup.create") as made:
        pass
    hooks.run_after(hooks.POST_BACKUP, made)
    said = capsys.readouterr().out
    assert "hooks/post-backup failed with exit code 1\nbackup.create stands.\n" in said
    assert journal.entries(tmp_path)[0]["outcome"] == "done"


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (KEEPS, 0o644, "hooks/pre-deploy is not executable\n  -> chmod +x hooks/pre-deploy"),
        ("#!/no/such/shell\n", 0o755, "is not there, so this cannot run"),
        ("no interpreter is named", 0o755, "cannot be run: Exec format error"),
    ],
)
def test_a_hook_that_cannot_run_stops_the_change(
    tmp_path: Path, text: str, mode: int, said: str
) -> None:
    add_hook(tmp_path, hooks.PRE_DEPLOY, text, mode)
    with pytest.raises(Refused) as caught, change(tmp_path, "deploy.up") as made:
        hooks.run_before(hooks.PRE_DEPLOY, made)
    assert said in str(caught.value)


def test_a_hook_ends_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "LIMIT", 0.5)
    add_hook(tmp_path, hooks.PRE_DEPLOY, "#!/bin/sh\nsleep 600 &\nwait\n")
    start = time.monotonic()
    with (
        pytest.raises(Refused, match="stopped after 0 s without an end"),
        change(tmp_path, "deploy.up") as made,
    ):
        hooks.run_before(hooks.PRE_DEPLOY, made)
    assert time.monotonic() - start < 300


def test_no_secret_is_handed_over_or_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "a-secret-of-this-test"  # noqa: S105 - made up
    remember_secrets([secret])
    add_hook(tmp_path, hooks.PRE_DEPLOY, f"{KEEPS}echo {secret}\n")
    with change(tmp_path, "deploy.up", reason=secret) as made:
        hooks.run_before(hooks.PRE_DEPLOY, made)
    assert handed(tmp_path, hooks.PRE_DEPLOY)["reason"] == MASK
    assert f"hooks/pre-deploy: {MASK}" in capsys.readouterr().out


def test_a_misspelled_hook_is_found(tmp_path: Path) -> None:
    assert hooks.misspelled_hooks(tmp_path) == {}
    for name in ("README.md", "lib.sh", hooks.POST_DEPLOY, "post_promote", "pre-deploy.sh"):
        add_hook(tmp_path, name, "")
    expected = {"post_promote": "post-promote", "pre-deploy.sh": "pre-deploy"}
    assert hooks.misspelled_hooks(tmp_path) == expected


def test_a_deployment_is_stopped_before_anything_is_started(scratch: Scratch) -> None:
    add_hook(scratch.root, hooks.PRE_DEPLOY, "#!/bin/sh\nexit 1\n")
    add_hook(scratch.root, hooks.POST_DEPLOY)
    stopped = scratch.inv("deploy.up")
    assert stopped.returncode == 1
    assert "hooks/pre-deploy failed with exit code 1" in stopped.stderr
    assert not (scratch.root / "run" / "local").exists()
    (scratch.root / "hooks" / hooks.PRE_DEPLOY).unlink()
    started = scratch.inv("deploy.up")
    assert started.returncode == 0, started.stderr
    assert handed(scratch.root, hooks.POST_DEPLOY) == journal.entries(scratch.root)[-1]
