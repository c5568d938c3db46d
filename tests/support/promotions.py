"""What holds of a promotion on every engine: the tests of it, for a stack that is up.

A client asks for predictions all the while, and every answer has to be that of a version that was
current when it was made.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

import pytest

from slipway.models import promotion, registry, replicas
from tests.support import model_versions
from tests.support.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.copies import Copy

TIER = "tier1"
AT_STEP = """
import pathlib, subprocess, sys
from invoke.main import program
from slipway.core import transaction

step, commands = sys.argv.pop(1), [sys.argv.pop(1)]
note = transaction.Change.note

def noted(self, **facts):
    note(self, **facts)
    if facts.get("step") == step and commands:
        subprocess.run(commands.pop(), shell=True, check=True)

transaction.Change.note = noted
if step == "link":
    made = pathlib.Path.symlink_to
    def linked(self, target):
        made(self, target)
        subprocess.run(commands.pop(), shell=True, check=True)
    pathlib.Path.symlink_to = linked
program.run()
"""
"""`inv`, but that a shell runs a command right before a step of a promotion.

The step `link` is when the new link is made, and not yet in the place of the old one.
"""
KILL = "kill -KILL $PPID"
BEFORE_IT_MOVES = ("checksum", "load", "features", "golden", "metrics", "pointer")
CAUGHT = {
    "truncated": "step 1 (checksum)",
    "flipped byte": "step 1 (checksum)",
    "metadata missing": "there is no model",
    "metadata not JSON": "there is no model",
    "malicious pickle": "step 2 (load)",
    "NaN outputs": "step 2 (load)",
    "infinite outputs": "step 2 (load)",
    "no probability": "step 2 (load)",
    "another file's bytes": "step 2 (load)",
    "loads for minutes": "step 2 (load): not done within",
    "too much memory": "step 2 (load)",
    "wrong feature order": "step 3 (features)",
    "other outputs": "step 4 (golden)",
    "worse": "step 5 (metrics)",
    "not calibrated": "step 5 (metrics)",
}


class Stand:
    """A stack that is up, asked all the time, and what the tests do to it."""

    def __init__(self, copy: Copy, traffic: Traffic) -> None:
        self.copy = copy
        self.traffic = traffic
        self.made = 0

    @property
    def models(self) -> Path:
        return self.copy.root / "models"

    @property
    def served(self) -> str:
        """The version that the link names."""
        return registry.find_model(self.models, TIER).version

    def processes(self) -> list[replicas.ServingProcess]:
        return replicas.serving_processes(replicas.report_folder(self.copy.root / "run"))

    def versions(self) -> set[str]:
        """Return what the processes say that they serve."""
        return {process.tier(TIER)["version"] for process in self.processes()}

    def make(self, fault: str = "") -> str:
        """Write another version, of a name that no other had: processes keep the last one."""
        self.made += 1
        return model_versions.make(self.models, fault, TIER, f"v1.{self.made}")

    def promote(self, version: str, *options: str, watch: int = 1, code: int = 0) -> str:
        command = ("models.promote", TIER, version, f"--watch={watch}", *options)
        return self.copy.inv(*command, code=code)

    def start(self, *arguments: str, at_step: str = "", command: str = "") -> subprocess.Popen[str]:
        """Start `inv`, whose output is read while it runs; `command` runs right before a step."""
        inv = ["-c", AT_STEP, at_step, command] if at_step else ["-m", "invoke"]
        return subprocess.Popen(
            [sys.executable, *inv, *arguments],
            cwd=self.copy.root,
            env=self.copy.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def promote_but(self, step: str, command: str, version: str, *options: str) -> tuple[int, str]:
        """Promote, and run a command right before a step; return the exit code and the output."""
        arguments = ("models.promote", TIER, version, "--watch=1", *options)
        process = self.start(*arguments, at_step=step, command=command)
        said, _ = process.communicate(timeout=120)
        return process.returncode, said

    def type(self, said: str, word: str) -> None:
        """Type what `models.verify` says after a word such as finish or undo."""
        found = re.search(rf"{word}: inv (.*?)(?:   |$)", said, re.MULTILINE)
        assert found, said
        words = found[1].split()
        self.copy.inv(*words, *(["--watch=1"] if words[0] == "models.promote" else []))

    def reload(self) -> tuple[int, str]:
        """Ask every process to load what the links name."""
        key = {"X-API-Key": self.copy.environment["API_KEY"]}
        url = f"{self.copy.api}/admin/reload-model"
        request = urllib.request.Request(url, b"", key)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


def up_to(process: subprocess.Popen[str], text: str) -> str:
    """Read what a process prints up to a line with this text."""
    said = ""
    for line in process.stdout or ():
        said += line
        if text in line:
            return said
    pytest.fail(f"{text!r} was not printed:\n{said}")


@contextmanager
def asked(copy: Copy) -> Iterator[Stand]:
    """Ask a stack all the time: twice what a model was shown in training, then something new."""
    path = copy.root / "models" / f"{TIER}_current.onnx"
    said = json.loads(path.resolve().with_suffix(".json").read_text(encoding="utf-8"))
    known = {"at": said["rows"]["held_out"]["last"]}
    with Traffic(copy.api, [known, known, {}]) as traffic:
        yield Stand(copy, traffic)


class Promotions:
    """The tests; a subclass is in a module that has the fixture `stand`, and knows its engine."""

    processes: ClassVar[int]
    """How many serve."""
    patience: ClassVar[int]
    """Seconds in which a version that loads for longer is given up; starting takes some of them."""

    @pytest.fixture(autouse=True)
    def tidy(self, stand: Stand) -> Iterator[None]:
        """Leave only what is served to the next test."""
        yield
        served = registry.find_model(stand.models, TIER).file.stem
        for path in stand.models.glob(f"{TIER}_v*"):
            if path.stem != served:
                path.unlink()

    def hanging(self, stand: Stand) -> tuple[str, str, str]:
        """Return one that serves, and commands that let it hang and go on."""
        raise NotImplementedError

    def test_a_version_is_served_by_every_process_and_by_none_after_it_is_taken_back(
        self, stand: Stand
    ) -> None:
        old, new = stand.served, stand.make()
        with stand.traffic.only(old, new):
            said = stand.promote(new, "--why=a test")
        steps = re.findall(r"^  (\d \w+) +ok", said, re.MULTILINE)
        assert steps == [f"{number} {name}" for number, name in enumerate(promotion.STEPS, 1)]
        assert (len(stand.processes()), stand.versions()) == (self.processes, {new})
        with stand.traffic.only(new):
            time.sleep(0.3)
        with stand.traffic.only(old, new):
            said = stand.copy.inv("models.rollback", TIER)
        steps = re.findall(r"^  (\d \w+) +ok +([\d.]+) s", said, re.MULTILINE)
        assert [name for name, _ in steps] == ["1 checksum", "6 pointer", "7 replicas"]
        assert sum(float(seconds) for _, seconds in steps) < 5
        assert stand.versions() == {old}
        with stand.traffic.only(old):
            time.sleep(0.3)
        past = json.loads(stand.copy.inv("models.history", "--json"))
        mine = [item for item in past if item["tier"] == TIER][:2]
        assert [(item["version"], item["how"]) for item in mine] == [
            (old, "models.rollback"), (new, "models.promote a test"),
        ]  # fmt: skip

    def test_a_dry_run_checks_and_moves_nothing(self, stand: Stand) -> None:
        old, new = stand.served, stand.make()
        with stand.traffic.only(old):
            said = stand.promote(new, "--dry-run")
        assert "5 metrics    ok" in said
        assert (stand.served, stand.versions()) == (old, {old})

    @pytest.mark.parametrize("fault", CAUGHT)
    def test_a_fault_is_caught_at_its_step_and_nothing_of_it_is_served(
        self, stand: Stand, fault: str
    ) -> None:
        old, new = stand.served, stand.make(fault)
        with stand.traffic.only(old):
            limit = self.patience if fault == "loads for minutes" else 60
            said = stand.promote(new, f"--checks-limit={limit}", code=1)
        assert CAUGHT[fault] in said
        assert stand.versions() == {old}
        assert not (stand.copy.root / model_versions.PAYLOAD).exists()

    @pytest.mark.parametrize("fault", ["raises for some", "NaN for some"])
    def test_a_model_that_fails_at_the_third_request_is_taken_back(
        self, stand: Stand, fault: str
    ) -> None:
        old, new = stand.served, stand.make(fault)
        with stand.traffic.only(old, new):  # the one before answers what the new one fails at
            said = stand.promote(new, watch=10, code=1)
        assert re.search(r"step 8 \(watch\): \d+ of \d+ requests failed", said)
        assert stand.versions() == {old}
        with stand.traffic.only(old):
            time.sleep(0.3)

    def test_one_that_hangs_is_named_and_the_old_model_is_live_again(self, stand: Stand) -> None:
        old, new = stand.served, stand.make()
        name, hang, go_on = self.hanging(stand)
        with stand.traffic.only(old, new, lost=502):
            try:
                code, said = stand.promote_but("pointer", hang, new, "--limit=2")
            finally:
                subprocess.run(go_on, shell=True, check=True)  # noqa: S602 - written here
        assert code == 1
        assert re.search(rf"step 7 \(replicas\): not served within 2 s by {name}", said)
        assert (stand.served, stand.versions()) == (old, {old})

    def test_one_change_is_made_at_a_time_and_ctrl_c_in_the_watch_puts_it_back(
        self, stand: Stand
    ) -> None:
        old, new = stand.served, stand.make()
        with (
            stand.traffic.only(old, new),
            stand.start("models.promote", TIER, new, "--watch=60") as process,
        ):
            up_to(process, "8 watch")
            second = stand.promote(new, code=1)
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=60)
        assert re.search(r"models.promote of \S+ \(process \d+\) is under way for \d+ s", second)
        assert (process.returncode, "Putting back" in said) == (130, True)
        assert (stand.served, stand.versions()) == (old, {old})

    @pytest.mark.parametrize("step", BEFORE_IT_MOVES)
    def test_killed_before_the_link_moves_the_old_model_is_served(
        self, stand: Stand, step: str
    ) -> None:
        old, new = stand.served, stand.make()
        with stand.traffic.only(old):
            code, _ = stand.promote_but(step, KILL, new)
            said = stand.copy.inv("models.verify")
        assert (code, stand.versions()) == (-signal.SIGKILL, {old})
        number = BEFORE_IT_MOVES.index(step) + 1
        assert f"killed at step {number} ({step}): {TIER} still serves {old}" in said
        if step == BEFORE_IT_MOVES[-1]:
            with stand.traffic.only(old, new):
                stand.type(said, "finish")
            assert stand.versions() == {new}
            assert "killed" not in stand.copy.inv("models.verify")

    @pytest.mark.parametrize("step", ["replicas", "watch"])
    def test_killed_after_the_link_moved_the_new_model_is_served(
        self, stand: Stand, step: str
    ) -> None:
        old, new = stand.served, stand.make()
        with stand.traffic.only(old, new):
            code, _ = stand.promote_but(step, KILL, new)
            said = stand.copy.inv("models.verify", code=1)
        assert (code, stand.versions()) == (-signal.SIGKILL, {new})
        assert f"{TIER} serves {new}, which was not watched" in said
        with stand.traffic.only(old, new):
            stand.type(said, "finish" if step == "replicas" else "undo")
        assert stand.versions() == {new if step == "replicas" else old}
        assert "killed" not in stand.copy.inv("models.verify")

    def test_a_link_that_was_moved_by_hand_is_followed_or_said_why_not(self, stand: Stand) -> None:
        old, new, bad = stand.served, stand.make(), stand.make("truncated")
        names = {item.version: item.file.name for item in registry.list_models(stand.models)}
        with stand.traffic.only(old, new):
            link(stand.models, names[new])
            code, said = stand.reload()
            assert (code, stand.versions()) == (200, {new})
        with stand.traffic.only(new):
            link(stand.models, names[bad])
            code, said = stand.reload()
        assert (code, said.count("was changed: its sha256")) == (409, self.processes)
        link(stand.models, names[old])
        assert stand.reload()[0] == 200

    def test_a_read_only_folder_changes_nothing(self, stand: Stand) -> None:
        old, new = stand.served, stand.make()
        with stand.traffic.only(old), read_only(stand.models):
            said = stand.promote(new, code=1)
        assert "step 6 (pointer)" in said
        assert "Read-only file system" in said
        assert stand.versions() == {old}

    def test_a_full_disk_changes_nothing(self, stand: Stand) -> None:
        old, new = stand.served, stand.make()
        with stand.traffic.only(old), filled(stand.models):
            said = stand.promote(new, code=1)
        assert "step 6 (pointer)" in said
        assert "No space left on device" in said
        assert stand.versions() == {old}


def link(models: Path, file: str) -> None:
    """Move the link by hand, as the page of the models says."""
    temporary = models / ".by-hand"
    temporary.symlink_to(file)
    temporary.replace(models / f"{TIER}_current.onnx")


@contextmanager
def own_disk(folder: Path) -> Iterator[None]:
    """Put a small file system of its own under a folder, where that can be done."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=400", "tmpfs", str(folder)]
    mounted = (
        shutil.which("mount") is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let a folder that is a file system of its own be read-only for a while."""
    need_own_disk(folder)
    command = ["mount", "-o", "remount,ro", str(folder)]
    subprocess.run(command, check=True)
    try:
        yield
    finally:
        subprocess.run([*command[:2], "remount,rw", str(folder)], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Let a folder that is a file system of its own be full for a while: of files."""
    need_own_disk(folder)
    made: list[Path] = []
    try:
        while True:
            made.append(folder / f"filler{len(made)}")
            made[-1].touch()
    except OSError:
        made.pop()
    try:
        yield
    finally:
        for path in made:
            path.unlink()


def need_own_disk(folder: Path) -> None:
    if not folder.is_mount():
        pytest.skip(f"{folder.name}/ is no file system of its own here: only root can mount one")
