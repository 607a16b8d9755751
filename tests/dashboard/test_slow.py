"""Who comes and says nothing, or says it a byte at a time, keeps nobody out; nor does a machine that stalls for a while."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from time import monotonic, sleep
from typing import Any

import pytest

from dashboard import bounds, protocol
from dashboard.page.frame import Page
from tests.dashboard.conftest import FULL, Dashboard
from tests.dashboard.test_submit import API
from tests.harness import Harness, task, wait_until

MOST = 20


@pytest.fixture
def strangers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(dashboard: Dashboard, strangers: ExitStack, said: bytes = b"") -> socket.socket:
    sock = strangers.enter_context(socket.create_connection(("127.0.0.1", dashboard.port), 20))
    sock.sendall(said)
    return sock


def test_those_that_say_nothing_keep_nobody_out(
    dashboard: Dashboard, harness: Harness, strangers: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "CONNECTIONS", MOST)
    harness.queue.submit([task("a-0")])
    with dashboard.another(FULL).stream("GET", f"{API}/jobs/job/events") as stream:
        silent = [connect(dashboard, strangers, b"GET / HTTP/1.1\r\n" if number % 2 else b"") for number in range(2 * MOST)]
        assert silent[0].recv(1) == b""  # the first to come is the first to go
        assert dashboard.another(FULL).get(f"{API}/stats").status_code == 200
        assert len(dashboard.server.server_state.connections) <= MOST
        assert stream.status_code == 200
        harness.queue.cancel(["a-0"])
        assert "event: end" in list(stream.iter_lines())


def test_a_head_that_does_not_come_to_its_end_is_given_up(
    dashboard: Dashboard, strangers: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 1.0)
    whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for said in (b"", b"GET / HTTP/1.1\r\nX: ", whole + b"GET / HTTP/1.1\r\nX: "):
        slow = connect(dashboard, strangers, said)
        slow.settimeout(0.1)
        begun = monotonic()
        wait_until(partial(drips, slow, said), "it is closed", 10)
        assert monotonic() - begun < 5


def drips(slow: socket.socket, said: bytes) -> bool:
    """Send another byte, if any were sent; returns whether the connection has ended."""
    try:
        if said:
            slow.sendall(b"x")
        while slow.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def test_a_request_that_takes_long_to_answer_and_an_open_page_are_no_slow_heads(
    dashboard: Dashboard, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    harness.queue.submit([task("a-0")])
    page = dashboard.client.get(f"{API}/jobs/job/results", params={"wait": 1}).json()
    assert (page["results"], page["open"]) == ([], 1)


def test_a_body_that_does_not_come_is_refused(
    dashboard: Dashboard, strangers: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "BODY_SECONDS", 0.5)
    head = f"Host: localhost\r\nAuthorization: Bearer {FULL}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    for path in (f"{API}/tasks", "/sign-in"):
        origin = f"Origin: http://localhost\r\n{head}" if path == "/sign-in" else head
        slow = connect(dashboard, strangers, f"POST {path} HTTP/1.1\r\n{origin}{{".encode())
        answer = slow.recv(65536)
        assert b" 408 " in answer.split(b"\r\n")[0]
        assert b"application/problem+json" in answer


def test_a_page_comes_though_the_machine_stalls_while_it_is_made(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    live = Page.live

    async def stall(page: Page, *updates: Any) -> None:
        sleep(4)  # nothing else of the program goes on meanwhile either
        await live(page, *updates)

    monkeypatch.setattr(Page, "live", stall)
    page = dashboard.client.get("/")
    assert (page.status_code, "took longer" in page.text, "Overview" in page.text) == (200, False, True)
