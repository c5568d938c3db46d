import hashlib
import os
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from ...shared.tests.conftest import refused
from .. import download
from ..source import fetch
from ..work import Work
from .conftest import SHIPPED, Answer, Source

BODY = bytes(range(256)) * 1000
TAG = {"ETag": '"one"'}
OTHER = b"x" * len(BODY)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BACKOFF", 0.01)


def asked(**given: Any) -> Namespace:  # noqa: ANN401 - the value of any option
    options = {
        "url": None,
        "sha256": None,
        "file": SHIPPED,
        "tries": 5,
        "seconds_max": 20.0,
        "wait_seconds_max": 5.0,
        "megabytes_max": 1.0,
    }
    return Namespace(**{**options, **given})


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fetched(work: Work) -> bytes:
    return work.path("data/fetched.csv").read_bytes()


def left(work: Work) -> list[str]:
    return sorted(path.name for path in work.data.iterdir())


def rest(start: int, body: bytes = BODY, **headers: str) -> Answer:
    """Answer with what is left from a byte on."""
    told = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}", **TAG, **headers}
    return Answer(206, body[start:], told)


def test_the_shipped_file_is_taken_where_there_is_no_url(work: Work) -> None:
    fetch(work, asked())
    assert fetched(work) == SHIPPED.read_bytes()
    assert left(work) == ["fetched.csv"]


def test_the_same_content_leaves_the_file_untouched(work: Work, source: Source) -> None:
    source.answers = [Answer(body=BODY)]
    fetch(work, asked(url=source.url))
    file = work.path("data/fetched.csv")
    os.utime(file, (1, 1))
    assert fetch(work, asked(url=source.url))[0].endswith("unchanged")
    assert file.stat().st_mtime == 1
    assert left(work) == ["fetched.csv"]


def test_a_source_is_tried_again_as_long_as_it_may_get_better(work: Work, source: Source) -> None:
    source.answers = [Answer(503), Answer(429, headers={"Retry-After": "0"}), Answer(body=BODY)]
    fetch(work, asked(url=source.url))
    assert fetched(work) == BODY
    assert len(source.asked) == 3


def test_a_source_that_stays_away_is_given_up(work: Work, source: Source) -> None:
    source.answers = [Answer(500)]
    message = refused(lambda: fetch(work, asked(url=source.url, tries=3)))
    assert (
        message
        == f"{source.url} cannot be fetched: the server returned status 500; try again later"
    )
    assert len(source.asked) == 3


def test_nobody_who_listens_is_an_error_without_a_traceback(work: Work) -> None:
    options = asked(url="http://127.0.0.1:1/weather.csv", tries=2)
    assert "cannot be fetched: " in refused(lambda: fetch(work, options))


def test_what_is_not_there_is_not_asked_for_twice(work: Work, source: Source) -> None:
    source.answers = [Answer(404)]
    assert "returned status 404" in refused(lambda: fetch(work, asked(url=source.url)))
    assert len(source.asked) == 1


def test_a_broken_transfer_goes_on_where_it_stopped(work: Work, source: Source) -> None:
    source.answers = [Answer(body=BODY, headers=TAG, sent=100_000), rest(100_000)]
    fetch(work, asked(url=source.url))
    assert fetched(work) == BODY
    assert source.asked[1]["Range"] == "bytes=100000-"
    assert source.asked[1]["If-Range"] == TAG["ETag"]
    assert left(work) == ["fetched.csv"]


def test_the_next_run_goes_on_too(work: Work, source: Source) -> None:
    source.answers = [Answer(body=BODY, headers=TAG, sent=100_000)]
    refused(lambda: fetch(work, asked(url=source.url, tries=1)))
    assert not work.path("data/fetched.csv").exists()
    source.answers = [rest(100_000)]
    fetch(work, asked(url=source.url))
    assert fetched(work) == BODY


def test_the_time_of_the_last_change_tells_versions_apart_too(work: Work, source: Source) -> None:
    day = {"Last-Modified": "Sun, 22 Nov 2026 10:00:00 GMT"}
    source.answers = [
        Answer(body=BODY, headers={**day, "ETag": 'W/"weak"'}, sent=100_000),
        Answer(206, BODY[100_000:], {**day, "Content-Range": f"bytes 100000-255999/{len(BODY)}"}),
    ]
    fetch(work, asked(url=source.url))
    assert source.asked[1]["If-Range"] == day["Last-Modified"]
    assert fetched(work) == BODY


def test_a_source_that_tells_no_version_begins_again(work: Work, source: Source) -> None:
    source.answers = [Answer(body=OTHER, sent=100_000), Answer(body=BODY)]
    fetch(work, asked(url=source.url))
    assert "Range" not in source.asked[1]
    assert fetched(work) == BODY


def test_a_source_that_changed_in_between_begins_again(work: Work, source: Source) -> None:
    source.answers = [
        Answer(body=OTHER, headers=TAG, sent=100_000),
        Answer(body=BODY, headers={"ETag": '"two"'}),
    ]
    fetch(work, asked(url=source.url))
    assert fetched(work) == BODY


@pytest.mark.parametrize(
    "wrong",
    [
        rest(100_000, ETag='"two"'),
        Answer(206, BODY, {"Content-Range": f"bytes 0-255999/{len(BODY)}", **TAG}),
        Answer(416),
    ],
    ids=["another version", "another part", "nothing there"],
)
def test_a_rest_that_does_not_fit_is_thrown_away(work: Work, source: Source, wrong: Answer) -> None:
    source.answers = [Answer(body=OTHER, headers=TAG, sent=100_000), wrong, Answer(body=BODY)]
    fetch(work, asked(url=source.url))
    assert "Range" not in source.asked[2]
    assert fetched(work) == BODY


def test_a_rest_of_another_source_is_not_gone_on_with(work: Work, source: Source) -> None:
    source.answers = [Answer(body=OTHER, headers=TAG, sent=100_000)]
    refused(lambda: fetch(work, asked(url=f"{source.url}?one", tries=1)))
    source.answers = [Answer(body=BODY, headers=TAG)]
    fetch(work, asked(url=source.url))
    assert "Range" not in source.asked[1]
    assert fetched(work) == BODY


def test_a_wrong_checksum_keeps_the_file_as_it_was(work: Work, source: Source) -> None:
    fetch(work, asked())
    source.answers = [Answer(body=OTHER)]
    message = refused(lambda: fetch(work, asked(url=source.url, sha256=digest(BODY))))
    assert digest(OTHER) in message
    assert digest(BODY) in message
    assert fetched(work) == SHIPPED.read_bytes()
    assert left(work) == ["fetched.csv"]


def test_a_lie_about_the_version_is_found_by_the_checksum(work: Work, source: Source) -> None:
    source.answers = [
        Answer(body=OTHER, headers=TAG, sent=100_000),
        rest(100_000),
        Answer(body=BODY),
    ]
    fetch(work, asked(url=source.url, sha256=digest(BODY)))
    assert fetched(work) == BODY


def test_a_file_has_to_have_the_checksum_too(work: Work) -> None:
    assert "sha256" in refused(lambda: fetch(work, asked(sha256=digest(BODY))))


def test_a_source_that_is_too_large_is_left(work: Work, source: Source) -> None:
    source.answers = [Answer(body=BODY)]
    options = asked(url=source.url, megabytes_max=0.1)
    assert "--megabytes-max" in refused(lambda: fetch(work, options))
    assert left(work) == []


def test_a_size_that_is_not_told_is_limited_all_the_same(work: Work, source: Source) -> None:
    source.answers = [Answer(body=BODY, headers={"Content-Length": "", "Connection": "close"})]
    options = asked(url=source.url, megabytes_max=0.1)
    assert "--megabytes-max" in refused(lambda: fetch(work, options))


def test_a_slow_source_has_a_limit_although_it_never_stops(work: Work, source: Source) -> None:
    source.answers = [Answer(body=BODY, headers=TAG, piece=100, pause=0.05)]
    started = time.monotonic()
    message = refused(lambda: fetch(work, asked(url=source.url, seconds_max=0.4)))
    assert "--seconds-max" in message
    assert time.monotonic() - started < 3
    assert left(work) == [".fetched.csv.part", ".fetched.csv.part.json"]


def test_a_silent_source_has_a_limit(work: Work, source: Source) -> None:
    source.answers = [Answer(body=BODY, piece=100, pause=30)]
    options = asked(url=source.url, wait_seconds_max=0.2, tries=2)
    started = time.monotonic()
    assert "connection broke" in refused(lambda: fetch(work, options))
    assert time.monotonic() - started < 5


def test_a_server_that_wants_more_time_than_there_is_is_not_waited_for(
    work: Work, source: Source
) -> None:
    source.answers = [Answer(503, headers={"Retry-After": "3600"})]
    started = time.monotonic()
    assert "--seconds-max" in refused(lambda: fetch(work, asked(url=source.url)))
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/x", "/etc/passwd", "http://", "x:"])
def test_only_http_is_read(work: Work, url: str) -> None:
    assert "http://... or https://..." in refused(lambda: fetch(work, asked(url=url)))


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_source_cannot_lead_elsewhere(work: Work, source: Source, place: str) -> None:
    source.answers = [Answer(302, headers={"Location": place})]
    message = refused(lambda: fetch(work, asked(url=source.url, tries=2)))
    assert "redirects to" in message
    assert not work.path("data/fetched.csv").exists()


def test_a_source_may_have_moved(work: Work, source: Source) -> None:
    source.answers = [Answer(301, headers={"Location": "/new.csv"}), Answer(body=BODY)]
    fetch(work, asked(url=source.url))
    assert fetched(work) == BODY


def test_a_password_is_sent_and_never_said(
    work: Work, source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    url = source.url.replace("//", "//user:hidden@") + "?token=hidden"
    source.answers = [Answer(503), Answer(body=BODY)]
    said = fetch(work, asked(url=url))
    assert source.asked[1]["authorization"].startswith("Basic ")
    source.answers = [Answer(500)]
    said.append(refused(lambda: fetch(work, asked(url=url, tries=2))))
    said.append(capsys.readouterr().err)
    assert "hidden" not in "".join(said)


def test_the_environment_names_the_source(
    work: Work, source: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source.answers = [Answer(body=BODY)]
    monkeypatch.setenv("PIPELINE_SOURCE_URL", source.url)
    fetch(work, asked())
    assert fetched(work) == BODY
    monkeypatch.delenv("PIPELINE_SOURCE_URL")
    (tmp_path / "url").write_text(f"{source.url}\n")
    monkeypatch.setenv("PIPELINE_SOURCE_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("PIPELINE_SOURCE_SHA256", digest(OTHER))
    assert digest(OTHER) in refused(lambda: fetch(work, asked()))
    assert len(source.asked) == 2
