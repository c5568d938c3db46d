import csv
import json
from pathlib import Path

import pytest

from ..cache import PREFIX, connect
from ..collect import collect, main
from ..database import make_engine, transaction
from ..observations import key_of, newest
from ..problem import HISTORY, KEY, Observation
from ..settings import Settings, load
from ..shared.rowfiles import RefusedFileError, read
from ..shared.tests.conftest import refused
from .conftest import DATA, example_rows, migrate

ROWS = example_rows(4)


@pytest.fixture
def empty(variables: dict[str, str]) -> Settings:
    del variables
    settings = load(Settings)
    migrate(settings.database_url, "head")
    return settings


def write(folder: Path, rows: list[dict[str, object]], names: list[str] | None = None) -> Path:
    """Write a CSV file of rows."""
    file = folder / "rows.csv"
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, names or list(Observation.model_fields), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return file


def dumped(rows: list[Observation]) -> list[dict[str, object]]:
    return [row.model_dump(mode="json") for row in rows]


def stored(settings: Settings) -> list[Observation]:
    with transaction(make_engine(settings.database_url)) as connection:
        return newest(connection)


def test_the_shipped_file_loads_once_however_often_it_is_loaded(empty: Settings) -> None:
    lines = len(DATA.read_text().splitlines()) - 1
    assert collect(empty, DATA) == {"rows": lines, "inserted": lines, "updated": 0}
    assert collect(empty, DATA) == {"rows": lines, "inserted": 0, "updated": 0}
    assert len(stored(empty)) == lines


def test_rows_are_read_whatever_the_order_of_the_columns(tmp_path: Path) -> None:
    file = write(tmp_path, dumped(ROWS), list(Observation.model_fields)[::-1])
    assert read(file) == ROWS


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    file = write(tmp_path, dumped(ROWS))
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert read(file) == ROWS


def test_one_bad_row_keeps_the_whole_file_out(empty: Settings, tmp_path: Path) -> None:
    rows = dumped(ROWS)
    rows[2][KEY] = "never"
    message = refused(lambda: collect(empty, write(tmp_path, rows)), RefusedFileError)
    assert f"{tmp_path}/rows.csv:4: {KEY}: " in message
    assert "nothing was loaded" in message
    assert stored(empty) == []


def test_every_bad_field_of_every_bad_row_is_named(tmp_path: Path) -> None:
    rows = dumped(ROWS)
    rows[0] = dict.fromkeys(rows[0], "?")
    rows[3][KEY] = ""
    with pytest.raises(RefusedFileError) as caught:
        read(write(tmp_path, rows))
    assert {(one.line, one.column) for one in caught.value.refused} >= {(2, KEY), (5, KEY)}


def test_a_key_that_is_there_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    file = write(tmp_path, dumped([*ROWS, ROWS[1]]))
    expected = f"{file}:6: {KEY}: {key_of(ROWS[1])} is also on line 3"
    assert expected in refused(lambda: read(file), RefusedFileError)


def test_columns_are_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    names = [name for name in Observation.model_fields if name != KEY]
    file.write_text(",".join([*names, "colour"]) + "\n")
    message = refused(lambda: read(file), RefusedFileError)
    assert f"{file}:1: {KEY}: missing column" in message
    assert f"{file}:1: colour: unknown column" in message


def test_a_field_too_many_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, dumped(ROWS))
    file.write_text(file.read_text().replace("\n", ",\n").replace(",\n", "\n", 1))
    assert f"{file}:2: (no name): Extra" in refused(lambda: read(file), RefusedFileError)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'"open\n', None])
def test_what_is_no_table_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "rows.csv"
    if content is not None:
        file.write_bytes(content)
    assert str(file) in refused(lambda: read(file))


def test_a_quote_that_is_never_closed_is_named_by_where_its_row_begins(tmp_path: Path) -> None:
    file = write(tmp_path, dumped(ROWS))
    lines = file.read_text().splitlines()
    lines[3] = f'"{lines[3]}'
    file.write_text("\n".join(lines))
    assert "in the row starting on line 4; is a quote not closed?" in refused(lambda: read(file))
    lines[0] = f'"{lines[0]}'
    file.write_text("\n".join(lines[:3]))
    assert "in the row starting on line 1;" in refused(lambda: read(file))


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    assert "rows.csv has no rows" in refused(lambda: read(write(tmp_path, [])))


def test_a_message_does_not_name_a_thousand_rows(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [dict.fromkeys(Observation.model_fields, "?")] * 1000
    message = refused(lambda: read(write(tmp_path, rows)), RefusedFileError)
    assert len(message.splitlines()) == 22
    assert message.splitlines()[-1].endswith("more")


@pytest.mark.skipif(HISTORY == 1, reason="a history of one row has no gap")
def test_a_gap_that_allows_no_forecast_is_a_warning(
    empty: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = example_rows(HISTORY + 1)
    collect(empty, write(tmp_path, dumped([*rows[:-2], rows[-1]])))
    warning = capsys.readouterr().err.splitlines()[-1]
    assert warning.startswith("warning: the newest rows cannot be used for a forecast: ")
    assert warning.endswith(f"there is none of {key_of(rows[-2])}")
    collect(empty, write(tmp_path, dumped(rows)))
    assert "warning" not in capsys.readouterr().err


def test_new_rows_drop_the_predictions_that_were_kept(empty: Settings, tmp_path: Path) -> None:
    redis, file = connect(empty.redis_url), write(tmp_path, dumped(ROWS))
    redis.set(f"{PREFIX}test", "old")
    redis.set("other", "kept")
    collect(empty, file)
    assert (redis.get(f"{PREFIX}test"), redis.get("other")) == (None, "kept")
    redis.set(f"{PREFIX}test", "new")
    collect(empty, file)
    assert redis.get(f"{PREFIX}test") == "new"


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr("sys.argv", ["collect", *options])
    main()


def test_the_command_counts_as_json(
    empty: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    del empty
    file = write(tmp_path, dumped(ROWS))
    run(monkeypatch, "--file", str(file), "--json")
    counts = json.loads(capsys.readouterr().out)
    assert counts == {"file": str(file), "rows": 4, "inserted": 4, "updated": 0, "refused": []}


def test_the_command_names_refused_rows_as_json(
    empty: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    del empty
    file = write(tmp_path, dumped([ROWS[0], ROWS[0]]))
    with pytest.raises(RefusedFileError):
        run(monkeypatch, "--file", str(file), "--json")
    refusals = json.loads(capsys.readouterr().out)["refused"]
    assert [(one["file"], one["line"], one["column"]) for one in refusals] == [(str(file), 3, KEY)]
