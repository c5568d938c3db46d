"""The proxy: HTTPS where it has a domain, and what becomes of requests that a replica drops."""

from __future__ import annotations

import json
import ssl
import time
import uuid
from contextlib import ExitStack, closing
from http.client import HTTPConnection, HTTPSConnection
from typing import TYPE_CHECKING

import pytest

from tests.support.copies import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPMessage

    from docker import DockerClient
    from docker.models.containers import Container

    from tests.engine.conftest import MakeStack, Stack

DOMAIN = "localhost"
"""A name for which Caddy is its own authority, so that nobody else has to be asked."""
CADDY = ["caddy", "run", "--config", "/etc/caddy/Caddyfile"]
AUTHORITY = "/data/caddy/pki/authorities/local/root.crt"


@pytest.fixture(scope="module")
def secured(make_stack: MakeStack) -> Stack:
    """Return a stack of the profile prod that is up and has a domain."""
    made = make_stack(APP_ENV="prod", API_WORKERS="1", DOMAIN=DOMAIN)
    made.up()
    return made


def certificate(stack: Stack) -> bytes | None:
    """Ask over HTTPS, trusting the proxy's own authority alone; return what it identified with."""
    (proxy,) = stack.containers("proxy")
    deadline = time.monotonic() + 60
    while (said := proxy.exec_run(["cat", AUTHORITY])).exit_code:
        assert time.monotonic() < deadline, said.output
        time.sleep(0.5)
    trusted = ssl.create_default_context(cadata=said.output.decode())
    port = stack.ports["HTTPS_PORT"]
    connection = HTTPSConnection(DOMAIN, port, timeout=20, context=trusted)
    connection.connect()
    shown = connection.sock.getpeercert(binary_form=True)
    connection.request("GET", "/health")
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)["status"]) == (200, "ok")
    connection.close()
    return bytes(shown) if shown else None


def ask(stack: Stack, path: str) -> tuple[int, HTTPMessage]:
    """Ask over HTTPS, whoever answers; return the status and the headers."""
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    connection = HTTPSConnection(DOMAIN, stack.ports["HTTPS_PORT"], timeout=20, context=anybody)
    connection.request("GET", path)
    with closing(connection), connection.getresponse() as answer:
        return answer.status, answer.headers


def test_with_a_domain_it_speaks_https_and_leads_there(secured: Stack) -> None:
    assert certificate(secured)
    plain = HTTPConnection(DOMAIN, secured.ports["HTTP_PORT"], timeout=20)
    plain.request("GET", "/docs")
    answer = plain.getresponse()
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{DOMAIN}/docs")
    plain.close()


@pytest.mark.parametrize("path", ["/metrics", "/METRICS/", "/dashboard/_stcore/metrics"])
def test_what_is_for_monitoring_is_closed(secured: Stack, path: str) -> None:
    assert ask(secured, path)[0] == 404


def test_answers_have_the_usual_headers(secured: Stack) -> None:
    for path in ("/health", "/dashboard/"):
        _, headers = ask(secured, path)
        assert headers["Server"] is None
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Strict-Transport-Security"] == "max-age=31536000"


def test_the_certificate_is_kept(secured: Stack) -> None:
    before = certificate(secured)
    secured.inv("deploy.down")
    secured.up()
    assert certificate(secured) == before


DROPS = """
import socketserver

class Drops(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(65536)

socketserver.TCPServer(("", 8000), Drops).serve_forever()
"""
ECHOES = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Echoes(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("", 8000), Echoes).serve_forever()
"""


@pytest.fixture
def half_broken(engine: DockerClient) -> Iterator[str]:
    """Return where the proxy answers before two replicas: one drops each request, one echoes it."""
    name, settings = f"test-{uuid.uuid4().hex[:8]}", REPOSITORY / "services" / "proxy" / "Caddyfile"
    with ExitStack() as removals:
        network = engine.networks.create(name)
        removals.callback(network.remove)

        def run(image: str, command: list[str], **options: object) -> Container:
            made = engine.containers.create(image, command, network=name, **options)
            removals.callback(made.remove, force=True)
            return made

        for script in (DROPS, ECHOES):
            replica = run("python:3.13-slim", ["python", "-uc", script])
            network.disconnect(replica)
            network.connect(replica, aliases=["api"])
            replica.start()
        mount = [f"{settings}:/etc/caddy/Caddyfile:ro"]
        proxy = run("caddy:2", CADDY, volumes=mount, environment={"DOMAIN": "http://"})
        proxy.start()
        proxy.reload()
        address = proxy.attrs["NetworkSettings"]["Networks"][name]["IPAddress"]
        deadline = time.monotonic() + 60
        while answered(address, "/predict", b"{}") != 200:
            assert time.monotonic() < deadline, proxy.logs()
            time.sleep(0.2)
        yield address


def answered(address: str, path: str, body: bytes) -> int:
    """POST through the proxy; return the status, or 0 where nothing answers yet."""
    connection = HTTPConnection(address, 80, timeout=20)
    try:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        assert answer.status != 200 or answer.read() == body
    except ConnectionError:
        return 0
    finally:
        connection.close()
    return answer.status


def test_a_prediction_is_asked_for_again_when_a_replica_drops_it(half_broken: str) -> None:
    assert {answered(half_broken, "/predict", b'{"rain": 1}') for _ in range(10)} == {200}
    assert {answered(half_broken, "/predict", b"x" * 99_999) for _ in range(4)} == {200}


def test_what_may_have_been_done_is_not_sent_again(half_broken: str) -> None:
    assert {answered(half_broken, "/jobs", b"{}") for _ in range(4)} == {200, 502}
    assert {answered(half_broken, "/predict", b"x" * 100_000) for _ in range(4)} == {200, 502}
