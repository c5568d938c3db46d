"""A download from an HTTP server, with retries, resumed where that is safe."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import getproxies, proxy_bypass

from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Retry, Timeout, make_headers
from urllib3.exceptions import HTTPError, LocationParseError, LocationValueError, MaxRetryError
from urllib3.util import Url, parse_url

from ..shared.console import AppError, explain, progress

SCHEMES = ("http", "https")
PIECE = 65_536
REDIRECTS = 5

WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}
"""Statuses that may be temporary."""

OK, PARTIAL, UNSATISFIABLE = 200, 206, 416

BACKOFF = 0.5
"""The second attempt is immediate, the third waits twice these seconds, and each later one twice as
long as the one before, up to LONGEST_BACKOFF."""

LONGEST_BACKOFF = 30.0


@dataclass(frozen=True)
class Limits:
    """Limits: attempts, seconds in total and without any new bytes, and bytes."""

    tries: int
    seconds: float
    wait_seconds: float
    size: int


class BrokenError(Exception):
    """A transfer that did not finish and may be retried."""

    def __init__(self, reason: str, response: BaseHTTPResponse | None = None) -> None:
        super().__init__(reason)
        self.response = response


@dataclass(frozen=True)
class Download:
    """The part of a file that has arrived; beside it, which version of which source it is from."""

    file: Path
    facts: Path

    @classmethod
    def of(cls, file: Path) -> "Download":
        return cls(file.with_name(f".{file.name}.part"), file.with_name(f".{file.name}.part.json"))

    @property
    def size(self) -> int:
        """Return the number of bytes so far."""
        try:
            return self.file.stat().st_size
        except OSError:
            return 0

    def version(self, url: str) -> str:
        """Return the validator of what has arrived from a source; empty if it cannot be resumed."""
        try:
            facts = json.loads(self.facts.read_text(encoding="utf-8"))
            return str(facts["validator"]) if facts["url"] == url and self.size else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def begin(self, url: str, validator: str) -> None:
        """Start over, and note the source and its version."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.forget()
        self.file.touch()
        text = json.dumps({"url": url, "validator": validator}, sort_keys=True)
        self.facts.touch(mode=0o600)  # a URL may contain a password
        self.facts.write_text(text, encoding="utf-8")

    def forget(self) -> None:
        for path in (self.facts, self.file):
            path.unlink(missing_ok=True)


def fetch_url(part: Download, url: str, limits: Limits, until: float) -> tuple[str, bool]:
    """Download a source completely, before the monotonic time `until`.

    Return its name for messages, and whether the content comes from several transfers.

    Raises AppError.
    """
    place = checked(url)
    origin = f"{place.scheme}://{place.netloc}{place.path or '/'}"
    pool = connections(place, limits)
    retry = Retry(total=limits.tries - 1, backoff_factor=BACKOFF, backoff_max=LONGEST_BACKOFF)
    resumed = False
    try:
        while True:
            resumed = bool(part.version(url))
            try:
                transfer(pool, part, place, limits, until)
            except BrokenError as error:
                retry = wait(retry, error, origin, until)
            else:
                return origin, resumed
    except OSError as error:
        raise AppError(f"cannot write {explain(error)}") from error
    finally:
        pool.clear()


def checked(url: str) -> Url:
    """Return the parts of a URL; raises AppError if it is not a valid http(s) URL."""
    try:
        place = parse_url(url)
    except LocationParseError:
        place = Url()
    if place.scheme not in SCHEMES or not place.host:
        raise AppError("the URL of the source should be http://... or https://...")
    return place


def connections(place: Url, limits: Limits) -> PoolManager:
    """Return a connection pool for a server, using the proxy of the environment if there is one."""
    timeout = Timeout(connect=limits.wait_seconds, read=limits.wait_seconds)
    proxy = getproxies().get(place.scheme or "")
    if proxy and not proxy_bypass(place.host or ""):
        return ProxyManager(proxy, timeout=timeout)
    return PoolManager(timeout=timeout)


def wait(retry: Retry, error: BrokenError, origin: str, until: float) -> Retry:
    """Wait before the next attempt, as long as the server asks; return the attempts left.

    Raises AppError if no attempt or no time is left.
    """
    try:
        retry = retry.increment("GET", origin, error=None, response=error.response)
    except MaxRetryError:
        raise AppError(f"{origin} cannot be fetched: {error}; try again later") from None
    seconds = retry.get_backoff_time()
    if error.response is not None:
        seconds = retry.get_retry_after(error.response) or seconds
    if time.monotonic() + seconds > until:
        raise AppError(
            f"{origin} could not be fetched in time: {error}; to allow more, pass --seconds-max"
        )
    progress(f"{origin}: {error}; retrying in {seconds:.1f} s")
    time.sleep(seconds)
    return retry


def transfer(pool: PoolManager, part: Download, place: Url, limits: Limits, until: float) -> None:
    """Request a source, or the rest of it, once; raises BrokenError, AppError."""
    url = place.url
    headers: dict[str, str] = {"Accept-Encoding": "identity"}
    if place.auth:
        headers |= make_headers(basic_auth=place.auth)
    start, validator = part.size, part.version(url)
    if validator:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    redirects = Retry(None, redirect=REDIRECTS, connect=0, read=0, status=0, other=0)
    try:
        bare = place._replace(auth=None).url
        response = pool.request(
            "GET", bare, headers=headers, retries=redirects, preload_content=False
        )
    except LocationValueError as error:
        raise AppError(f"the source redirects to something other than http(s): {error}") from None
    except HTTPError as error:
        raise BrokenError(reason_of(error)) from error
    try:
        whole = begin(part, url, response, start if validator else None)
        receive(part, response, whole, limits, until)
    finally:
        response.close()


def reason_of(error: HTTPError) -> str:
    """Describe a failed transfer in a few words, without the URL."""
    cause = error.reason if isinstance(error, MaxRetryError) else error
    told = str(cause).rsplit(": ", 1)[-1]
    return f"{type(cause).__name__}: {told[:200]}"


def begin(part: Download, url: str, response: BaseHTTPResponse, asked: int | None) -> int | None:
    """Prepare the download for a response; return its total size, if known.

    `asked` is the first byte requested, or None if the request was for everything.

    Raises BrokenError if a retry may help, AppError otherwise.
    """
    if response.status == UNSATISFIABLE and asked is not None:
        part.forget()
        raise BrokenError("the server has less than was downloaded; starting over")
    if response.status in WORTH_ANOTHER_TRY:
        raise BrokenError(f"the server returned status {response.status}", response)
    if response.status == PARTIAL and asked is not None:
        return rest(part, url, response.headers, asked)
    if response.status != OK:
        raise AppError(f"the source returned status {response.status}; check its URL")
    part.begin(url, validator_of(response.headers))
    return number(response.headers.get("Content-Length", ""))


def rest(part: Download, url: str, headers: Mapping[str, str], asked: int) -> int | None:
    """Return the total size from the headers of a partial response; raises BrokenError."""
    unit, _, told = headers.get("Content-Range", "").partition(" ")
    span, _, size = told.partition("/")
    told_again = validator_of(headers)
    same = not told_again or told_again == part.version(url)
    if unit != "bytes" or not span.startswith(f"{asked}-") or not same:
        part.forget()
        raise BrokenError("the server sent a different range than requested; starting over")
    return number(size)


def number(text: str) -> int | None:
    """Parse a number of bytes; return None if there is none."""
    return int(text) if text.isdecimal() else None


def validator_of(headers: Mapping[str, str]) -> str:
    """Return a validator that identifies this version of the source; empty if none is certain.

    A weak entity tag does not guarantee identical bytes.
    """
    tag: str = headers.get("ETag", "")
    if tag.startswith('"'):
        return tag
    return headers.get("Last-Modified", "")


def receive(
    part: Download, response: BaseHTTPResponse, whole: int | None, limits: Limits, until: float
) -> None:
    """Append bytes until the file is complete; raises BrokenError, and AppError at a limit."""
    if whole is not None and whole > limits.size:
        refuse_size(part, limits)
    with part.file.open("ab") as opened:
        while piece := next_piece(response):
            opened.write(piece)
            if opened.tell() > limits.size:
                refuse_size(part, limits)
            if time.monotonic() > until:
                raise AppError(
                    f"the source took more than {limits.seconds:g} s; the partial download is kept,"
                    " and the next run resumes it if the server can. To allow more: --seconds-max"
                )
    if whole is not None and part.size != whole:
        short = part.size < whole
        if not short:
            part.forget()
        raise BrokenError(f"{part.size} of {whole} bytes received")


def refuse_size(part: Download, limits: Limits) -> None:
    """Remove a file that is too large, and say so."""
    with suppress(OSError):
        part.forget()
    most = limits.size / 1_000_000
    raise AppError(f"the source has more than {most:g} MB; to allow more, pass --megabytes-max")


def next_piece(response: Any) -> bytes:  # noqa: ANN401 - read1 is not in urllib3's base class
    """Return the next bytes, empty at the end; raises BrokenError."""
    try:
        piece: bytes = response.read1(PIECE)
    except (HTTPError, OSError) as error:
        raise BrokenError(f"the connection broke: {type(error).__name__}") from error
    return piece
