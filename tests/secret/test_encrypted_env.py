from __future__ import annotations

import os
import secrets
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from slipway.config import envfile
from slipway.config import values as config_values
from slipway.core import journal
from slipway.core.errors import Refused
from slipway.secret import age as secret_age
from slipway.secret import encrypted_env
from slipway.tasks import findings
from tests.support.copies import REPOSITORY, git
from tests.support.promotions import filled, own_disk, read_only

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scratch import Scratch

AGE = shutil.which("age")


class Team:
    """A scratch project, and people with keys."""

    def __init__(self, scratch: Scratch, folder: Path) -> None:
        self.scratch, self.project, self.folder = scratch, scratch.project, folder
        self.root = scratch.root

    def key(self, name: str) -> Path:
        """Make a key, whose recipient stands beside it."""
        path = self.folder / name
        path.with_suffix(".txt").write_text(secret_age.make_key(path))
        return path

    def name(self, *keys: Path) -> None:
        lines = [f"# {key.name}\n{key.with_suffix('.txt').read_text()}\n" for key in keys]
        self.scratch.write(encrypted_env.RECIPIENTS, "".join(lines))

    def env_file(self, **more: str) -> str:
        """Write an env file with a secret, and return it."""
        values = {"API_KEY": secrets.token_urlsafe(32)} | more
        text = "# Values.\n" + "".join(f"{envfile.line(*pair)}\n" for pair in values.items())
        self.scratch.write(".env.prod", text).chmod(0o600)
        return text

    @property
    def path(self) -> Path:
        return self.root / ".env.prod"

    @property
    def encrypted(self) -> Path:
        return self.root / "env" / "prod.env.age"

    def inv(self, *arguments: str, code: int = 0, **kwargs: object) -> str:
        done = self.scratch.inv(*arguments, "--profile=prod", **kwargs)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def team(scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    monkeypatch.delenv(secret_age.IDENTITY, raising=False)
    return Team(scratch, tmp_path)


def test_a_clone_and_one_key_are_enough(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = team.key("ours"), team.key("theirs")
    team.name(ours, theirs)
    text = team.env_file(WEB_URL="http://web")
    assert "for 2 recipients" in team.inv("env.encrypt")
    assert text.splitlines()[1] not in team.encrypted.read_text()
    team.path.unlink()
    refused = team.inv("env.init", code=2)
    assert "-> inv env.decrypt --profile prod --identity FILE" in refused
    assert "env.decrypt --profile prod" in team.inv("deploy.up", "--engine=local", code=2)
    assert not team.path.exists()
    for number, key in enumerate((ours, theirs)):
        option = [f"--identity={key}"] if number else []
        monkeypatch.setenv(secret_age.IDENTITY, str(team.folder / "gone" if number else key))
        said = team.inv("env.decrypt", *option)
        assert (team.path.read_text(), stat.S_IMODE(team.path.stat().st_mode)) == (text, 0o600)
        assert text.splitlines()[1].partition("=")[2] not in said
        team.path.unlink()
    verbs = [entry["verb"] for entry in journal.entries(team.root)]
    assert verbs == ["env.encrypt", "env.decrypt", "env.decrypt"]


@pytest.mark.skipif(not AGE, reason="age is not installed")
def test_age_itself_opens_it_and_is_opened(team: Team) -> None:
    key = team.key("key")
    team.name(key)
    text = team.env_file()
    encrypted_env.write_encrypted(team.project, "prod", text)

    def age(given: str, *command: str) -> str:
        whole = [AGE or "age", *command]
        return subprocess.run(whole, input=given, capture_output=True, check=True, text=True).stdout

    assert age(team.encrypted.read_text(), "--decrypt", "--identity", str(key)) == text
    recipients = ["--recipients-file", str(team.root / encrypted_env.RECIPIENTS)]
    for armor in ([], ["--armor"]):
        command = [AGE or "age", *armor, *recipients]
        made = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
        team.encrypted.write_bytes(made.stdout)
        assert encrypted_env.decrypt_env(team.project, "prod", key) == text


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="there is no ssh-keygen")
def test_a_key_of_ssh_will_do(team: Team, tmp_path: Path) -> None:
    for name, password in (("ssh", ""), ("closed", "some-password")):
        options = ["-q", "-t", "ed25519", "-N", password, "-f", str(tmp_path / name)]
        subprocess.run(["ssh-keygen", *options], check=True)
    lines = [(tmp_path / f"{name}.pub").read_text() for name in ("ssh", "closed")]
    team.scratch.write(encrypted_env.RECIPIENTS, "".join(lines))
    text = team.env_file()
    assert encrypted_env.write_encrypted(team.project, "prod", text) == 2
    assert encrypted_env.decrypt_env(team.project, "prod", tmp_path / "ssh") == text
    with pytest.raises(Refused, match="closed is an SSH key that cannot be used"):
        encrypted_env.decrypt_env(team.project, "prod", tmp_path / "closed")


def test_it_stays_closed_without_its_key(team: Team) -> None:
    team.name(team.key("key"))
    team.env_file()
    team.inv("env.encrypt")
    before = team.path.read_bytes()
    assert "only the secret key decrypts it" in team.inv("env.decrypt", code=2)
    other = team.key("other")
    said = team.inv("env.decrypt", f"--identity={other}", code=2)
    assert f"{other} holds no key that decrypts env/prod.env.age" in said
    assert team.path.read_bytes() == before


def test_damaged_anywhere_it_is_refused(team: Team) -> None:
    key = team.key("key")
    team.name(key)
    team.env_file()
    encrypted_env.write_encrypted(
        team.project, "prod", encrypted_env.read_plain(team.project, "prod")
    )
    whole = team.encrypted.read_bytes()
    for size in (0, 20, 40, 100, len(whole) // 2, len(whole) - 40):
        team.encrypted.write_bytes(whole[:size])
        with pytest.raises(Refused, match=r"damaged|not encrypted|no key"):
            encrypted_env.decrypt_env(team.project, "prod", key)
    for at in range(0, len(whole) - 1, 23):
        flipped = bytearray(whole)
        flipped[at] ^= 1
        team.encrypted.write_bytes(flipped)
        with pytest.raises(Refused, match=r"damaged|not encrypted|no key"):
            encrypted_env.decrypt_env(team.project, "prod", key)
    team.encrypted.write_text(team.path.read_text())
    with pytest.raises(Refused, match=r"env/prod\.env\.age is not encrypted"):
        encrypted_env.decrypt_env(team.project, "prod", key)
    team.encrypted.unlink()
    with pytest.raises(Refused, match=r"there is no env/prod\.env\.age"):
        encrypted_env.decrypt_env(team.project, "prod", key)


def test_without_recipients_nothing_is_encrypted(team: Team) -> None:
    key = team.key("key")
    team.env_file()
    said = team.inv("env.encrypt", code=2)
    assert "env/recipients.txt lists no one" in said
    assert "inv env.keygen --to FILE" in said
    good = key.with_suffix(".txt").read_text()
    wrong = "env/recipients.txt:2 is not an age recipient: 'age1nonsense'"
    for text, expected in {
        "# nobody\n\n": "lists no one",
        f"{good} # me\nage1nonsense\n": wrong,
        key.read_text().splitlines()[-1]: "env/recipients.txt:1 holds a secret key",
    }.items():
        team.scratch.write(encrypted_env.RECIPIENTS, text)
        with pytest.raises(Refused, match=expected) as refused:
            encrypted_env.read_recipients(team.project)
        assert secret_age.SECRET not in refused.value.what
    team.scratch.write(encrypted_env.RECIPIENTS, f"{good} # me\n\n{good}\n")
    assert len(encrypted_env.read_recipients(team.project)) == 1
    assert not team.encrypted.exists()


@pytest.mark.skipif(not shutil.which("git"), reason="no git to say what it keeps")
def test_git_keeps_it_and_images_do_not(team: Team) -> None:
    team.name(team.key("key"))
    text = team.env_file()
    team.inv("env.encrypt")
    shutil.copy(REPOSITORY / ".gitignore", team.root)
    git(team.root, "init", "--quiet")
    git(team.root, "add", ".")
    command = ["git", "ls-files", "--", "env", ".env.prod"]
    listed = subprocess.run(command, cwd=team.root, capture_output=True, text=True, check=True)
    assert {*listed.stdout.split()} >= {"env/prod.env.age", "env/recipients.txt"}
    assert ".env.prod" not in listed.stdout
    assert [item.check for item in findings.check_variables(team.project, "prod")] == ["missing"]
    assert team.encrypted.read_text().startswith("-----BEGIN AGE ENCRYPTED FILE-----\n")
    assert text not in team.encrypted.read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("API_KEY=changeme\n", "API_KEY is a placeholder (.env.prod)"),
        ("API_KEY='a\n", ".env.prod:1: cannot be read"),
        ("API_KEY=pa$word\n", ".env.prod:1: tools read it differently"),
        ("API_KEY=abc\nAPI_KEY=def\n", ".env.prod:2: API_KEY is set in line 1 too"),
    ],
)
def test_what_is_not_fit_for_git_is_not_encrypted(team: Team, text: str, said: str) -> None:
    team.name(team.key("key"))
    team.scratch.write(".env.prod", text)
    assert said in team.inv("env.encrypt", code=2)
    assert not team.encrypted.exists()
    team.path.unlink()
    assert "there is no .env.prod" in team.inv("env.encrypt", code=1)


def test_another_env_file_is_written_over_only_when_asked(team: Team) -> None:
    key = team.key("key")
    team.name(key)
    text = team.env_file(WEB_URL="http://web")
    team.inv("env.encrypt")
    mine = team.env_file(WEB_PORT="1")
    said = team.inv("env.decrypt", f"--identity={key}", code=1)
    assert "exists and differs in: API_KEY, WEB_PORT, WEB_URL." in said
    for other in (text, mine):
        assert other.splitlines()[1].partition("=")[2] not in said
    assert team.path.read_text() == mine
    team.inv("env.decrypt", f"--identity={key}", "--yes")
    assert team.path.read_text() == text
    assert "Decrypted env/prod.env.age to .env.prod." in team.inv(
        "env.decrypt", f"--identity={key}"
    )
    team.path.write_text(f"{text}# mine\n")
    assert "only comments" in team.inv("env.decrypt", f"--identity={key}", code=1)


def test_what_code_changes_is_encrypted_again_where_git_keeps_it(team: Team) -> None:
    key = team.key("key")
    team.name(key)
    team.env_file()
    assert not encrypted_env.renew_encrypted(team.project, "prod")
    assert not team.encrypted.exists()
    team.inv("env.encrypt")
    envfile.set_variables(team.path, {"API_KEY": "another-that-is-long-enough"})
    assert behind(team) == ["inv env.encrypt --profile prod"]
    assert encrypted_env.renew_encrypted(team.project, "prod")
    assert behind(team) == []
    assert encrypted_env.decrypt_env(team.project, "prod", key) == team.path.read_text()
    encrypted_env.write_plain(team.project, "prod", team.path.read_text())
    assert behind(team) == []
    later = team.encrypted.stat().st_mtime + 1
    os.utime(team.encrypted, (later, later))  # as of a colleague's, that git brought
    assert behind(team) == ["inv env.decrypt --profile prod --identity FILE"]
    assert "it may hold changes by a colleague" in team.inv("env.encrypt", code=1)
    team.inv("env.decrypt", f"--identity={key}")
    assert behind(team) == []
    (team.root / encrypted_env.RECIPIENTS).unlink()
    with pytest.raises(Refused, match="lists no one"):
        encrypted_env.renew_encrypted(team.project, "prod")


def behind(team: Team) -> list[str]:
    found = findings.check_variables(team.project, "prod")
    return [item.fix for item in found if item.check == "sealed"]


def test_a_missing_env_file_is_to_be_decrypted_where_it_can_be(team: Team) -> None:
    assert config_values.how_to_make(team.project, "prod") == "inv env.init --profile prod"
    team.encrypted.touch()
    fixes = [item.fix for item in findings.check_variables(team.project, "prod")]
    assert "inv env.decrypt --profile prod --identity FILE" in fixes
    with pytest.raises(Refused, match="no new secrets are generated"):
        config_values.create_env_file(team.project, "prod")
    config_values.create_env_file(team.project, "dev")


def test_a_disk_that_is_read_only_or_full_changes_nothing(team: Team) -> None:
    team.name(team.key("key"))
    team.env_file()
    folder = team.root / "env"
    files = {path.name: path.read_text() for path in folder.iterdir()}
    shutil.rmtree(folder)
    with own_disk(folder):
        for name, text in files.items():
            (folder / name).write_text(text)
        team.inv("env.encrypt")
        before = team.encrypted.read_bytes()
        for wrong, said in {read_only: "Read-only file system", filled: "No space left"}.items():
            with wrong(folder):
                assert said in team.inv("env.encrypt", code=1)
            assert team.encrypted.read_bytes() == before
            assert {path.name for path in folder.iterdir()} == {"prod.env.age", *files}


def test_a_disk_that_refuses_leaves_what_was_there(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = team.key("key")
    team.name(key)
    team.env_file()
    encrypted_env.write_encrypted(team.project, "prod", "A=1\n")
    before = team.encrypted.read_bytes()

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    for change in (encrypted_env.write_encrypted, encrypted_env.write_plain):
        with pytest.raises(OSError, match="No space left"):
            change(team.project, "prod", "A=2\n")
    assert team.encrypted.read_bytes() == before
    assert "A=2" not in team.path.read_text()
    assert {path.name for path in (team.root / "env").iterdir()} == {
        "prod.env.age",
        "recipients.txt",
        "schema.toml",
    }
