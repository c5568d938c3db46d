"""Restore points of a real SQLite database, as they are typed; nothing has to run for them."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from slipway.backup import restore_point
from slipway.stack import hooks
from tests.models.test_registry import write
from tests.support.copies import Copy
from tests.support.user_hooks import add_hook, handed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slipway.backup.restore_point import RestorePoint

STRANGE = "Zürich 東京 \U0001f327 'quoted' \"twice\" \\ \r\n\t"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Return a repository with a database and models, of which nothing runs."""
    made = Copy(tmp_path_factory.mktemp("backups") / "repository", SLIPWAY_ENGINE="local")
    made.inv("env.init")
    said = made.inv("backup.create", code=1)
    assert "there is no database" in said
    assert "-> inv deploy.up" in said
    assert not restore_point.list_partials(made.root / "backups")
    made.inv("db.migrate")
    with database(made) as sql:
        sql.executescript(
            "CREATE TABLE types (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT, b BLOB, r REAL, n);"
            "CREATE TABLE credit (id INTEGER PRIMARY KEY, amount INTEGER);"
            "CREATE TABLE debit (id INTEGER PRIMARY KEY, amount INTEGER);"
        )
        row = (STRANGE, bytes(range(256)), 0.1 + 0.2, None)
        sql.execute("INSERT INTO types (t, b, r, n) VALUES (?, ?, ?, ?)", row)
        sql.commit()
    write(made.root / "models", "tier1", "v1.0", current=True)
    return made


@contextmanager
def database(copy: Copy, path: Path | None = None) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path or copy.root / "data" / "app.db", timeout=30)) as sql:
        yield sql


def create(copy: Copy, *options: str) -> str:
    """Make a restore point, and return its id."""
    said = copy.inv("backup.create", *options)
    (id_,) = re.findall(rf"Restore point ({restore_point.ID.pattern})", said)
    return str(id_)


def known(copy: Copy) -> list[RestorePoint]:
    return restore_point.list_points(copy.root / "backups")


def test_a_point_is_made_proven_listed_and_known_to_the_doctor(copy: Copy) -> None:
    assert "backups   warn" in _doctor(copy)
    id_ = create(copy)
    (said,) = json.loads(copy.inv("backup.list", "--json"))
    assert (said["id"], said["kind"], said["missing"]) == (id_, "manual", [])
    assert said["verified"]["how"] == "when it was made"
    assert said["database"]["tables"]["types"]["rows"] == 1
    assert said["database"]["migration"]
    assert f"backups   ok     newest verified restore point: {id_}" in _doctor(copy)
    shown = copy.inv("backup.list")
    assert id_ in shown
    assert "tier1_v1.0" in shown


def _doctor(copy: Copy) -> str:
    lines = copy.inv("doctor").splitlines()
    return "\n".join(line for line in lines if line.startswith("backups"))


@pytest.mark.parametrize("kind", ["manual", "scheduled"])
def test_a_hook_is_handed_what_was_made(copy: Copy, kind: str) -> None:
    add_hook(copy.root, hooks.POST_BACKUP)
    id_ = create(copy, f"--kind={kind}")
    entry = handed(copy.root, hooks.POST_BACKUP)
    assert (entry["verb"], entry["outcome"], entry["kind"]) == ("backup.create", "done", kind)
    assert entry["point"] == id_


def test_what_is_odd_comes_out_as_it_went_in(copy: Copy) -> None:
    folder = copy.root / "backups" / create(copy) / "database"
    (dump,) = folder.iterdir()
    with database(copy, dump) as sql:
        row = sql.execute("SELECT t, b, r, n FROM types").fetchone()
    assert row == (STRANGE, bytes(range(256)), 0.1 + 0.2, None)


def test_while_others_write_it_is_one_snapshot(copy: Copy) -> None:
    over = threading.Event()

    def transfer() -> None:
        with database(copy) as sql:
            while not over.is_set():
                with sql:
                    sql.execute("INSERT INTO credit (amount) VALUES (7)")
                    sql.execute("INSERT INTO debit (amount) VALUES (-7)")

    writer = threading.Thread(target=transfer)
    writer.start()
    try:
        made = [create(copy) for _ in range(2)]
    finally:
        over.set()
        writer.join()
    for id_ in made:
        (dump,) = (copy.root / "backups" / id_ / "database").iterdir()
        with database(copy, dump) as sql:
            credit, debit = (
                sql.execute(f"SELECT count(*), sum(amount) FROM {name}").fetchone()
                for name in ("credit", "debit")
            )
        assert (credit[0], credit[1]) == (debit[0], -debit[1])


def test_a_damaged_dump_is_found_and_is_not_verified_any_more(copy: Copy) -> None:
    id_ = create(copy)
    (dump,) = (copy.root / "backups" / id_ / "database").iterdir()
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.write_bytes(content)
    said = copy.inv("backup.verify", id_, code=1)
    assert f"step 1 (files): restore point {id_} is damaged: database/" in said
    assert known(copy)[-1].verified is None
    assert "is damaged" in copy.inv("backup.export", id_, "--to=x.tar", code=1)
    assert not (copy.root / "x.tar").exists()
    restore_point.remove_point(known(copy)[-1])


def test_what_was_not_proven_can_be_later(copy: Copy) -> None:
    create(copy, "--no-verify", "--kind=scheduled")
    made = known(copy)[-1]
    assert (made.verified, made.kind) == (None, "scheduled")
    assert f"{len(known(copy))} verified" in copy.inv("backup.verify", "all")
    assert (known(copy)[-1].verified or {})["how"] == "backup.verify"


def test_carried_to_another_machine_it_is_verified_there(copy: Copy, tmp_path: Path) -> None:
    id_ = create(copy)
    file = tmp_path / "carried.tar"
    assert "read back and intact" in copy.inv("backup.export", id_, f"--to={file}")
    assert "exists already" in copy.inv("backup.export", id_, f"--to={file}", code=2)
    assert f"{id_} exists already" in copy.inv("backup.import", str(file), code=2)
    other = Copy(tmp_path / "other", SLIPWAY_ENGINE="local")
    other.inv("env.init")
    assert f"Next: inv backup.verify {id_}" in other.inv("backup.import", str(file))
    assert "1 verified" in other.inv("backup.verify", id_)
    assert not (other.root / "data" / "app.db").exists()


def test_it_is_carried_off_site_encrypted_and_comes_back(
    copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, away = tmp_path / "key", tmp_path / "away"
    away.mkdir()
    made = copy.inv("backup.keygen", f"--to={key}")
    monkeypatch.setitem(copy.environment, "BACKUP_URL", f"file://{away}")
    (recipient,) = re.findall("BACKUP_RECIPIENT=(age1.*)", made)
    monkeypatch.setitem(copy.environment, "BACKUP_RECIPIENT", recipient)
    id_ = create(copy)
    assert sorted(path.name for path in away.iterdir()) == [f"{id_}.json", f"{id_}.tar.age"]
    restore_point.remove_point(known(copy)[-1])
    listed = json.loads(copy.inv("backup.list", "--json"))
    assert (listed[0]["id"], listed[0]["here"], listed[0]["offsite"]) == (id_, False, True)
    copy.inv("backup.import", id_, f"--identity={key}")
    assert known(copy)[-1].id == id_
    (away / f"{id_}.json").unlink()
    assert "encrypted for age1" in copy.inv("backup.export", id_, "--to=offsite")
    away.rename(tmp_path / "gone")
    assert "itself is verified\n  -> inv backup.export" in copy.inv("backup.create", code=1)
    assert "The off-site copies are not known" in copy.inv("backup.list")
    said = copy.inv("backup.prune", "--daily=1", "--yes", code=1)
    assert "off-site copies were not pruned" in said
    monkeypatch.setitem(copy.environment, "BACKUP_URL", "nope://x/y")
    before = known(copy)
    assert "nope:// is not supported" in copy.inv("backup.create", code=2)
    assert known(copy) == before


def test_old_points_go_and_the_newest_verified_stays(copy: Copy) -> None:
    good = create(copy)
    bad = create(copy, "--no-verify")
    left, _ = restore_point.begin_point(copy.root / "backups")
    before = known(copy)
    said = copy.inv("backup.prune", "--daily=1", "--dry-run")
    assert f"{left.name}: DELETE" in said
    assert "No one is there to answer" in copy.inv("backup.prune", "--daily=1", code=1)
    assert known(copy) == before
    assert "Deleted" in copy.inv("backup.prune", "--daily=1", "--yes")
    unproven = [point.id for point in before if point.imported]
    assert [point.id for point in known(copy)] == [*unproven, good, bad]
    assert "Nothing to delete" in copy.inv("backup.prune", "--daily=1")
    assert not left.exists()
    assert "is not a whole number" in copy.inv("backup.prune", "--daily=-1", code=2)


def test_what_is_not_there_is_said(copy: Copy) -> None:
    assert "there is no restore point 'x'" in copy.inv("backup.verify", "x", code=2)
    said = copy.inv("backup.verify", "all", "--profile=prod", code=1)
    assert "prod" in said
    assert "there is no kind 'x'" in copy.inv("backup.create", "--kind=x", code=2)
