"""Promotions of a stack of processes: the API is two worker processes behind one port."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, ClassVar

import pytest

from slipway.stack import hooks
from tests.support import model_versions, promotions
from tests.support.copies import Copy, run_two_workers
from tests.support.promotions import KILL, TIER, Promotions, Stand
from tests.support.user_hooks import add_hook, handed

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "the-key-of-the-promotions"


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Bring up a copy of the repository with two workers, and end it whatever happens."""
    root = tmp_path_factory.mktemp("promotion") / "repository"
    copy = Copy(root, API_KEY=KEY, RATE_LIMIT_PER_MINUTE="1000000", CACHE_SECONDS="0")
    run_two_workers(copy.root)
    with promotions.own_disk(copy.root / "models"):
        try:
            copy.add_models()
            copy.inv("deploy.up", "--engine", "local")
            with promotions.asked(copy) as found:
                yield found
        finally:
            copy.inv("deploy.down")


class TestLocal(Promotions):
    """On this machine."""

    processes: ClassVar[int] = 2
    patience: ClassVar[int] = 30

    def hanging(self, stand: Stand) -> tuple[str, str, str]:
        pid = stand.processes()[0].said["pid"]
        return rf"api \(process {pid}\)", f"kill -STOP {pid}", f"kill -CONT {pid}"


def test_only_what_is_signed_is_promoted_where_signatures_are_asked_for(stand: Stand) -> None:
    keys = stand.copy.root / "keys"
    package = next((stand.copy.root / "src").iterdir()).name
    environment = stand.copy.environment | {"PYTHONPATH": str(stand.copy.root / "src")}
    command = [sys.executable, "-m", f"{package}.signing", "keys", str(keys)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    (public,) = keys.glob("*public*")
    (private,) = set(keys.iterdir()) - {public}
    stand.copy.environment["MODELS_PUBLIC_KEY"] = str(public)
    try:
        new = stand.make()
        assert "step 1 (checksum)" in stand.promote(new, "--dry-run", code=1)
        model_versions.sign(stand.models, TIER, new, private)
        assert "signed" in stand.promote(new, "--dry-run")
    finally:
        del stand.copy.environment["MODELS_PUBLIC_KEY"]


def test_killed_while_it_makes_the_link_nothing_has_changed(stand: Stand) -> None:
    old, new = stand.served, stand.make()
    with stand.traffic.only(old):
        code, _ = stand.promote_but("link", KILL, new)
        said = stand.copy.inv("models.verify")
    assert (code, stand.versions()) == (-signal.SIGKILL, {old})
    assert "left behind by a killed process" in said
    stand.copy.inv("models.prune", "--keep=1000", "--yes")
    assert "left behind" not in stand.copy.inv("models.verify")


def test_a_hook_is_handed_what_was_promoted_and_what_was_rolled_back(stand: Stand) -> None:
    add_hook(stand.copy.root, hooks.POST_PROMOTE)
    old, new = stand.served, stand.make()
    stand.promote(new, "--dry-run")
    assert not (stand.copy.root / f"{hooks.POST_PROMOTE}.json").exists()
    stand.promote(new)
    entry = handed(stand.copy.root, hooks.POST_PROMOTE)
    assert (entry["verb"], entry["from"], entry["to"]) == ("models.promote", old, new)
    stand.copy.inv("models.rollback", TIER)
    entry = handed(stand.copy.root, hooks.POST_PROMOTE)
    assert (entry["verb"], entry["from"], entry["to"]) == ("models.rollback", new, old)
