"""services/api/recovery.md of a bake, followed to the letter after each of the three losses."""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Bake
from tests.template.test_your_model import Reader

NO_COMMANDS = re.compile(r"^```text\n.*?^```", re.DOTALL | re.MULTILINE)
CRON = re.compile(r"^0 2 \* \* \* (.*)$", re.MULTILINE)


@pytest.fixture
def reader(bake: Bake, tools: Path, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(bake(), tools)
    reader.variables["HOME"] = str(tmp_path)
    yield reader
    reader.type("inv deploy.down")


def sections(project: Path) -> dict[str, str]:
    """Return what is to be typed, by heading."""
    page = (project / "services" / "api" / "recovery.md").read_text(encoding="utf-8")
    _, *parts = re.split(r"^## ", page, flags=re.MULTILINE)
    return {part.partition("\n")[0]: NO_COMMANDS.sub("", part) for part in parts}


def rows(project: Path) -> int:
    with closing(sqlite3.connect(project / "data" / "app.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM observations").fetchone()[0])


def test_the_page_of_the_recovery_can_be_followed(reader: Reader) -> None:
    before, drill, database, model, machine = sections(reader.project).values()
    reader.type("inv deploy.up")
    held = rows(reader.project)
    reader.follow(before)
    copies = {path.suffix for path in Path(reader.variables["HOME"], "off-site").iterdir()}
    assert copies == {".age", ".json"}
    reader.follow(drill)
    assert "took" in reader.type("inv backup.list").splitlines()[-1]

    for path in (reader.project / "data").glob("app.db*"):
        path.unlink()
    reader.follow(database)
    assert rows(reader.project) == held

    lost = (reader.project / "models" / "tier1_current.onnx").resolve()
    content = lost.read_bytes()
    lost.write_bytes(content[:1000])
    reader.follow(model)
    assert lost.read_bytes() == content

    reader.type("inv deploy.down")
    for name in ("data", "models", "backups", "run", "journal.jsonl", ".env.dev"):
        path = reader.project / name
        if name == "data":
            for file in path.glob("*.db*"):
                file.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    reader.follow(machine)
    assert rows(reader.project) == held
    assert lost.read_bytes() == content


def test_the_line_for_cron_can_be_typed(reader: Reader) -> None:
    reader.type("inv env.init && inv db.migrate")
    (line,) = CRON.findall(reader.type("inv backup.schedule --cron"))
    reader.type(line)
    log = (reader.project / "run" / "backup.log").read_text(encoding="utf-8")
    assert "Restore point" in log
    assert "done, " in reader.type("inv backup.schedule")
