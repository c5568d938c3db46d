from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import repeat
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from slipway.backup import (
    archive,
    catalog,
    restore,
    restore_point,
)
from slipway.backup import (
    create as backup_create,
)
from slipway.backup.offsite import copies, download, storage
from slipway.backup.offsite.copies import OffsiteFolder
from slipway.backup.retention import RetentionPolicy
from slipway.config import reference, schema, values
from slipway.core import journal, redaction
from slipway.core.errors import Refused
from slipway.core.project import Project
from slipway.core.transaction import StepFailed, Steps, change
from slipway.secret import age
from slipway.stack.session import Session
from tests.backup.test_create import Engineless, Rows
from tests.support import restore_points, servers
from tests.support.copies import REPOSITORY
from tests.support.scratch import IN_PLACE, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slipway.backup.databases.base import StackDatabase
    from slipway.backup.offsite.copies import OffsiteCopy
    from slipway.backup.restore_point import RestorePoint
    from slipway.stack.engines.base import Engine
    from tests.support.servers import S3

DEBUGGED = """
import json, sys
from invoke.util import enable_logging
enable_logging()
from slipway.backup.offsite import storage
from slipway.core.redaction import remember_secrets
url, options = sys.stdin.read().splitlines()
remember_secrets([options])
print(storage.open_storage(url, json.loads(options)).sizes())
"""
"""What `inv --debug` does first, and then a task that looks at a storage."""
SECRETS = ("the-access-key", "the-storage-secret", "hunter2")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with servers.s3() as server:
        yield server


@pytest.fixture
def bucket(s3: S3) -> OffsiteFolder:
    """Return an empty folder of an empty bucket."""
    s3.make_bucket()
    return OffsiteFolder(storage.open_storage(f"s3://{servers.BUCKET}/a/folder", s3.options), "a")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OffsiteFolder]:
    """Return an empty folder of an SSH server."""
    if not servers.ssh_works():
        pytest.skip("there is no SSH server here")
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "away").mkdir()
    with servers.ssh(tmp_path / "home") as port:
        options = {"key_filename": str(tmp_path / "home" / ".ssh" / "id_ed25519")}
        url = f"sftp://root@127.0.0.1:{port}{tmp_path}/away"
        yield OffsiteFolder(storage.open_storage(url, options), "a")


@pytest.fixture
def folder(tmp_path: Path) -> OffsiteFolder:
    (tmp_path / "away").mkdir()
    return OffsiteFolder(storage.open_storage(f"file://{tmp_path}/away"), "a")


@pytest.fixture(params=["folder", "bucket", "server"])
def away(request: pytest.FixtureRequest) -> OffsiteFolder:
    """Return a folder of each kind of storage."""
    return cast("OffsiteFolder", request.getfixturevalue(request.param))


@pytest.fixture
def point(tmp_path: Path) -> RestorePoint:
    return restore_points.write(tmp_path / "backups")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    age.make_key(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Return a session of a project that has no restore point yet."""
    for name in ("BACKUP_URL", "BACKUP_URL_OPTIONS", "BACKUP_RECIPIENT"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "project"
    (root / "env").mkdir(parents=True)
    shutil.copyfile(REPOSITORY / "env" / "schema.toml", root / "env" / "schema.toml")
    (root / "pyproject.toml").write_text('[project]\nversion = "1.0"\n')
    return Session(Project(root, "A", "a", "a"), "dev", cast("Engine", Engineless()))


def settle(session: Session, **variables: str) -> OffsiteFolder | None:
    """Write variables into the env file; return where they lead to."""
    lines = [f"{name}='{value}'\n" for name, value in variables.items()]
    session.project.env_file("dev").write_text("".join(lines))
    return copies.configured_offsite(session.project, "dev")


def secret_to(key: Path) -> str:
    return key.read_text().splitlines()[1].rpartition(" ")[2]


def create(session: Session, away: OffsiteFolder | None) -> RestorePoint:
    with change(session.project.root, "backup.create") as made:
        steps = Steps(made, backup_create.STEPS)
        return backup_create.create_restore_point(session, steps, Rows(), "manual", away=away)  # type: ignore[arg-type]


def overwrite(away: OffsiteFolder, name: str, content: bytes) -> None:
    with away.storage.writing(name, len(content)) as file:
        file.write(content)


def stored(away: OffsiteFolder, name: str) -> bytes:
    return b"".join(away.storage.blocks(name))


def fetched(
    away: OffsiteFolder, copy: OffsiteCopy, tmp_path: Path, key: Path | None = None
) -> RestorePoint:
    with restore_point.incoming_file(tmp_path / "elsewhere") as partial:
        away.fetch(copy, partial, key)
        return archive.unpack_archive(partial, tmp_path / "elsewhere")


def test_it_comes_back_as_it_went_away(
    away: OffsiteFolder, point: RestorePoint, tmp_path: Path
) -> None:
    made = away.upload(point)
    (copy,) = away.list_copies().copies
    assert (copy, copy.good, copy.state) == (made, True, point.state)
    assert (copy.id, copy.sequence, copy.series) == (point.id, point.sequence, point.series)
    assert sorted(away.storage.sizes()) == [f"{point.id}.json", f"{point.id}.tar"]
    again = fetched(away, copy, tmp_path)
    assert restore_points.signed(again) == restore_points.signed(point)
    assert restore_point.damaged_files(again) == []
    away.remove(copy)
    assert away.storage.sizes() == {}


def test_encrypted_only_the_key_opens_it(
    away: OffsiteFolder, point: RestorePoint, tmp_path: Path, key: Path
) -> None:
    away.upload(point)
    sealed = replace(away, recipient=secret_to(key))
    sealed.upload(point)
    assert sorted(away.storage.sizes()) == [f"{point.id}.json", f"{point.id}.tar.age"]
    (copy,) = away.list_copies().copies
    assert b"dumped" not in stored(away, copy.file)
    age.make_key(tmp_path / "other")
    for wrong in (None, tmp_path / "other"):
        with pytest.raises(Refused, match=f"{copy.file}(?s:.*)--identity FILE"):
            fetched(away, copy, tmp_path, wrong)
    assert [*(tmp_path / "elsewhere").iterdir()] == []
    assert restore_points.signed(fetched(away, copy, tmp_path, key)) == restore_points.signed(point)


@pytest.mark.parametrize("sealed", [False, True])
def test_what_is_damaged_there_is_told_and_never_used(
    bucket: OffsiteFolder, point: RestorePoint, tmp_path: Path, key: Path, *, sealed: bool
) -> None:
    away = replace(bucket, recipient=secret_to(key) if sealed else "")
    name = away.upload(point).file
    whole = stored(away, name)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    overwrite(away, name, bytes(flipped))
    (copy,) = away.list_copies().copies
    with pytest.raises(Refused, match=f"{name} is damaged"):
        fetched(away, copy, tmp_path, key)
    overwrite(away, name, whole[:-1])
    (cut,) = away.list_copies().copies
    assert (cut.good, cut.state) == (False, "DAMAGED: its archive is truncated")
    with pytest.raises(Refused, match=f"is damaged: it has {len(whole) - 1} bytes"):
        fetched(away, cut, tmp_path, key)
    away.storage.remove(name)
    (gone,) = away.list_copies().copies
    assert (gone.good, gone.state) == (False, "DAMAGED: no archive")
    assert [*(tmp_path / "elsewhere").iterdir()] == []
    assert away.upload(point).good


def test_one_under_the_name_of_another_is_refused(folder: OffsiteFolder, tmp_path: Path) -> None:
    old, new = (restore_points.write(tmp_path / "backups", number) for number in (1, 2))
    copy, newer = folder.upload(old), folder.upload(new)
    overwrite(folder, newer.file, stored(folder, copy.file))
    same = {"bytes": copy.size, "sha256": copy.facts["sha256"]}
    folder.storage.write(f"{new.id}.json", json.dumps({**newer.facts, **same}))
    with pytest.raises(Refused, match=f"is another restore point: {old.id}"):
        fetched(folder, folder.list_copies().copies[-1], tmp_path)
    assert [*(tmp_path / "elsewhere").iterdir()] == []


def test_without_its_facts_there_is_no_copy(away: OffsiteFolder, point: RestorePoint) -> None:
    copy = away.upload(point)
    away.storage.remove(f"{point.id}.json")
    look = away.list_copies()
    assert (look.copies, away.find(point.id)) == ([], None)
    assert look.leftovers({point.id}) == [copy.file]
    assert look.leftovers({"20260101-020000-0000"}) == []
    assert away.upload(point) == copy


def forge_facts(away: OffsiteFolder, point: RestorePoint, **changed: object) -> None:
    name = f"{point.id}.json"
    overwrite(away, name, json.dumps(json.loads(stored(away, name)) | changed).encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sequence", 10**10),
        ("sequence", 10**30),
        ("created_at", "9999-12-31T00:00:00+00:00"),
        ("kind", "\x1b[2J"),
        ("profile", "\x1b[2J"),
        ("engine", 7),
        ("bytes", -1),
        ("bytes", True),
        ("sha256", "\x1b[2J"),
        ("verified", {"at": "\x1b[2J", "how": "x"}),
        ("encrypted", "no"),
        ("project", {}),
    ],
)
def test_facts_that_cannot_be_true_are_no_copy(
    folder: OffsiteFolder, point: RestorePoint, name: str, value: object
) -> None:
    folder.upload(point)
    forge_facts(folder, point, **{name: value})
    look = folder.list_copies()
    assert (look.copies, len(look.unusable)) == ([], 1)
    assert f"{point.id}.json in {folder.shown} cannot be used: it" in look.unusable[0] or (
        "Invalid isoformat" in look.unusable[0]
    )


@pytest.mark.parametrize("name", ["created_at", "sequence"])
def test_a_copy_from_the_future_is_not_the_latest_and_outlives_no_other(
    folder: OffsiteFolder, tmp_path: Path, name: str
) -> None:
    true = restore_points.write(tmp_path / "lost", 1)
    forged = restore_points.write(tmp_path / "lost", 2, restore_points.day(1))
    for point in (true, forged):
        folder.upload(point)
    later = datetime.now(UTC) + timedelta(hours=3)
    value = later.isoformat() if name == "created_at" else int(later.timestamp())
    forge_facts(folder, forged, **{name: value})
    newest = folder.latest(true.series, but="safety")
    assert newest
    assert newest.id == true.id
    plan = catalog.plan_pruning(tmp_path / "here", folder, RetentionPolicy(daily=1))
    assert true.id not in [copy.id for copy in plan.expired_copies]
    assert [copy.state for copy in plan.look.copies][-1] == "no: it is from the future"


def test_more_than_is_free_or_was_announced_is_not_written(
    folder: OffsiteFolder, point: RestorePoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = folder.upload(point)
    endless = repeat(b"x" * 2**20)
    monkeypatch.setattr(storage.Storage, "blocks", lambda *_: iter(endless))
    with pytest.raises(Refused, match=f"is damaged: it has more than {copy.size} bytes"):
        fetched(folder, copy, tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    monkeypatch.setattr(storage.Storage, "blocks", lambda *_: map(pytest.fail, ["it was read"]))
    with pytest.raises(Refused, match=r"No space left on the disk of .* 100 B free"):
        fetched(folder, copy, tmp_path)
    assert [*(tmp_path / "elsewhere").iterdir()] == []


def test_what_is_of_others_is_left_alone(bucket: OffsiteFolder, tmp_path: Path) -> None:
    ours, theirs = (restore_points.write(tmp_path / name) for name in ("ours", "theirs"))
    bucket.upload(ours)
    replace(bucket, project="b").upload(theirs)
    for name in ("notes.txt", "20260101-020000-0000.tar", "x.json"):
        overwrite(bucket, name, b"another's")
    assert replace(bucket, project="renamed").list_copies().leftovers({ours.id, theirs.id}) == []
    broken = "20260101-020000-0001.json"
    said = b'{"id": "20260101-020000-0001"}'
    for text in (b"", b"{", b"[]", said, b"x" * 70_000, b"[" * 60_000):
        overwrite(bucket, broken, text)
        look = bucket.list_copies()
        assert [copy.id for copy in look.copies] == [ours.id]
        assert f"{broken} in s3://backups/a/folder cannot be used" in look.unusable[0]
    before = bucket.storage.sizes()
    plan = catalog.plan_pruning(tmp_path / "ours", bucket, RetentionPolicy(daily=1))
    assert plan.empty
    plan.apply()
    assert bucket.storage.sizes() == before


def interrupted(_: RestorePoint) -> Iterator[bytes]:
    """Give what is to be uploaded, and press Ctrl-C."""
    yield b"x" * 2 * storage.PART
    raise KeyboardInterrupt


def test_interrupted_it_leaves_nothing(
    away: OffsiteFolder, point: RestorePoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "archive_blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        away.upload(point)
    assert away.storage.sizes() == {}


def test_a_second_upload_that_fails_leaves_the_first(
    away: OffsiteFolder, point: RestorePoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = away.upload(point)
    with monkeypatch.context() as patch:
        patch.setattr(archive, "archive_blocks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            away.upload(point)
    (copy,) = away.list_copies().copies
    assert copy == first
    assert restore_points.signed(fetched(away, copy, tmp_path)) == restore_points.signed(point)
    assert len(away.storage.sizes()) == 2
    if (part := away.storage.partial_name(copy.file)) != copy.file:
        overwrite(away, part, b"left by a kill")
        assert away.list_copies().leftovers({point.id}) == [part]


def test_what_the_storage_gives_back_otherwise_does_not_count(
    folder: OffsiteFolder, point: RestorePoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storage.Storage.blocks
    monkeypatch.setattr(
        storage.Storage, "blocks", lambda self, name: (b"x" + it[1:] for it in real(self, name))
    )
    with pytest.raises(Refused, match="reads back differently"):
        folder.upload(point)
    assert folder.storage.sizes() == {}


def test_a_folder_of_this_machine_keeps_it_private(
    folder: OffsiteFolder, point: RestorePoint, tmp_path: Path
) -> None:
    folder.upload(point)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "away").iterdir()}
    assert modes == {0o600}


def refused(away: OffsiteFolder) -> str:
    """Ask a storage that is not right; return what is said of it, which holds no secret."""
    with pytest.raises(Refused) as caught:
        away.list_copies()
    said = str(caught.value)
    assert not [secret for secret in SECRETS if secret in said]
    assert caught.value.__suppress_context__
    return said


def test_a_storage_that_is_away_is_given_up(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    def at(port: int, **more: object) -> OffsiteFolder:
        options = s3.options | {"endpoint_url": f"http://127.0.0.1:{port}"} | more
        return OffsiteFolder(storage.open_storage("s3://backups/x", options), "a")

    assert "s3://backups/x: it does not answer" in refused(at(free_port()))
    url = f"sftp://me:hunter2@127.0.0.1:{free_port()}/x"
    assert "sftp://me:********@127.0.0.1" in refused(OffsiteFolder(storage.open_storage(url), "a"))
    with servers.hanging() as port:
        monkeypatch.setattr(storage, "TRIES", 1)
        short = {"config_kwargs": {"read_timeout": 0.5}}
        assert "it does not answer (ReadTimeoutError" in refused(at(port, **short))
        monkeypatch.setattr(storage, "LONGEST", 0.5)
        assert "it does not answer (TimeoutError: no answer for 0.5 s)" in refused(at(port))


def test_who_is_not_let_in_is_told_so(s3: S3, bucket: OffsiteFolder, server: OffsiteFolder) -> None:
    with s3.strict():
        assert "s3://backups/a/folder: access is denied" in refused(bucket)
    wrong = {"password": "hunter2", "look_for_keys": False, "allow_agent": False}
    assert "Authentication" in refused(
        OffsiteFolder(storage.open_storage(server.storage.url, wrong), "a")
    )


@pytest.mark.parametrize("by", ["options", "environment"])
def test_a_library_that_logs_all_it_does_logs_no_key(
    s3: S3, bucket: OffsiteFolder, by: str
) -> None:
    keys = {name: f"{value}-{by}" for name, value in servers.KEYS.items()}
    where = {"client_kwargs": {"endpoint_url": s3.options["endpoint_url"]}}
    env = IN_PLACE | {"AWS_SESSION_TOKEN": "the-token-of-a-session"}
    if by == "environment":
        env |= {"AWS_ACCESS_KEY_ID": keys["key"], "AWS_SECRET_ACCESS_KEY": keys["secret"]}
    else:
        names = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
        where["client_kwargs"] |= {name: keys[key] for name, key in names.items()}
    done = subprocess.run(
        [sys.executable, "-c", DEBUGGED],
        input=f"{bucket.storage.url}\n{json.dumps(where)}",
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "{}\n"
    assert f"Credential={redaction.MASK}/" in done.stderr
    for secret in (*keys.values(), "the-token-of-a-session"):
        assert secret not in done.stderr


def test_a_server_that_is_not_known_gets_no_password(server: OffsiteFolder, tmp_path: Path) -> None:
    (tmp_path / "home" / ".ssh" / "known_hosts").unlink()
    assert "not found in known_hosts" in refused(server)


def test_a_place_that_is_not_there_is_not_made(
    s3: S3, bucket: OffsiteFolder, folder: OffsiteFolder
) -> None:
    shutil.rmtree(folder.storage.url.removeprefix("file://"))
    assert "it does not exist" in refused(folder)
    other = storage.open_storage("s3://another-bucket/x", s3.options)
    assert "it does not exist" in refused(OffsiteFolder(other, "a"))
    assert bucket.list_copies().copies == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BACKUP_URL", "backups", "'backups' is no URL"),
        ("BACKUP_URL", "s3://", "names no folder"),
        ("BACKUP_URL", "nope://x/y", "nope:// is not supported"),
        ("BACKUP_URL", "simplecache::s3://x/y", "is no URL"),
        ("BACKUP_URL", "gs://bucket/x", "gs:// needs another package"),
        ("BACKUP_URL", "sftp://me:hunter2/x@host/x", "me:[*]+@host/x cannot be read"),
        ("BACKUP_URL_OPTIONS", '{"secret": hunter2}', "is no JSON, from character 11 on"),
        ("BACKUP_URL_OPTIONS", '["hunter2"]', "is no JSON object"),
        ("BACKUP_RECIPIENT", "age1hunter", "is not an age recipient"),
    ],
)
def test_what_is_set_wrong_is_refused_before_anything_is_made(
    session: Session, name: str, value: str, said: str
) -> None:
    usual = {"BACKUP_URL": "s3://bucket/x"}
    with pytest.raises(Refused, match=said) as caught:
        settle(session, **usual | {name: value})
    assert "hunter2" not in str(caught.value)


def test_without_variables_nothing_is_missing_and_nothing_asked(session: Session) -> None:
    settle(session)
    assert copies.configured_offsite(session.project, "dev") is None
    names = [variable.name for variable in values.missing_variables(session.project, "dev")]
    assert not [name for name in names if name.startswith("BACKUP")]
    text = reference.env_file(schema.read(session.project), "dev")
    assert "\n# BACKUP_URL_OPTIONS=\n" in text
    with pytest.raises(Refused, match="BACKUP_URL is not set"):
        copies.open_offsite(session.project, "dev", copies.NAME)


def test_secrets_are_neither_shown_nor_in_a_name(session: Session) -> None:
    url, options = "sftp://me:hunter2@host/x", '{"password": "hunter2"}'
    away = settle(session, BACKUP_URL=url, BACKUP_URL_OPTIONS=options)
    assert away
    shown = {item.name: item.shown for item in values.effective_values(session.project, "dev")}
    assert shown["BACKUP_URL"] == away.shown == "sftp://me:********@host/x"
    assert shown["BACKUP_URL_OPTIONS"] == redaction.MASK
    assert "hunter2" not in repr(away)


def test_a_url_may_write_what_is_special_as_numbers() -> None:
    away = storage.open_storage("sftp://me:hunter%2F2@host/x")
    from slipway.backup.offsite.sftp import VerifiedSFTP  # noqa: PLC0415 - heavy

    said = VerifiedSFTP._get_kwargs_from_urls(away.url)  # noqa: SLF001 - what fsspec calls
    assert (said["username"], said["password"]) == ("me", "hunter/2")


def test_another_server_does_not_get_the_password(session: Session) -> None:
    settle(session, BACKUP_URL="sftp://me@host/x", BACKUP_URL_OPTIONS='{"password": "hunter2"}')
    here = session.project
    assert copies.open_offsite(here, "dev", "sftp://you@host/y").storage.options == {
        "password": "hunter2"
    }
    assert copies.open_offsite(here, "dev", "sftp://me@other/x").storage.options == {}


def test_a_restore_point_is_carried_away_once_it_is_proven(
    session: Session, folder: OffsiteFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    point = create(session, folder)
    (copy,) = folder.list_copies().copies
    assert (copy.id, copy.verified) == (point.id, point.verified)
    assert "  5 offsite    ok" in capsys.readouterr().out
    with change(session.project.root, "backup.create") as made:
        steps = Steps(made, backup_create.STEPS)
        backup_create.create_restore_point(
            session, steps, cast("StackDatabase", Rows()), "manual", prove=False, away=folder
        )
    assert "  5 offsite    skipped" in capsys.readouterr().out
    assert len(folder.list_copies().copies) == 1


def test_an_upload_that_fails_leaves_a_good_restore_point(session: Session, s3: S3) -> None:
    options = s3.options | {"endpoint_url": f"http://127.0.0.1:{free_port()}"}
    away = OffsiteFolder(storage.open_storage("s3://backups/x", options), "a")
    with pytest.raises(StepFailed) as caught:
        create(session, away)
    (point,) = restore_point.list_points(session.project.backups)
    assert point.good
    assert "step 5 (offsite): s3://backups/x: it does not answer" in caught.value.what
    assert f"{point.id} itself is verified" in caught.value.what
    assert caught.value.fix == f"inv backup.export {point.id} --to offsite"
    (last,) = journal.entries(session.project.root)
    assert (last["outcome"], last["step"], last["point"]) == ("failed", "offsite", point.id)
    assert not [secret for secret in SECRETS if secret in json.dumps(last)]


def test_both_places_are_listed_as_one(session: Session, folder: OffsiteFolder) -> None:
    backups_folder = session.project.backups
    both = restore_points.write(backups_folder, 1)
    gone = restore_points.write(backups_folder, 2, restore_points.day(1))
    for point in (both, gone):
        folder.upload(point)
    restore_point.remove_point(gone)
    here = restore_points.write(backups_folder, 3, restore_points.day(2), verified=False)
    found = catalog.read_catalog(backups_folder, folder)
    rows = found.rows()
    assert [(row["id"], row["where"]) for row in rows] == [
        (here.id, "here"),
        (gone.id, "off-site"),
        (both.id, "both"),
    ]
    assert len({tuple(row) for row in rows}) == 1
    facts = [item.facts(asked=found.offsite_known) for item in found.items]
    assert [(item["here"], item["offsite"]) for item in facts] == [
        (True, True),
        (False, True),
        (True, False),
    ]
    assert "where" not in catalog.read_catalog(backups_folder, None).rows()[0]


def test_a_storage_that_does_not_answer_keeps_no_list_back(session: Session, s3: S3) -> None:
    restore_points.write(session.project.backups)
    options = s3.options | {"endpoint_url": f"http://127.0.0.1:{free_port()}"}
    away = OffsiteFolder(storage.open_storage("s3://backups/x", options), "a")
    found = catalog.read_catalog(session.project.backups, away)
    assert [row["where"] for row in found.rows()] == ["here"]
    (line,) = found.warnings(session.project.backups)
    assert line.startswith("The off-site copies are not known: s3://backups/x: it does not answer")
    assert found.items[0].facts(asked=found.offsite_known)["offsite"] is None
    plan = catalog.plan_pruning(session.project.backups, away, RetentionPolicy())
    assert (plan.empty, plan.wrong) == (True, line)


def test_a_machine_without_restore_points_takes_the_newest_verified_one(
    session: Session, bucket: OffsiteFolder, s3: S3, tmp_path: Path, key: Path
) -> None:
    away = replace(bucket, recipient=secret_to(key))
    old, new, safety, other = (
        restore_points.write(tmp_path / "lost", number, restore_points.day(number), **more)  # type: ignore[arg-type]
        for number, more in enumerate([{}, {}, {"kind": "safety"}, {"profile": "prod"}], start=1)
    )
    unproven = restore_points.write(tmp_path / "lost", 5, restore_points.day(5), verified=False)
    for point in (new, old, safety, other, unproven):
        away.upload(point)
    settle(session, BACKUP_URL=away.shown, BACKUP_URL_OPTIONS=json.dumps(s3.options))
    with pytest.raises(Refused, match="only the secret key decrypts it"):
        restore.choose_point(session, "latest")
    assert restore_point.list_points(session.project.backups) == []
    made = restore.choose_point(session, "latest", str(key))
    assert (restore_points.signed(made), made.good) == (restore_points.signed(new), False)
    assert restore.choose_point(session, "latest") == made
    assert restore_points.signed(
        restore.choose_point(session, old.id, str(key))
    ) == restore_points.signed(old)
    url = f"{away.shown}/{safety.id}.tar.age"
    assert restore.choose_point(session, url, str(key)).id == safety.id
    assert restore.choose_point(session, url).id == safety.id
    assert restore_point.next_sequence(session.project.backups) > new.sequence
    with pytest.raises(Refused, match=r"here or in s3://backups/a/folder"):
        restore.choose_point(session, "20260101-020000-0000")
    with pytest.raises(Refused, match=r"there is no restore point 'x'"):
        restore.choose_point(session, "x")
    with pytest.raises(Refused, match=f"{other.id} is only in .*\n  -> inv backup.import"):
        download.refuse_offsite_only(session.project, "dev", other.id)
    said = json.dumps(journal.entries(session.project.root))
    assert not [secret for secret in SECRETS if secret in said]


def test_with_nothing_verified_anywhere_there_is_no_latest(
    session: Session, folder: OffsiteFolder, tmp_path: Path
) -> None:
    settle(session)
    with pytest.raises(Refused, match="profile dev on engine local here\n"):
        restore.choose_point(session, "latest")
    folder.upload(restore_points.write(tmp_path / "lost", verified=False))
    settle(session, BACKUP_URL=folder.shown)
    with pytest.raises(Refused, match="engine local here or in file://"):
        restore.choose_point(session, "latest")


def test_a_file_that_is_encrypted_is_taken_too(
    session: Session, point: RestorePoint, tmp_path: Path, key: Path
) -> None:
    settle(session)
    file = archive.write_archive(point, tmp_path / "carried.tar", secret_to(key))
    assert file == tmp_path / "carried.tar.age"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(Refused, match="only the secret key decrypts it"):
        restore.choose_point(session, str(file))
    assert restore_points.signed(
        restore.choose_point(session, str(file), str(key))
    ) == restore_points.signed(point)
    moved = tmp_path / f"{point.id}.tar.age"
    file.rename(moved)
    assert restore.choose_point(session, str(moved)).id == point.id
    with pytest.raises(Refused, match="exists already"):
        download.import_point(session.project, "dev", f"file://{moved}", str(key))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("file://{}/away", "is not the file of a restore point\n  -> BACKUP_URL="),
        ("file://{}/away/x.tar", "there is no file://"),
        ("file://{}/nowhere/x.tar", "it does not exist"),
    ],
)
def test_a_url_that_leads_to_nothing_is_refused(
    session: Session, folder: OffsiteFolder, tmp_path: Path, url: str, said: str
) -> None:
    settle(session)
    assert folder.list_copies().copies == []
    with pytest.raises(Refused, match=said):
        restore.choose_point(session, url.format(tmp_path))


def test_old_copies_go_by_the_same_policy_and_the_newest_verified_stays(
    bucket: OffsiteFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "backups"
    made = [
        restore_points.write(here, number, restore_points.day(number)) for number in range(1, 5)
    ]
    for point in made:
        bucket.upload(point)
    bucket.storage.remove(f"{made[2].id}.json")  # as an upload leaves it that was killed
    restore_point.remove_point(made[0])
    for point in made[1:]:
        restore_point.mark_verified(point)
    plan = catalog.plan_pruning(here, bucket, RetentionPolicy(daily=1))
    plan.show()
    said = capsys.readouterr().out
    assert said.count("keep: none is verified") == 3
    assert said.count("DELETE") == 3
    assert f"{made[2].id}.tar: DELETE" in said
    assert plan.facts == {"deleted": [], "deleted_offsite": [made[0].id, made[1].id]}
    overwrite(bucket, f"{made[3].id}.tar", b"cut")  # meanwhile
    plan.apply()
    assert [copy.id for copy in bucket.list_copies().copies] == [made[1].id, made[3].id]
    assert len(restore_point.list_points(here)) == 3


def test_what_is_uploaded_takes_little_memory(tmp_path: Path) -> None:
    """Export 60 MB, encrypted, to a storage, under a limit of what a process may grow by."""
    files = {"database/dump": bytes(60_000_000)}
    point = restore_points.write(tmp_path / "backups", files=files)
    (tmp_path / "away").mkdir()
    age.make_key(tmp_path / "key")
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from slipway.backup import restore_point\n"
        "from slipway.backup.offsite import storage\n"
        "from slipway.secret import age\n"
        "from slipway.backup.offsite.copies import OffsiteFolder\n"
        "root = Path(sys.argv[1])\n"
        "away = OffsiteFolder(storage.open_storage(f'file://{root}/away'), 'a', sys.argv[2])\n"
        "(point,) = restore_point.list_points(root / 'backups')\n"
        "age.parse_recipient(sys.argv[2])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "away.upload(point)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess_of(code, str(tmp_path), secret_to(tmp_path / "key"))
    assert int(done) < 40_000, point.id


def subprocess_of(code: str, *arguments: str) -> str:
    import subprocess  # noqa: PLC0415

    command: list[Any] = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=IN_PLACE, check=True, capture_output=True, text=True).stdout


def test_a_disk_that_does_not_take_it_in_the_end_is_told(
    folder: OffsiteFolder, point: RestorePoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(_number: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refusing)
        with pytest.raises(Refused, match="Input/output error"):
            folder.upload(point)
    assert folder.list_copies().copies == []
