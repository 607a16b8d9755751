"""What NATS's users may do, with the shipped configuration."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest
from nats.aio.msg import Msg

from bench.nats_servers import program
from bench.ports import free_port
from master.replica.log import Log
from taskyard.broker import Broker
from taskyard.errors import WrongKey
from taskyard.urls import NatsUrl, parse_nats_url

NATS = Path(__file__).parents[2] / "deploy/nats"
SECRET = b"what a task is given"
PASSWORDS = {"NATS_MASTER_PASSWORD": '"of-masters"', "NATS_CLIENT_PASSWORD": '"of-clients"'}
SETTINGS = {"NATS_NAME": "alone", "NATS_DISK": "8GB", "NATS_SYNC": "always", **PASSWORDS}
SPIED = (">", "*.log.*", "_INBOX.>", "_INBOX_master.>", "$JS.>")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[NatsUrl]:
    port = free_port()
    conf = (NATS / "server.conf").read_text()
    for shipped, here in (("port: 4222", f"port: {port}"), (":8222", f":{free_port()}"), ('"/data"', f'"{tmp_path}/data"')):
        assert shipped in conf
        conf = conf.replace(shipped, here)
    (tmp_path / "server.conf").write_text(conf)
    (tmp_path / "tls.conf").touch()
    command = [program(), "--config", str(tmp_path / "server.conf"), "--log", str(tmp_path / "log")]
    with subprocess.Popen(command, env=os.environ | SETTINGS) as server:
        yield parse_nats_url(f"nats://127.0.0.1:{port}/q")
        server.terminate()


def open_log(url: NatsUrl, password: str) -> Log:
    log = Log(Broker(url, "master", lambda: password), "q", 1)
    try:
        log.open(10)
    except BaseException:
        log.close()
        raise
    return log


async def spy(url: NatsUrl, log: Log) -> tuple[list[bytes], list[str]]:
    """What a client hears while a master writes the log and reads it; and what it is refused."""
    heard: list[bytes] = []
    refused: list[str] = []

    async def hear(message: Msg) -> None:
        heard.append(message.data)

    async def note(error: Exception) -> None:
        refused.append(str(error))

    client = await nats.connect(f"nats://{url.servers[0]}", user="client", password="of-clients", error_cb=note)
    for subject in SPIED:
        await client.subscribe(subject, cb=hear)
    await client.publish("q.log.1", b"an entry of the client's own")
    await client.flush()
    await asyncio.to_thread(log.claim, 1, 0, SECRET)
    read = await asyncio.to_thread(log.read, 0, 1)
    assert [message.data for message in read] == [SECRET]
    await client.flush()
    await client.close()
    return heard, refused


def test_who_has_the_password_of_clients_hears_nothing_of_the_log_and_writes_nothing_into_it(url: NatsUrl) -> None:
    log = open_log(url, "of-masters")
    heard, refused = asyncio.run(spy(url, log))
    assert heard == []
    for subject in (*SPIED, "q.log.1"):
        assert any(f'"{subject}"'.lower() in words.lower() for words in refused), (subject, refused)
    log.close()


def test_who_has_it_is_no_master(url: NatsUrl) -> None:
    with pytest.raises(WrongKey, match="does not let user 'master' in"):
        open_log(url, "of-clients")
