from __future__ import annotations

import base64
import io
import json
import secrets
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape, quoteattr

import pytest

from slipway.core import journal, redaction
from slipway.core.errors import Refused
from slipway.core.redaction import MASK, Filter, mask_stream, masked, remember_secrets
from slipway.core.transaction import change, noted_change
from tests.support.scratch import IN_PLACE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scratch import Scratch

AWKWARD = "a$b'c\"d e\\f%g/h+i=j#k&l<m>ö"
LINES = "-----BEGIN KEY-----\nfirst line of it\nsecond line of it\n-----END KEY-----"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test begin with no secret, and take back what it put before the streams."""
    monkeypatch.setattr(redaction, "_forms", [])
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)


def test_a_value_is_masked_wherever_it_stands() -> None:
    value = secrets.token_urlsafe(32)
    assert masked(value) == value
    remember_secrets([value])
    assert masked(f"before {value}, {value}after") == f"before {MASK}, {MASK}after"
    assert masked("nothing in it") == "nothing in it"


@pytest.mark.parametrize("value", [AWKWARD, LINES, "plain-and-simple"])
def test_a_value_is_masked_however_it_is_written(value: str) -> None:
    remember_secrets([value])
    for text in (
        value,
        quote(value),
        quote(value, safe=""),
        quote_plus(value),
        json.dumps(value),
        json.dumps(value, ensure_ascii=False),
        json.dumps(json.dumps({"key": value})),
        repr(value),
        str(ValueError({"key": value})),
        shlex.quote(value),
        escape(value),
        quoteattr(value),
        value.replace("$", "$$"),
    ):
        said = masked(f"<{text}>")
        assert MASK in said
        assert all(part not in said for part in ("f%g", "f%25g", "first", "second", "simple"))


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "user:"])
@pytest.mark.parametrize("after", ["", "\n", "12", "@host"])
def test_a_value_is_masked_in_base64_whatever_is_around_it(before: str, after: str) -> None:
    value = "\xff\xfe~~a value of some length~~\xff"
    remember_secrets([value])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        said = masked(encode(f"{before}{value}{after}".encode()).decode())
        assert MASK in said
        around = len(before.encode()) + len(after.encode())
        assert len(said.replace(MASK, "")) <= around * 8 / 6 + 6


def test_each_line_of_a_value_is_one_but_what_every_key_begins_with_is_not() -> None:
    remember_secrets([LINES])
    assert masked("log: first line of it") == f"log: {MASK}"
    assert masked("-----BEGIN KEY-----") == "-----BEGIN KEY-----"


def test_what_in_a_value_is_secret_is_so_by_itself() -> None:
    remember_secrets(["postgresql://app:p%40ss-word@host/app"])
    assert masked("p%40ss-word p@ss-word host") == f"{MASK} {MASK} host"
    remember_secrets(["2026-11-22T16:00:00Z/the key before"])
    assert masked("2026-11-22T16:00:00Z the key before") == f"2026-11-22T16:00:00Z {MASK}"
    credentials = {"secret": "secret-of-it", "endpoint_url": "http://127.0.0.1:9000", "retries": 3}
    remember_secrets([json.dumps(credentials), "{no json", "{}", '{"a":' * 100_000])
    assert masked("http://127.0.0.1:9000 secret-of-it") == f"http://127.0.0.1:9000 {MASK}"
    remember_secrets([json.dumps({"client": [{"aws_access_key_id": "the-id-of-it"}]})])
    assert masked("Credential=the-id-of-it/20261122") == f"Credential={MASK}/20261122"


def test_what_is_short_or_printed_anyway_is_left_alone() -> None:
    remember_secrets(["seven77", "postgres", "", "12345678"])
    assert masked("seven77 postgres 12345678") == f"seven77 postgres {MASK}"


def test_a_value_that_holds_another_is_masked_as_one() -> None:
    remember_secrets(["inner-secret", "outer-inner-secret-outer"])
    assert masked("outer-inner-secret-outer inner-secret") == f"{MASK} {MASK}"


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_a_value_that_comes_in_pieces_is_masked(size: int) -> None:
    remember_secrets([AWKWARD, LINES, "aaaaaaaab"])
    text = f"one\n{AWKWARD}{AWKWARD}two\n{LINES}\naaaaaaaaab aaaaaaaa"
    sieve = Filter()
    pieces = [sieve.feed(text[at : at + size]) for at in range(0, len(text), size)]
    said = "".join([*pieces, sieve.rest()])
    assert said.startswith(f"one\n{MASK}{MASK}two\n")
    assert said.endswith(f"\na{MASK} aaaaaaaa")
    for part in ("f%g", "first", "second"):
        assert part not in said


def test_what_cannot_be_a_value_is_shown_at_once() -> None:
    remember_secrets(["a-secret-of-some-length"])
    sieve = Filter()
    assert sieve.feed("50 %\r") == "50 %\r"
    assert sieve.feed("60 % a-sec") == "60 % "
    assert sieve.feed("tion\n") == "a-section\n"


def test_a_stream_is_masked_and_otherwise_as_it_was() -> None:
    remember_secrets(["a-secret-of-some-length"])
    behind = io.StringIO()
    mask_stream(behind)
    print("with a-secret-of-some-length", file=behind, flush=True)
    behind.writelines(["a-secret-of-some-length\n"])
    assert behind.getvalue() == f"with {MASK}\n{MASK}\n"
    assert not behind.isatty()
    write = behind.write
    other = io.StringIO()
    with redirect_stdout(behind), redirect_stderr(other):
        remember_secrets(["another-secret"])
        assert sys.stdout is behind
        assert behind.write is write  # masked once is enough
        print("another-secret", file=sys.stderr)
    assert other.getvalue() == f"{MASK}\n"


def test_what_is_kept_of_a_change_holds_no_secret(tmp_path: Path) -> None:
    value = secrets.token_urlsafe(32)
    remember_secrets([value])

    def fail() -> None:
        with change(tmp_path, "env.rotate", url=f"db://app:{value}@db") as made:
            made.note(more=value)
            under_way = noted_change(tmp_path) or {}
            assert (under_way["url"], under_way["more"]) == (f"db://app:{MASK}@db", MASK)
            raise Refused(f"it is not {value}")

    with pytest.raises(Refused):
        fail()
    (entry,) = journal.entries(tmp_path)
    assert (entry["url"], entry["error"]) == (f"db://app:{MASK}@db", f"it is not {MASK}")


PLANTED = """
import base64, logging, sys, threading, warnings
from contextlib import redirect_stderr
from pathlib import Path

from invoke.tasks import task
from slipway.core import redaction, shell
from slipway.tasks import namespace

value = sys.stdin.read()
before = logging.StreamHandler()
logging.getLogger("before").addHandler(before)

class Fails:
    def __del__(self):
        raise KeyError(f"unraisable {value}")

def fail():
    raise KeyError(f"thread {value}")

@task
def plant(c):
    with redirect_stderr(sys.stdout):
        redaction.remember_secrets([value])
    print("print", value)
    sys.stdout.writelines(["writelines ", value, chr(10)])
    print("base64", base64.b64encode(value.encode()).decode(), file=sys.stderr)
    logging.getLogger("before").warning("before %s", value)
    logging.getLogger("root.of.all").debug("debug %s", value)
    for stream in (sys.stderr, sys.__stderr__):
        logger = logging.getLogger(f"after.{id(stream)}")
        logger.addHandler(logging.StreamHandler(stream))
        logger.error("after %s", value)
    logging.getLogger("last.resort").error("last %s", value)
    warnings.warn(f"warning {value}")
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").addHandler(logging.StreamHandler())
    warnings.warn(f"captured {value}")
    logging.captureWarnings(False)
    thread = threading.Thread(target=fail, name=value)
    thread.start()
    thread.join()
    Fails()
    child = "import sys; print('out', sys.argv[1]); print('err', sys.argv[1], file=sys.stderr)"
    shell.run([sys.executable, "-c", child, value], cwd=Path.cwd())
    c.run(f"echo 'run {value}'")
    c.run(f"printf '%0980dpieces %s' 0 {value}; printf end")  # it is read by 1000 bytes
    assert value in c.run(f"echo 'hidden {value}'", hide=True).stdout
    try:
        raise KeyError(f"cause {value}")
    except KeyError as error:
        raise ValueError(f"in a text: {value!r}\\nand after {value}") from error

ns = namespace()
ns.add_task(plant)
"""
CHANNELS = (
    "print", "writelines", "base64", "before", "after", "last", "warning", "captured",
    "'thread", "'unraisable", "out", "err", "run", "'cause", "and after",
)  # fmt: skip


@pytest.mark.parametrize("debug", [(), ("--debug",)], ids=["as it is", "with --debug"])
def test_a_task_prints_no_secret_by_any_way(scratch: Scratch, debug: tuple[str, ...]) -> None:
    value = secrets.token_urlsafe(32)
    scratch.write("tasks.py", PLANTED)
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *debug, "plant"],
        input=value,
        cwd=scratch.root,
        env=IN_PLACE,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1
    for channel in (*CHANNELS, *(["debug"] if debug else [])):
        assert f"{channel} {MASK}" in said
    assert done.stderr.count("Traceback") == 4
    assert f"pieces {MASK}end" in done.stdout
    assert f"ValueError: in a text: '{MASK}'\nand after {MASK}" in done.stderr
    assert value not in said
    assert base64.b64encode(value.encode()).decode() not in said
