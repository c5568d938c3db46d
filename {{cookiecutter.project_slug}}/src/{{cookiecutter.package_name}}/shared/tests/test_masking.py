import io
import logging
import sys
import uuid
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from .. import masking
from ..masking import MASK, MaskedStream, MaskingFormatter, learn, masked, parts


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_forms", [])


@pytest.fixture
def secret() -> str:
    """Return a secret that URLs, JSON and Python each write in another way."""
    return f"pä%s/'\"\\ @:{uuid.uuid4().hex}"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Return what a log handler writes that was there before any secret was known."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logger = logging.getLogger("someone.else")
    logger.addHandler(handler)
    yield text
    logger.removeHandler(handler)


def test_a_value_is_masked_however_it_is_written(secret: str) -> None:
    learn([secret])
    for form in (secret, quote(secret), quote(secret, safe=""), repr(secret)):
        shown = masked(f"before {form} after")
        assert shown in {f"before {MASK} after", f"before '{MASK}' after"}


def test_of_a_url_only_its_passwords_are_secret(secret: str) -> None:
    for url in (
        f"postgresql://app:{quote(secret, safe='')}@db/app",
        f"postgresql://app:{secret}@db/app",
        f"redis://:{quote(secret, safe='')}@redis:6379/0",
        f"redis://redis/0?password={quote(secret, safe='')}",
    ):
        masking._forms.clear()  # noqa: SLF001
        learn([url])
        assert masked(f"as {secret} said") == f"as {MASK} said"
        assert quote(secret, safe="") not in masked(url)
        assert masked(url).startswith(url.partition(":")[0] + "://")


def test_a_url_without_a_password_holds_no_secret() -> None:
    urls = ["sqlite:///data/app.db", "redis://127.0.0.1:6379/0", "postgresql://postgres@db/app"]
    assert [part for url in urls for part in parts(url)] == []


def test_of_a_key_with_its_time_the_key_is_secret() -> None:
    learn(["2026-01-31T12:00:00Z/the-key-before"])
    assert masked("the-key-before?") == f"{MASK}?"


def test_short_values_and_common_words_are_not_masked() -> None:
    learn(["hush", "postgresql://postgres:postgres@db/app"])
    assert masked("hush, postgres") == "hush, postgres"


def test_the_longest_value_is_masked_first() -> None:
    learn(["the-short", "the-short-and-long"])
    assert masked("the-short-and-long") == MASK


def test_what_is_printed_is_masked(secret: str, capsys: pytest.CaptureFixture[str]) -> None:
    learn([secret])
    print("the key is", secret)
    print(secret, file=sys.stderr)
    sys.stdout.writelines([secret, "\n"])
    assert capsys.readouterr() == (f"the key is {MASK}\n{MASK}\n", f"{MASK}\n")


def test_streams_and_handlers_are_covered_once(written: io.StringIO) -> None:
    for _ in range(2):
        masking.install()
    assert isinstance(sys.stdout, MaskedStream)
    assert not isinstance(sys.stdout.stream, MaskedStream)
    (handler,) = [one for one in masking.handlers() if getattr(one, "stream", None) is written]
    assert isinstance(handler.formatter, MaskingFormatter)
    assert not isinstance(handler.formatter.inner, MaskingFormatter)


def test_what_is_logged_is_masked_with_its_traceback(secret: str, written: io.StringIO) -> None:
    learn([secret])
    try:
        dict[str, str]()[secret]
    except KeyError:
        logging.getLogger("someone.else").exception("no %s", secret)
    assert f"no {MASK}\nTraceback" in written.getvalue()
    assert secret not in written.getvalue()
    assert repr(secret)[1:-1] not in written.getvalue()


def test_a_value_that_is_learnt_later_is_masked_too(secret: str, written: io.StringIO) -> None:
    learn(["something-else"])
    logging.getLogger("someone.else").error("%s", secret)
    assert secret in written.getvalue()
    written.truncate(0)
    learn([secret])
    logging.getLogger("someone.else").error("%s", secret)
    assert secret not in written.getvalue()
