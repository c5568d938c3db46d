"""The proxy with a domain: HTTPS, with a certificate that it gets, keeps and answers with."""

from __future__ import annotations

import json
import ssl
import time
from http.client import HTTPConnection, HTTPSConnection
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.engine.conftest import MakeStack, Stack

DOMAIN = "localhost"
"""A name for which Caddy is its own authority, so that nobody else has to be asked."""
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


def test_with_a_domain_it_speaks_https_and_leads_there(secured: Stack) -> None:
    assert certificate(secured)
    plain = HTTPConnection(DOMAIN, secured.ports["HTTP_PORT"], timeout=20)
    plain.request("GET", "/docs")
    answer = plain.getresponse()
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{DOMAIN}/docs")
    plain.close()


def test_the_certificate_is_kept(secured: Stack) -> None:
    before = certificate(secured)
    secured.inv("deploy.down")
    secured.up()
    assert certificate(secured) == before
