"""Rotations without an engine: what they plan and build, and how they end if something fails."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import os
import secrets
import stat
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)

from slipway.config import envfile, service_env
from slipway.config import values as config_values
from slipway.core import journal
from slipway.core.errors import Refused
from slipway.core.transaction import change
from slipway.models import registry
from slipway.secret import age, encrypted_env, rotation
from slipway.secret.rotation import VERB, api_key, env_file, postgres, redis, signing_key
from slipway.secret.rotation.choose import choose_rotation
from slipway.stack.engines.base import Replica, ServiceStatus
from slipway.stack.engines.exec import exec_command
from slipway.stack.session import Session
from slipway.tasks import backup, findings, options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slipway.config.service_env import ServiceEnv
    from slipway.secret.rotation.base import SecretRotation
    from slipway.secret.rotation.env_file import EnvFileRotation
    from tests.support.scratch import Scratch

SCHEMA = """
[APP_ENV]
about = "The profile."
read_by = ["web"]
default = "dev"
[TOKEN]
about = "Opens doors."
read_by = ["web", "worker"]
secret = 32
owner = "operations"
[GIVEN]
about = "From a provider."
read_by = ["worker"]
given = true
[BACKUP_URL]
about = "Where copies go."
read_by = ["tasks"]
optional = true
[BACKUP_URL_OPTIONS]
about = "What that needs."
read_by = ["tasks", "worker"]
given = true
[WEB_PORT]
about = "The port."
type = "port"
read_by = ["web"]
owner = "development"
default = "80"
"""
COMPOSE = "services:\n  web: {image: web}\n  worker: {image: worker}\n"


@dataclass
class Fake:
    """An engine whose services do as they are told."""

    scratch: Scratch
    name: str = "compose"
    state: str = "healthy"
    restarted: list[str] = field(default_factory=list)
    ill: Callable[[str], None] = lambda _service: None
    """Called for each that is restarted."""
    once: tuple[str, ...] = ()
    """The services that read what they are handed only when they start."""

    @property
    def service_envs(self) -> dict[str, ServiceEnv]:
        held = config_values.read_values(self.scratch.project, "dev", self.name)
        return service_env.plan_service_envs(self.scratch.project, held, self.name)

    def status(self) -> list[ServiceStatus]:
        return [ServiceStatus(name, self.state, None, 1, "why") for name in ("web", "worker")]

    def replicas(self) -> list[Replica]:
        return []

    def reads_once(self, service: str) -> bool:
        return service in self.once

    def restart(self, service: str, limit: float) -> None:
        del limit
        self.restarted.append(service)
        self.ill(service)


@dataclass
class Stand:
    """A project whose services were handed their secrets."""

    scratch: Scratch
    engine: Fake

    @property
    def session(self) -> Session:
        return Session(self.scratch.project, "dev", self.engine)  # type: ignore[arg-type]

    def of(self, name: str) -> SecretRotation:
        return choose_rotation(self.session, name)

    def env_file_rotation(self, name: str = "TOKEN") -> EnvFileRotation:
        found = choose_rotation(self.session, name)
        assert isinstance(found, env_file.EnvFileRotation)
        return found

    def run(self, rotation: SecretRotation) -> None:
        facts = {"name": rotation.name, "profile": "dev"}
        with change(self.scratch.root, VERB, **facts) as made:
            rotation.run(made)

    def held(self, name: str = "TOKEN") -> str:
        """Return the value of the env file."""
        return envfile.read(self.scratch.project.env_file("dev")).values[name]

    def handed(self, service: str, name: str = "TOKEN") -> str:
        return (self.scratch.root / service_env.FOLDER / service / name).read_text()

    def last(self) -> dict[str, Any]:
        return journal.entries(self.scratch.root)[-1]


@pytest.fixture
def stand(scratch: Scratch) -> Stand:
    scratch.write("env/schema.toml", SCHEMA)
    scratch.write("compose.yaml", COMPOSE)
    values = {name: secrets.token_urlsafe() for name in ("TOKEN", "GIVEN")}
    values["BACKUP_URL_OPTIONS"] = '{"auto_mkdir": true}'
    path = scratch.project.env_file("dev")
    envfile.create(path, "".join(f"{envfile.line(*item)}\n" for item in values.items()))
    engine = Fake(scratch)
    service_env.write_service_envs(scratch.project, engine.service_envs, engine.name)
    return Stand(scratch, engine)


def test_a_secret_is_made_recorded_and_handed_on_and_its_readers_are_restarted(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stand.held()
    turn = stand.of("TOKEN")
    assert [row["step"] for row in turn.rows()] == ["1 value", "2 record", "3 move", "4 check"]
    stand.run(turn)
    now = stand.held()
    assert len({before, now, stand.handed("web"), stand.handed("worker")}) == 2
    assert stand.engine.restarted == ["web", "worker"]
    assert stand.last() | {"verb": VERB, "outcome": "done", "name": "TOKEN"} == stand.last()
    said = capsys.readouterr().out + (stand.scratch.root / journal.NAME).read_text()
    assert before not in said
    assert now not in said


def test_what_reads_once_is_restarted_where_others_follow_while_they_run(
    stand: Stand,
) -> None:
    turn, followed = stand.env_file_rotation(), list[str]()
    turn.handover.follow = followed.append
    stand.engine.once = ("worker",)
    stand.run(turn)
    assert (followed, stand.engine.restarted) == (["web"], ["worker"])


def test_nothing_is_begun_while_something_is_ill(stand: Stand) -> None:
    before, stand.engine.state = stand.held(), "unhealthy"
    with pytest.raises(Refused, match=r"web is unhealthy: why(.|\n)*Nothing was changed"):
        stand.run(stand.of("TOKEN"))
    assert before == stand.held() == stand.handed("web")
    assert not [*rotation.checks(stand.scratch.root, "dev")]


def test_what_git_keeps_encrypted_is_encrypted_again(stand: Stand, tmp_path: Path) -> None:
    key_file, project = tmp_path / "age.key", stand.scratch.project
    stand.scratch.write(encrypted_env.RECIPIENTS, age.make_key(key_file))
    encrypted_env.encrypt_env(project, "dev")
    stand.run(stand.of("TOKEN"))
    assert f"TOKEN={stand.held()}" in encrypted_env.decrypt_env(project, "dev", key_file)
    before, later = stand.held(), time.time() + 60  # as after a `git pull`
    os.utime(encrypted_env.encrypted_path(project, "dev"), (later, later))
    with pytest.raises(Refused, match="would be overwritten"):
        stand.run(stand.of("TOKEN"))
    assert stand.held() == before


def test_a_failure_puts_everything_back(stand: Stand) -> None:
    before = stand.held()

    def fail_once(service: str) -> None:
        if stand.engine.restarted.count(service) == 1 and service == "worker":
            raise Refused("worker is unhealthy", "inv deploy.logs")

    stand.engine.ill = fail_once
    with pytest.raises(Refused) as refused:
        stand.run(stand.of("TOKEN"))
    assert refused.value.what.splitlines() == [
        "step 3 (move): worker is unhealthy",
        "  The previous value is still in use.",
    ]
    assert {before} == {stand.held(), stand.handed("web"), stand.handed("worker")}
    assert stand.engine.restarted == ["web", "worker", "worker", "web"]
    assert (stand.last()["outcome"], stand.last()["undone"]) == ("failed", True)
    assert not [*rotation.checks(stand.scratch.root, "dev")]


def test_what_cannot_be_put_back_is_said_with_what_to_type(stand: Stand) -> None:
    def fail(_service: str) -> None:
        raise Refused("it is unhealthy")

    stand.engine.ill = fail
    with pytest.raises(Refused, match="could not be undone: it is unhealthy") as refused:
        stand.run(stand.of("TOKEN"))
    assert "Next: inv env.rotate TOKEN --profile dev" in refused.value.what


@pytest.mark.parametrize("step", ["record", "move", "check"])
def test_one_that_was_killed_is_finished_by_the_same_command(stand: Stand, step: str) -> None:
    turn, before = stand.env_file_rotation(), stand.held()
    facts = {"name": "TOKEN", "profile": "dev", "touched": True, "step": step}
    turn.make_value()
    turn.record_value()
    service_env.replace_secrets(stand.scratch.project, "web", {"TOKEN": stand.held()})
    journal.append(stand.scratch.root, VERB, outcome="killed", **facts)
    (found,) = rotation.checks(stand.scratch.root, "dev")
    assert f"env.rotate of TOKEN stopped at step {step} (killed)" in found.detail
    assert found in findings.check_variables(stand.scratch.project, "dev")
    made = stand.held()
    again = stand.of("TOKEN")
    assert again.rows()[1]["what"] == "done before the interruption"
    stand.run(again)
    assert {made} == {stand.held(), stand.handed("web"), stand.handed("worker")} - {before}
    assert stand.engine.restarted == ["worker"]
    assert not [*rotation.checks(stand.scratch.root, "dev")]


def test_one_that_was_killed_while_it_was_undone_begins_again(stand: Stand) -> None:
    before = stand.held()
    service_env.replace_secrets(stand.scratch.project, "web", {"TOKEN": "half"})
    facts = {"name": "TOKEN", "profile": "dev", "touched": True, "step": "undo"}
    journal.append(stand.scratch.root, VERB, outcome="killed", **facts)
    stand.run(stand.of("TOKEN"))
    assert stand.engine.restarted == ["web", "web", "worker"]  # what the file says, and the new one
    assert {stand.held()} == {stand.handed("web"), stand.handed("worker")} != {before}


def test_a_failure_after_that_brings_back_what_the_env_file_says(stand: Stand) -> None:
    before = stand.held()
    service_env.replace_secrets(stand.scratch.project, "worker", {"TOKEN": "half"})
    facts = {"name": "TOKEN", "profile": "dev", "touched": True, "step": "undo"}
    journal.append(stand.scratch.root, VERB, outcome="killed", **facts)

    def fail_once(service: str) -> None:
        if service == "web" and stand.engine.restarted.count(service) == 1:
            raise Refused("web is unhealthy")

    stand.engine.ill = fail_once
    with pytest.raises(Refused, match="The previous value is still in use"):
        stand.run(stand.of("TOKEN"))
    assert {before} == {stand.held(), stand.handed("web"), stand.handed("worker")}


def test_a_failure_of_one_that_is_resumed_leaves_the_new_value(stand: Stand) -> None:
    first = stand.env_file_rotation()
    first.make_value()
    first.record_value()
    new = stand.held()
    facts = {"name": "TOKEN", "profile": "dev", "touched": True, "step": "move"}
    journal.append(stand.scratch.root, VERB, outcome="killed", **facts)

    def fail(_service: str) -> None:
        raise Refused("web is unhealthy")

    stand.engine.ill = fail
    with pytest.raises(Refused, match=r"The new value is in use\. To finish, run: inv env"):
        stand.run(stand.of("TOKEN"))
    assert new == stand.held() == stand.handed("web")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("TOKNE", "there is no secret 'TOKNE'; did you mean TOKEN?"),
        ("WEB_PORT", "is not a secret; its owner: development"),
        ("API_KEY_PREVIOUS", "is the previous key"),
        ("MODELS_SIGNING_KEY", "MODELS_SIGNING_KEY is not set"),
    ],
)
def test_what_cannot_be_rotated_is_refused(stand: Stand, name: str, said: str) -> None:
    with pytest.raises(Refused) as refused:
        stand.of(name)
    assert said in refused.value.what


def test_a_value_from_elsewhere_is_refused(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", secrets.token_urlsafe())
    with pytest.raises(Refused, match=r"TOKEN is set in environment, not in \.env\.dev"):
        stand.of("TOKEN")
    monkeypatch.delenv("TOKEN")
    envfile.set_variables(stand.scratch.project.env_file("dev"), {"TOKEN": None})
    with pytest.raises(Refused, match="TOKEN has no value"):
        stand.of("TOKEN")


def test_a_pattern_that_no_random_value_has_is_said(stand: Stand) -> None:
    text = SCHEMA.replace("secret = 32", 'secret = 32\npattern = "[0-9]+"')
    stand.scratch.write("env/schema.toml", text)
    with pytest.raises(Refused, match="should match"):
        stand.run(stand.of("TOKEN"))


def give(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_what_a_provider_gave_is_read_and_handed_on(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = secrets.token_urlsafe()
    give(monkeypatch, f"{given}\n")
    turn = stand.of("GIVEN")
    turn.ask()
    stand.run(turn)
    assert given == stand.held("GIVEN") == stand.handed("worker", "GIVEN")
    assert stand.engine.restarted == ["worker"]


@pytest.mark.parametrize("text", ["", "same"])
def test_what_was_not_given_or_is_the_same_changes_nothing(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    before = stand.held("GIVEN")
    give(monkeypatch, before if text else text)
    turn = stand.of("GIVEN")
    turn.ask()
    with pytest.raises(Refused, match="Nothing was changed"):
        stand.run(turn)
    assert (stand.held("GIVEN"), stand.last()["outcome"]) == (before, "failed")


def test_options_of_a_storage_are_tried_on_it_first(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name, before = "BACKUP_URL_OPTIONS", stand.held("BACKUP_URL_OPTIONS")
    assert name in rotation.secret_probes, f"{backup.__name__} brings it"
    path = stand.scratch.project.env_file("dev")
    envfile.set_variables(path, {"BACKUP_URL": f"file://{tmp_path}/away"})
    for given, said in (("no JSON", "is no JSON"), ('{"strange": 1}', "strange")):
        give(monkeypatch, given)
        turn = stand.of(name)
        turn.ask()
        if said == "strange":
            monkeypatch.setattr("slipway.backup.offsite.storage.Storage.sizes", refuse)
        with pytest.raises(Refused, match=r"step 2 \(probe\)"):
            stand.run(turn)
        assert stand.held(name) == before
    monkeypatch.undo()
    (tmp_path / "away").mkdir()
    give(monkeypatch, '{"auto_mkdir": false}')
    turn = stand.of(name)
    turn.ask()
    stand.run(turn)
    assert stand.handed("worker", name) == '{"auto_mkdir": false}'
    assert stand.engine.restarted == []


def refuse(_storage: object) -> None:
    raise Refused("the storage does not let us in")


def test_a_verifier_is_what_the_standard_says() -> None:
    """Compute the proof of a client as RFC 5802 does, and check it with what the server keeps."""
    salt = secrets.token_bytes(16)
    said = postgres.scram_verifier("pencil", salt)
    kind, iterations, keys = said.split("$")
    count, encoded = iterations.split(":")
    stored, server = (base64.b64decode(item) for item in keys.split(":"))
    assert (kind, base64.b64decode(encoded), int(count)) == ("SCRAM-SHA-256", salt, 4096)
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", salt, 4096)
    client = hmac.new(salted, b"Client Key", "sha256").digest()
    signature = hmac.new(stored, b"message", "sha256").digest()
    proof = bytes(a ^ b for a, b in zip(client, signature, strict=True))
    seen = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert hashlib.sha256(seen).digest() == stored
    assert server == hmac.new(salted, b"Server Key", "sha256").digest()
    assert postgres.scram_verifier("pencil") != postgres.scram_verifier("pencil")


def test_the_statements_of_a_login() -> None:
    mine, other = (postgres.grant_sql(name, "app", "V") for name in ("app", "app_b"))
    assert "CREATE ROLE" not in mine
    assert other.splitlines()[3:] == [
        "BEGIN;",
        "DO $$ BEGIN",
        "    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app_b') THEN",
        '        CREATE ROLE "app_b" LOGIN IN ROLE "app";',
        "        ALTER ROLE \"app_b\" SET role = 'app';",
        "    END IF;",
        "END $$;",
        "ALTER ROLE \"app_b\" LOGIN PASSWORD 'V';",
        "COMMIT;",
    ]
    assert all(text.startswith("SET log_statement = 'none';") for text in (mine, other))
    assert 'ALTER ROLE "app" PASSWORD NULL' in postgres.revoke_sql("app")
    assert (
        "usename = 'app' AND client_addr IS NOT NULL AND state = 'idle'"
        in postgres.end_sessions_sql("app")
    )


def test_the_rules_of_the_cache_hold_a_digest_alone() -> None:
    digest = hashlib.sha256(b"password").hexdigest()
    assert redis.accept_rule("password") == f"#{digest}"
    assert redis.only_rule("password") == f"resetpass #{digest}"


def test_connections_of_the_cache_are_read() -> None:
    said = (
        "id=7 addr=172.18.0.5:41310 laddr=172.18.0.2:6379 fd=10 name= age=31 idle=2 flags=N db=0\n"
        "id=9 addr=127.0.0.1:5 laddr=127.0.0.1:6379 fd=11 name= age=0 idle=0 flags=N db=0\n"
    )
    assert redis.parse_connections(said) == [
        {"id": "7", "address": "172.18.0.5", "age": "31", "idle": "2"},
        {"id": "9", "address": "127.0.0.1", "age": "0", "idle": "0"},
    ]


def test_a_command_in_a_container_is_given_nothing_in_its_arguments() -> None:
    command = ["docker", "exec", "--interactive", "one", "sh", "-c", "script"]
    assert exec_command("one", ("sh", "-c", "script")) == command


def test_the_previous_key_is_written_with_its_end() -> None:
    until = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
    assert api_key.previous_key("abc", until) == "2026-01-31T12:00:00Z/abc"


@pytest.mark.parametrize(
    ("status", "opens"),
    [(200, True), (409, True), (401, False), (403, False), (429, None), (503, None), (0, None)],
)
def test_what_an_answer_says_of_a_key(status: int, opens: bool | None) -> None:
    assert api_key.key_accepted(status) is opens


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("24 hours", 86400), ("1 minute", 60), ("30seconds", 30)]
)
def test_how_long_something_lasts_is_read(text: str, seconds: int) -> None:
    assert options.duration(text, "--overlap").total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1 days", "1 month", "100000 days"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="is not how long"):
        options.duration(text, "--overlap")


@dataclass
class Signed:
    """A folder of models, two of them signed."""

    stand: Stand
    private: Path
    public: Path

    @property
    def models(self) -> Path:
        return self.stand.scratch.project.models

    def model(self, version: str, signer: Ed25519PrivateKey | None = None) -> Path:
        file = self.models / f"tier1_{version}_2026-11-22.onnx"
        self.models.mkdir(exist_ok=True)
        file.write_bytes(version.encode())
        said = json.dumps({"tier": "tier1", "version": version, "file": file.name}).encode()
        file.with_suffix(".json").write_bytes(said)
        if signer:
            file.with_suffix(".sig").write_bytes(base64.b64encode(signer.sign(said)) + b"\n")
        return file.with_suffix(".sig")

    def all(self) -> dict[Path, bytes]:
        folders = (self.models, self.private.parent)
        return {path: path.read_bytes() for folder in folders for path in folder.iterdir()}


@pytest.fixture
def signed(stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Signed:
    folder = tmp_path / "keys"
    folder.mkdir()
    old, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    private, public = folder / "private.pem", folder / "public.pem"
    private.write_bytes(old.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    private.chmod(0o600)
    public.write_bytes(signing_key.public_pem(old.public_key()))
    monkeypatch.setenv("MODELS_SIGNING_KEY", str(private))
    monkeypatch.setenv("MODELS_PUBLIC_KEY", str(public))
    made = Signed(stand, private, public)
    for version, signer in {"v1.0": old, "v1.1": old, "v1.2": stranger, "v1.3": None}.items():
        made.model(version, signer)
    return made


def test_every_model_is_signed_again(signed: Signed) -> None:
    before = signed.all()
    stand, old = signed.stand, signing_key.read_private_key(signed.private)
    stand.run(stand.of("MODELS_SIGNING_KEY"))
    new = signing_key.read_private_key(signed.private)
    assert signing_key.read_public_keys(signed.public) == [signing_key.public_pem(new.public_key())]
    assert stat.S_IMODE(signed.private.stat().st_mode) == 0o600
    for renewed in (old, new):
        found = {
            name for name in ("v1.0", "v1.1", "v1.2", "v1.3") if is_signed(signed, name, renewed)
        }
        assert found == {"v1.0", "v1.1"}
    changed = {path.name for path, content in signed.all().items() if before.get(path) != content}
    names = {f"tier1_{version}_2026-11-22.sig" for version in ("v1.0", "v1.1")}
    assert changed == names | {"private.pem", "public.pem"}
    assert before.keys() == signed.all().keys()
    stand.run(stand.of("MODELS_SIGNING_KEY"))
    assert not is_signed(signed, "v1.0", old)


def is_signed(signed: Signed, version: str, by: Ed25519PrivateKey) -> bool:
    known = registry.list_models(signed.models)
    (model,) = (item for item in known if item.version == version)
    return signing_key.is_signed_by(model, by.public_key())


@pytest.mark.parametrize("step", ["accept", "sign", "replace", "check", "retire"])
def test_a_failure_leaves_the_previous_key_and_its_signatures(signed: Signed, step: str) -> None:
    before, rotation = signed.all(), signed.stand.of("MODELS_SIGNING_KEY")
    (failing,) = (one for one in rotation.steps if one.name == step)

    def fail() -> str:
        failing.action()
        raise Refused("the disk is full")

    rotation.steps = tuple(
        replace(one, action=fail) if one is failing else one for one in rotation.steps
    )
    with pytest.raises(Refused, match="The previous value is still in use"):
        signed.stand.run(rotation)
    assert signed.all() == before


@pytest.mark.parametrize("steps", range(1, 7))
def test_one_that_was_killed_leaves_keys_that_the_same_command_finishes(
    signed: Signed, steps: int
) -> None:
    stand, turn = signed.stand, signed.stand.of("MODELS_SIGNING_KEY")
    for step in turn.steps[:steps]:
        step.action()
    trusted = signing_key.read_public_keys(signed.public)
    for version in ("v1.0", "v1.1"):
        known = registry.list_models(signed.models)
        (model,) = (item for item in known if item.version == version)
        keys = [load_pem_public_key(one) for one in trusted]
        assert any(signing_key.is_signed_by(model, one) for one in keys)  # type: ignore[arg-type]
    stand.run(stand.of("MODELS_SIGNING_KEY"))
    new = signing_key.read_private_key(signed.private)
    assert signing_key.read_public_keys(signed.public) == [signing_key.public_pem(new.public_key())]
    assert is_signed(signed, "v1.0", new)
    assert is_signed(signed, "v1.1", new)
    assert not [*signed.private.parent.glob("*.new")]


def test_keys_that_do_not_belong_together_are_refused(signed: Signed) -> None:
    other = Ed25519PrivateKey.generate().public_key()
    signed.public.write_bytes(signing_key.public_pem(other))
    with pytest.raises(Refused, match="does not belong to"):
        signed.stand.of("MODELS_SIGNING_KEY")
    signed.private.write_text("no key")
    with pytest.raises(Refused, match="is not an Ed25519 private key"):
        signed.stand.of("MODELS_SIGNING_KEY")
