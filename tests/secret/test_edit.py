from __future__ import annotations

import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slipway.config import envfile
from slipway.core import transaction
from slipway.core.errors import Refused
from slipway.secret import age, encrypted_env
from slipway.secret import edit as secret_edit
from tests.support.scratch import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.scratch import Scratch

BEFORE, AFTER = (f"{word}-key-that-opens-doors" for word in ("one", "other"))
TEXT = f"# Values.\nAPI_KEY={BEFORE}\n"


class Desk:
    """A scratch project with an encrypted env file, and whoever edits it."""

    def __init__(self, scratch: Scratch, folder: Path) -> None:
        self.scratch, self.project, self.root = scratch, scratch.project, scratch.root
        self.key, self.folder = folder / "key", folder
        scratch.write(encrypted_env.RECIPIENTS, age.make_key(self.key))
        self.path = scratch.write(".env.dev", TEXT)
        self.path.chmod(0o600)
        encrypted_env.write_encrypted(self.project, "dev", TEXT)
        encrypted_env.write_plain(self.project, "dev", TEXT)

    def editor(self, *lines: str) -> str:
        """Return an editor that runs lines of Python over the `file`, and notes where it was."""
        head = "import os, pathlib, sys, time, signal\nfile = pathlib.Path(sys.argv[-1])\n"
        head += f"pathlib.Path({str(self.note)!r}).write_text(str(file))\n"
        script = self.folder / "editor.py"
        script.write_text(head + "\n".join(lines))
        return shlex.join([sys.executable, str(script), "--wait"])

    @property
    def note(self) -> Path:
        return self.folder / "edited"

    @property
    def edited(self) -> Path:
        """Where the text was that the editor saw."""
        return Path(self.note.read_text())

    @property
    def held(self) -> str:
        """What is encrypted."""
        return encrypted_env.decrypt_env(self.project, "dev", self.key)

    def edit(self) -> list[str] | None:
        return secret_edit.edit_env(self.project, "dev", self.key)


@pytest.fixture
def desk(scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv("VISUAL", raising=False)
    return Desk(scratch, tmp_path)


@pytest.fixture
def use(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what makes lines of Python the editor."""
    return lambda *lines: monkeypatch.setenv("EDITOR", desk.editor(*lines))


def replacing(old: str, new: str) -> str:
    return f"file.write_text(file.read_text().replace({old!r}, {new!r}))"


def test_what_was_edited_is_encrypted_and_the_env_file_follows(
    desk: Desk, use: Callable[..., None]
) -> None:
    modes = desk.folder / "modes"
    use(
        f"pathlib.Path({str(modes)!r}).write_text(str([file.stat().st_mode & 0o777,"
        " file.parent.stat().st_mode & 0o777]))",
        "file.with_name('.swap').write_text(file.read_text())",
        replacing(BEFORE, AFTER),
    )
    done = desk.scratch.inv("env.edit", "--profile=dev", f"--identity={desk.key}")
    assert done.returncode == 0, done.stderr
    assert "Changed in env/dev.env.age: API_KEY." in done.stdout
    assert desk.held == desk.path.read_text() == TEXT.replace(BEFORE, AFTER)
    assert stat.S_IMODE(desk.path.stat().st_mode) == 0o600
    assert modes.read_text() == str([0o600, 0o700])
    assert encrypted_env.find_difference(desk.project, "dev") is None
    assert not desk.edited.parent.exists()
    assert Path("/dev/shm").is_dir() == desk.edited.is_relative_to("/dev/shm")  # noqa: S108
    assert BEFORE not in done.stdout + done.stderr
    assert AFTER not in done.stdout + done.stderr + (desk.root / "journal.jsonl").read_text()


def test_an_env_file_that_was_another_stays(desk: Desk, use: Callable[..., None]) -> None:
    envfile.set_variables(desk.path, {"WEB_PORT": "1"})
    mine = desk.path.read_text()
    use("file.write_text(file.read_text() + '# a comment\\n')")
    assert desk.edit() == []
    assert (desk.held, desk.path.read_text()) == (f"{TEXT}# a comment\n", mine)
    desk.path.unlink()
    use(replacing(BEFORE, AFTER))
    assert desk.edit() == ["API_KEY"]
    assert not desk.path.exists()


def test_what_is_not_changed_stays_as_it_is(desk: Desk, use: Callable[..., None]) -> None:
    before = encrypted_env.encrypted_path(desk.project, "dev").read_bytes()
    use("pass")
    assert desk.edit() is None
    done = desk.scratch.inv("env.edit", "--profile=dev", f"--identity={desk.key}")
    assert "Nothing was changed." in done.stdout
    for lines in (["sys.exit(3)"], ["file.unlink()"], ["file.write_bytes(b'V=\\xff')"]):
        use(*lines)
        with pytest.raises(Refused, match="nothing was changed"):
            desk.edit()
        assert not desk.edited.parent.exists()
    assert encrypted_env.encrypted_path(desk.project, "dev").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("API_KYE=x\n", "did you mean API_KEY?"),
        (f"{TEXT}WEB_PORT=x\n", "WEB_PORT should be a port"),
        (f"{TEXT}WEB_PORT='1\n", ".env.dev:3: cannot be read"),
        (f"{TEXT}WEB_URL=http://$x\n", ".env.dev:3: tools read it differently"),
        (f"{TEXT}{TEXT}", ".env.dev:4: API_KEY is set in line 2 too"),
        ("# nothing\n", "API_KEY has no value"),
    ],
)
def test_what_is_wrong_is_said_and_a_person_may_give_up(
    desk: Desk, use: Callable[..., None], text: str, said: str
) -> None:
    use(f"file.write_text({text!r})")
    done = desk.scratch.inv("env.edit", "--profile=dev", f"--identity={desk.key}")
    assert done.returncode == 1
    assert said in done.stdout
    assert "nothing was changed: " in done.stderr
    assert desk.held == TEXT
    assert not desk.edited.parent.exists()


def test_a_placeholder_is_wrong_on_a_server(scratch: Scratch, tmp_path: Path) -> None:
    scratch.write("env/schema.toml", SCHEMA.format(port=1).replace("{ dev =", "{ prod ="))
    desk = Desk(scratch, tmp_path)
    encrypted_env.write_encrypted(desk.project, "prod", TEXT)
    use = {**os.environ, "EDITOR": desk.editor(replacing(BEFORE, "changeme"))}
    done = scratch.inv("env.edit", "--profile=prod", f"--identity={desk.key}", env=use)
    assert (done.returncode, "API_KEY is a placeholder" in done.stdout) == (1, True)


def test_a_person_may_go_back_and_mend_it(
    desk: Desk, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return "" if len(asked) == 1 else "n"

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    use(
        "text = file.read_text()",
        f"wrong = {TEXT!r} + 'WEB_PORT=x\\n'",
        "file.write_text(wrong if text != wrong else wrong.replace('x', '1'))",
    )
    assert desk.edit() == ["WEB_PORT"]
    assert desk.held == f"{TEXT}WEB_PORT=1\n"
    use("file.write_text('API_KYE=x\\n')")
    with pytest.raises(Refused, match="nothing was changed: 1 problem to fix"):
        desk.edit()
    assert asked == [
        "1 problem to fix. Edit again? [Y/n] ",
        "1 problem to fix. Edit again? [Y/n] ",
    ]


def test_there_is_no_editor(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "no-such-editor -w")
    with pytest.raises(Refused, match="'no-such-editor -w' was not found\n  -> export EDITOR="):
        desk.edit()
    environment = {name: value for name, value in os.environ.items() if name != "EDITOR"}
    arguments = ["env.edit", "--profile=dev", f"--identity={desk.key}"]
    done = desk.scratch.inv(*arguments, env=environment)
    assert (done.returncode, "there is no terminal to edit in" in done.stderr) == (2, True)


def test_nobody_edits_what_could_not_be_encrypted_again(
    desk: Desk, use: Callable[..., None]
) -> None:
    use("pass")
    (desk.root / encrypted_env.RECIPIENTS).unlink()
    with pytest.raises(Refused, match="lists no one"):
        desk.edit()
    assert not desk.note.exists()


@pytest.mark.parametrize(
    "line",
    [
        "pathlib.Path('env/recipients.txt').unlink()",
        "age = pathlib.Path('env/dev.env.age'); age.write_bytes(age.read_bytes() + b'\\n')",
        "pathlib.Path('run/lock').mkdir()",
    ],
)
def test_what_cannot_be_saved_is_kept_and_named(
    desk: Desk, use: Callable[..., None], line: str
) -> None:
    use(replacing(BEFORE, AFTER), line)
    with pytest.raises((Refused, OSError)) as refused:
        desk.edit()
    kept = desk.edited
    assert f"your text is in {kept}" in str(refused.value)
    assert kept.read_text() == TEXT.replace(BEFORE, AFTER)
    assert desk.path.read_text() == TEXT
    assert AFTER not in str(refused.value)
    kept.unlink()
    kept.parent.rmdir()


@pytest.fixture
def in_a_terminal() -> Iterator[None]:
    """Have commands end when the terminal does, also where these tests go on without one."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("in_a_terminal")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_nothing_is_left_when_it_is_interrupted(desk: Desk, number: signal.Signals) -> None:
    lines = ["signal.signal(signal.SIGINT, signal.SIG_DFL)", replacing(BEFORE, AFTER)]
    lines += ["time.sleep(60)"]
    environment = {**os.environ, "EDITOR": desk.editor(*lines)}
    command = [sys.executable, "-m", "invoke", "env.edit", "--profile=dev"]
    with subprocess.Popen(
        [*command, f"--identity={desk.key}"],
        cwd=desk.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        until(lambda: desk.note.exists() and AFTER in desk.edited.read_text())
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does: the editor gets it too
        else:
            process.send_signal(number)
        said = process.communicate(timeout=30)[0].decode()
    assert process.returncode == (1 if number == signal.SIGINT else transaction.INTERRUPTED)
    assert "nothing was changed" in said
    assert "Traceback" not in said
    assert not desk.edited.parent.exists()
    assert desk.held == TEXT


def test_an_editor_may_have_a_use_for_ctrl_c(desk: Desk) -> None:
    lines = ["signal.signal(signal.SIGINT, lambda *_: None)", "os.killpg(0, signal.SIGINT)"]
    use = {**os.environ, "EDITOR": desk.editor(*lines, replacing(BEFORE, AFTER))}
    arguments = ["env.edit", "--profile=dev", f"--identity={desk.key}"]
    done = desk.scratch.inv(*arguments, env=use, start_new_session=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert AFTER in desk.held


def until(done: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not done():
        assert time.monotonic() < limit
        time.sleep(0.02)
