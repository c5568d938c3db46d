"""Every tool is asked for real: what is written, all of them read alike."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from unittest import mock

import pytest
from dotenv import dotenv_values
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from pydantic_settings import BaseSettings

from slipway.config import envfile
from slipway.config.envfile import UnwritableError
from slipway.core.errors import Refused

set_hypothesis_home_dir(Path(tempfile.gettempdir(), f"hypothesis-{os.getuid()}"))

AWKWARD = [
    "$", "${X}", "$X", "$$", "#", " #", "'", '"', "\\", "\\\\", "\\n", "\n", "\t", " ", "=", "`id`",
    "$(id)", "!", "~", "*", "{a,b}", ";", "&", "|", "(", ")", "<", ">", "%", "é", "日本", "🙂",
    "\x85", "\u2028", "\ufeff", "\x00", "\x07", "\x1b[1m", "\r", "\x7f", "a", "X", "export ",
    "-", ":",
]  # fmt: skip
TEXTS = st.one_of(st.lists(st.sampled_from(AWKWARD), max_size=8).map("".join), st.text(max_size=20))
NAMES = [f"V{number}" for number in range(20)]
MANY = st.lists(TEXTS, min_size=10, max_size=len(NAMES))
STATEMENTS = st.lists(
    st.tuples(
        st.sampled_from(["", "", "export ", " ", "\n"]),
        st.sampled_from(["=", "=", "=", " = ", "= "]),
        st.sampled_from(["", "'", '"']),
        st.lists(st.sampled_from([text for text in AWKWARD if text not in "\x00\r"])).map("".join),
        st.sampled_from(["", "", " ", " # why", "#", "\t# why"]),
    ),
    min_size=10,
    max_size=len(NAMES),
)
QUICK = settings(
    max_examples=15,
    deadline=None,
    database=None,  # nothing is left behind in the repository
    phases=[Phase.explicit, Phase.generate],  # every example asks docker compose: no shrinking
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@cache
def compose_is_there() -> bool:
    """Say whether docker compose can be asked; where it must be, its absence is a failure."""
    there = (
        shutil.which("docker")
        and not subprocess.run(
            ["docker", "compose", "version"],
            capture_output=True,
            check=False,
            timeout=30,
        ).returncode
    )
    assert there or os.environ.get("REQUIRE_ENGINE") != "1", "there is no docker compose"
    return bool(there)


def clean(**more: str) -> dict[str, str]:
    """Return an environment that holds none of the variables."""
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | more


def in_a_shell(path: Path) -> dict[str, str]:
    script = 'set -a; . "$1"; exec env -0'
    command = ["sh", "-c", script, "sh", str(path)]
    done = subprocess.run(command, env=clean(), capture_output=True, check=True, timeout=30)
    pairs = (pair.partition("=") for pair in done.stdout.decode("utf-8").split("\0"))
    return {name: value for name, _, value in pairs if name in NAMES}


def in_compose(path: Path, names: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return what compose fills in from `--env-file`, and what it hands on from `env_file:`."""
    filled = {f"FILLED_{name}": f"${{{name}-unset}}" for name in names}
    services = {
        "filled": {"image": "x", "environment": filled},
        "handed": {"image": "x", "env_file": [str(path)]},
    }
    file = path.with_name("compose.yaml")
    file.write_text(json.dumps({"services": services}))
    command = ["docker", "compose", "--project-name", "x", "--env-file", str(path)]
    command += ["--file", str(file), "config", "--format", "json"]
    done = subprocess.run(command, env=clean(), capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)["services"]
    one, two = (
        {name: text.replace("$$", "$") for name, text in found[kind].get("environment", {}).items()}
        for kind in ("filled", "handed")
    )
    return {name.removeprefix("FILLED_"): value for name, value in one.items()}, two


def in_the_application(values: dict[str, str]) -> dict[str, str]:
    fields = {"__annotations__": dict.fromkeys(map(str.lower, values), str)}
    kind = type("Application", (BaseSettings,), fields)
    with mock.patch.dict(os.environ, values):
        return {name.upper(): value for name, value in kind().model_dump().items()}


def check_every_reader(text: str, expected: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, ".env")
        path.write_text(text, encoding="utf-8", newline="\n")
        assert envfile.read(path).values == expected
        assert dotenv_values(path, interpolate=False) == expected
        with mock.patch.dict(os.environ, {"X": "filled in"}):
            assert dotenv_values(path) == expected
        assert in_a_shell(path) == expected
        assert in_the_application(in_a_shell(path)) == expected
        if compose_is_there():
            assert in_compose(path, list(expected)) == (expected, expected)


def written(values: list[str]) -> dict[str, str]:
    """Return what can be written of the values."""
    kept = {}
    for name, value in zip(NAMES, values, strict=False):
        with suppress(UnwritableError):
            envfile.quoted(value)
            kept[name] = value
    return kept


@QUICK
@given(MANY)
@example(["it's", 'say "it\'s"', "a\\\\b'", "#", " a ", "a\nb\n", "\\", "pa$word", "\\n", ""] * 2)
def test_what_is_written_reads_alike_everywhere_or_is_refused(values: list[str]) -> None:
    kept = written(values)
    text = "".join(f"{envfile.line(name, value)}\n" for name, value in kept.items())
    check_every_reader(text, kept)
    assert not any(line.problem for line in envfile.parsed(text).lines)


@QUICK
@given(STATEMENTS)
@example([(" ", "=", "'", "", " "), ("", "= ", "", "\nexport  #'", "#")])
def test_what_people_write_reads_alike_everywhere_where_nothing_is_said_of_it(
    statements: list[tuple[str, str, str, str, str]],
) -> None:
    expected: dict[str, str] = {}
    text = ""
    for name, (before, sign, quote, value, after) in zip(NAMES, statements, strict=False):
        statement = f"{before}{name}{sign}{quote}{value}{quote}{after}\n"
        found = envfile.parsed(statement)
        if not found.problems and [one.problem for one in found.lines] == [""]:
            expected |= found.values
            text += statement
    check_every_reader(text, expected)


def test_docker_compose_was_among_the_readers() -> None:
    if not compose_is_there():
        pytest.skip("no docker compose to read env files with: the others have")


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("", "V="),
        ("postgresql+psycopg://app:x@db:5432/app", "V=postgresql+psycopg://app:x@db:5432/app"),
        ("two words", "V='two words'"),
        ("pa$word", "V='pa$word'"),
        ('say "hi"', "V='say \"hi\"'"),
        ("back\\slash", "V='back\\slash'"),
        ("it's", 'V="it\'s"'),
        ('it\'s "so" \\', 'V="it\'s \\"so\\" \\\\"'),
        ("two\nlines", "V='two\nlines'"),
    ],
)
def test_a_value_is_quoted_as_little_as_needed(value: str, line: str) -> None:
    assert envfile.line("V", value) == line


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("a${b}", r"`\$\{`.* %24"),
        ("it's $5", "a single quote and `\\$`.* choose a value without one of the two"),
        ("it's `id`", "a single quote and a backtick"),
        ("\\\\ $", "backslashes and `\\$`"),
        ("\x00", r"U\+0000.* remove it"),
        ("a\rb", r"U\+000D"),
        ("\x1b[1m", r"U\+001B"),
        ("\ud800", r"U\+D800"),
    ],
)
def test_what_cannot_be_written_is_refused_in_words(value: str, said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        envfile.line("SECRET", value)
    assert "SECRET" in refused.value.what
    assert value not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "number", "said"),
    [
        ("V=pa$word", 1, "single quotes"),
        ("\n# why\nV = x", 3, "without spaces around =, the value without quotes"),
        ("A=1\nV=a b", 2, "single quotes"),
        ('V="a\\nb"', 1, "single quotes"),
        ("V='${X}'", 1, "python-dotenv"),
        ("V=a\t# why", 1, "without quotes"),
        ("V= # why", 1, "without quotes"),
        ("V='a'#b", 1, "without quotes"),
        ("V", 1, "sets nothing: write V= and a value"),
        ("V='a", 1, "cannot be read: write NAME=value"),
        ("export #", 1, "cannot be read: write NAME=value"),
        ("\ufeffV=a", 1, "byte order mark"),
        ("V=a\r\n", 1, "Windows line ends"),
    ],
)
def test_a_line_that_tools_read_differently_is_found(text: str, number: int, said: str) -> None:
    file = envfile.parsed(text)
    (found,) = [line for line in [*file.problems, *file.lines] if line.problem]
    assert found.number == number
    assert said in found.problem


@pytest.mark.parametrize(
    "text",
    ["# why\n\nV=x", "export V=x", "V=x # why", "V='a # b' # why", 'V="it\'s"', "V=a:b/c=d@e"],
)
def test_a_line_that_all_tools_read_alike_is_left_alone(text: str) -> None:
    file = envfile.parsed(text)
    assert [*file.problems, *(line.problem for line in file.lines)] == [""]


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"V=\xff")
    with pytest.raises(Refused, match="UTF-8"):
        envfile.read(path)
    assert envfile.read(tmp_path / "none").values == {}


def test_a_new_file_is_private_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert envfile.create(path, "V=1\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not envfile.create(path, "V=2\n")
    assert (path.read_text(), [*tmp_path.iterdir()]) == ("V=1\n", [path])


FILE = """\
# Values.
A=1

# About B.
# B=old
export C='3' # why

D="4" # note
 E=5
D='again'
# F=
last=x"""


def change(path: Path, text: str, **values: str | None) -> str:
    path.write_bytes(text.encode())
    envfile.set_variables(path, values)
    return path.read_bytes().decode()


@pytest.mark.parametrize(
    ("values", "old", "new"),
    [
        ({"A": "2"}, "A=1", "A=2"),
        ({"A": None}, "A=1\n", ""),
        ({"B": "it's"}, "# B=old", 'B="it\'s"'),
        ({"B": None}, "# B=old", "# B=old"),
        ({"C": "two words"}, "'3'", "'two words'"),
        ({"C": ""}, "'3' # why", ""),
        ({"D": "5"}, "D=\"4\" # note\n E=5\nD='again'", " E=5\nD=5"),
        ({"D": None}, "D=\"4\" # note\n E=5\nD='again'\n", " E=5\n"),
        ({"E": None}, " E=5\n", ""),
        ({"F": "x", "last": "y"}, "# F=\nlast=x", "F=x\nlast=y\n"),
        ({"G": "new", "A": "2"}, "last=x", "last=x\nG=new\n"),
    ],
)
def test_only_what_is_changed_changes(
    tmp_path: Path, values: dict[str, str | None], old: str, new: str
) -> None:
    expected = FILE.replace(old, new)
    if "A" in values and "G" in values:
        expected = expected.replace("A=1", "A=2")
    assert change(tmp_path / ".env", FILE, **values) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "V=x\n"),
        ("A=1", "A=1\nV=x\n"),
        ("V\nA=1\n", "V=x\nA=1\n"),
        ("V=1\r\nA=1\r\n", "V=x\r\nA=1\r\n"),
        ("\ufeffV=1\n", "\ufeffV=x\n"),
        ("V='one\ntwo'\n\nA=1", "V=x\n\nA=1"),
        ("A='one\n# V=\n'\n", "A='one\n# V=\n'\nV=x\n"),
        ("#V=1\n# V=2\n", "V=x\n# V=2\n"),
        ("# V=2\nV=3\n", "# V=2\nV=x\n"),
    ],
)
def test_a_variable_is_set_wherever_it_stands(tmp_path: Path, text: str, expected: str) -> None:
    assert change(tmp_path / ".env", text, V="x") == expected


@QUICK
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), TEXTS), max_size=len(NAMES)),
    STATEMENTS,
    st.dictionaries(st.sampled_from(NAMES), st.none() | TEXTS, max_size=5),
)
def test_all_others_read_the_same_before_and_after(
    pairs: list[tuple[str, str]],
    statements: list[tuple[str, str, str, str, str]],
    values: dict[str, str | None],
) -> None:
    """Each line of what people write is put between those of what is written here."""
    lines = [f"{name}={'x' * len(value)}\n# {name}=\n\n" for name, value in pairs]
    for name, (before, sign, quote, value, after) in zip(NAMES, statements, strict=False):
        lines.append(f"{before}{name}{sign}{quote}{value}{quote}{after}\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, ".env")
        path.write_text("".join(lines), encoding="utf-8", newline="\n")
        old = envfile.read(path)
        try:
            envfile.set_variables(path, values)
        except Refused:
            assert envfile.read(path) == old
            unreadable = any("cannot be read" in one.problem for one in old.problems)
            assert unreadable or unwritable(values)
            return
        given = {name: value for name, value in values.items() if value is not None}
        others = [line for line in old.lines if line.name not in values]
        found = envfile.read(path)
        assert found.values == {line.name: line.value for line in others} | given
        kept = [line for line in found.lines if line.name not in values]
        assert [(one.name, one.value, one.problem) for one in kept] == [
            (one.name, one.value, one.problem) for one in others
        ]
        assert len(found.lines) == len(others) + len(given)


def unwritable(values: dict[str, str | None]) -> bool:
    wanted = [value for value in values.values() if value is not None]
    return len(written(wanted)) < len(wanted)


@QUICK
@given(MANY, st.dictionaries(st.sampled_from(NAMES), st.none() | TEXTS, max_size=5))
def test_what_was_changed_reads_alike_everywhere(
    values: list[str], changes: dict[str, str | None]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, held = Path(folder, ".env"), written(values)
        lines = [f"{envfile.line(name, value)}\n# {name}=\n" for name, value in held.items()]
        path.write_text("".join(lines), encoding="utf-8", newline="\n")
        for name, value in changes.items():
            with suppress(Refused):
                envfile.set_variables(path, {name: value})
                held.pop(name, None)
                held |= {} if value is None else {name: value}
        check_every_reader(path.read_text(encoding="utf-8"), held)


def test_a_changed_file_is_private_whole_and_where_it_was(tmp_path: Path) -> None:
    path, link = tmp_path / "there", tmp_path / ".env"
    path.write_text("V=1\n")
    path.chmod(0o644)
    link.symlink_to(path)
    envfile.set_variables(link, {"V": "2"})
    assert link.is_symlink()
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("V=2\n", 0o600)
    assert {*tmp_path.iterdir()} == {path, link}


@pytest.mark.skipif(os.getuid() != 0, reason="only root changes another's file")
def test_a_changed_file_stays_its_owners(tmp_path: Path) -> None:
    path, new = tmp_path / ".env", tmp_path / "new"
    path.write_text("V=1\n")
    os.chown(path, 12345, 23456)
    os.chown(tmp_path, 34567, 45678)
    for one in (path, new):
        envfile.set_variables(one, {"V": "2"})
    owners = [(one.stat().st_uid, one.stat().st_gid) for one in (path, new)]
    assert owners == [(12345, 23456), (34567, 45678)]


@pytest.mark.parametrize(
    ("text", "value", "said"),
    [
        ("V=1\n", "it's $5", "the value of V holds a single quote and `\\$`"),
        ("A='1\n", "it is", "cannot be read, so that nothing can be changed"),
        ("V=\udcff", "x", "cannot be read as UTF-8"),
    ],
)
def test_what_cannot_be_changed_stays(tmp_path: Path, text: str, value: str, said: str) -> None:
    path = tmp_path / ".env"
    before = text.encode(errors="surrogateescape")
    path.write_bytes(before)
    with pytest.raises(Refused, match=said):
        envfile.set_variables(path, {"V": value})
    assert (path.read_bytes(), [*tmp_path.iterdir()]) == (before, [path])


def test_nothing_is_lost_when_the_disk_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".env"
    path.write_text("V=1\n")

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        envfile.set_variables(path, {"V": "2"})
    assert (path.read_text(), [*tmp_path.iterdir()]) == ("V=1\n", [path])
