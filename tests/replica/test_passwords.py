"""NATS's passwords while they are exchanged: who was let in waits and goes on, and nobody is told that his is wrong too early."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from bench.nats_servers import NatsServers
from bench.replicated import Replicated
from bench.tasks import square
from taskyard.broker import Broker
from taskyard.errors import SettingsError, Unreachable, WrongKey
from taskyard.urls import parse_nats_url
from tests.harness import InThread, wait_until


def asking_for(password: str) -> str:
    """A server's configuration."""
    return f'authorization {{ users: [{{user: "master", password: "{password}"}}] }}'


class Password:
    """``now``: what is told who asks; None: it can't be."""

    def __init__(self, now: str | None) -> None:
        self.now = now

    def __call__(self) -> str:
        if self.now is None:
            raise SettingsError("the file is empty")
        return self.now


@contextmanager
def broker_of(url: str, password: Password) -> Iterator[Broker]:
    broker = Broker(parse_nats_url(url), "master", password)
    try:
        yield broker
    finally:
        broker.close()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[NatsServers]:
    servers = NatsServers(tmp_path, 1, asking_for("first"))
    yield servers
    servers.stop()


def test_who_was_let_in_waits_for_the_new_password_and_goes_on_with_all_that_it_had(alone: NatsServers) -> None:
    password, heard = Password("first"), []

    async def hear(message: Msg) -> None:
        heard.append(message.data)

    with broker_of(alone.url, password) as broker:
        stream = broker.open(10)
        broker.subscribe("news", hear, 5)
        alone.all[0].change("first", "second")
        wait_until(lambda: not broker.client.is_connected, "the server has put it out")
        with pytest.raises(Unreachable, match="Authorization Violation"):
            broker.open(4.0)
        password.now = "second"
        broker.open(10)
        assert broker.run(stream.account_info(), 5).streams == 0
        broker.run(broker.client.publish("news", b"of today"), 5)
        wait_until(lambda: heard == [b"of today"], "what is subscribed is heard")


def test_a_password_that_can_not_be_read_for_a_moment_is_the_last_one(alone: NatsServers) -> None:
    password = Password("first")
    with broker_of(alone.url, password) as broker:
        broker.open(10)
        password.now = None
        alone.all[0].kill()
        wait_until(lambda: not broker.client.is_connected, "the connection is lost")
        alone.all[0].start()
        broker.open(10)


def test_a_password_that_can_not_be_read_at_the_start_is_told(alone: NatsServers) -> None:
    with broker_of(alone.url, Password(None)) as broker, pytest.raises(SettingsError, match="the file is empty"):
        broker.open(10)


def test_a_server_that_knows_another_password_does_not_end_what_another_server_lets_in(
    alone: NatsServers, tmp_path: Path
) -> None:
    other = NatsServers(tmp_path / "other", 1, asking_for("second"))
    both = f"{alone.url},{other.url.removeprefix('nats://')}"
    for _ in range(8):  # whichever is asked first
        with broker_of(both, Password("second")) as broker:
            broker.open(10)
    with broker_of(both, Password("third")) as broker, pytest.raises(WrongKey, match="does not let user 'master' in"):
        broker.open(10)
    other.all[0].kill()
    with broker_of(both, Password("second")) as broker:
        with pytest.raises(Unreachable, match="Authorization Violation"):
            broker.open(4.0)
        other.all[0].start()
        broker.open(10)
    other.stop()


def test_a_server_that_has_lost_its_patience_is_not_one_that_refuses() -> None:
    hasty = socket.create_server(("127.0.0.1", 0))
    port = hasty.getsockname()[1]

    def serve() -> None:
        with suppress(OSError):
            while True:
                conn, _ = hasty.accept()
                with conn:
                    conn.sendall(b'INFO {"server_id": "hasty", "auth_required": true}\r\n')
                    conn.recv(4096)
                    conn.sendall(b"-ERR 'Authentication Timeout'\r\n")

    thread = InThread(serve)
    with broker_of(f"nats://127.0.0.1:{port}", Password("first")) as broker:
        with pytest.raises(Unreachable, match="Authentication Timeout"):
            broker.open(4.0)
        hasty.shutdown(socket.SHUT_RDWR)
        hasty.close()
    thread.result()


def test_a_cluster_whose_passwords_are_exchanged_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for user in ("master", "client"):
        (tmp_path / user).write_text(f"first-{user}\n")
    monkeypatch.setenv("MASTER_NATS_PASSWORD_FILE", str(tmp_path / "master"))
    monkeypatch.setenv("TASKYARD_NATS_PASSWORD_FILE", str(tmp_path / "client"))
    users = '{user: "master", password: "first-master"}, {user: "client", password: "first-client"}'
    more = f"accounts: {{ taskyard {{ jetstream: enabled, users: [{users}] }} }}"
    servers = NatsServers(tmp_path / "nats", 1, more)
    with Replicated(tmp_path / "cluster", servers, masters=1, workers=1, app="bench.tasks") as made, made.client() as client:
        (master,), (worker,) = made.masters.values(), made.workers
        assert client.submit(square, 3).result(30) == 9
        for user in ("master", "client"):
            (tmp_path / user).write_text(f"second-{user}\n")
        servers.all[0].change("first", "second")
        assert [client.submit(square, n).result(30) for n in range(20)] == [n * n for n in range(20)]
        with made.client() as late:  # NATS tells it who leads
            assert late.submit(square, 4).result(30) == 16
        assert master.runs
        assert worker.runs
    servers.stop()
