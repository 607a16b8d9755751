"""`python -m master copies`: before a NATS server is stopped, whether the others have all there is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bench.nats_servers import NatsServer, NatsServers
from master.replica.log import Log
from taskyard.broker import Broker
from taskyard.errors import Unreachable
from taskyard.urls import parse_nats_url
from tests.cluster.project import ROOT
from tests.harness import wait_until
from tests.nats_member import insist


@pytest.fixture
def log(servers: NatsServers) -> Iterator[Log]:
    made = Log(Broker(parse_nats_url(servers.url), "master", str), "copies", 3)
    try:
        wait_until(lambda: is_there(made), "the servers have met", 60)
        yield made
        insist(made.delete)
    finally:
        made.close()


def is_there(log: Log) -> bool:
    """Whether NATS keeps the log now; a server that has just been started again may be thought away for a while."""
    try:
        log.open(30)
    except Unreachable:
        return False
    return True


def copies(url: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TASKYARD_URL": url, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "master", "copies", *words],
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )


def last_of(server: NatsServer, name: str) -> int | None:
    """The place of the last message of a stream that one server has; None: it has none, or does not answer in time."""
    with suppress(OSError):
        (account,) = server.ask("/jsz?streams=1&accounts=1")["account_details"]
        return next((stream["state"]["last_seq"] for stream in account["stream_detail"] if stream["name"] == name), None)
    return None


def test_who_would_stop_a_server_is_told_which_other_one_lacks_something_and_waits_until_it_has_it(
    servers: NatsServers, log: Log, tmp_path: Path
) -> None:
    whole = copies(servers.url, tmp_path, "--wait", "30")
    assert (whole.returncode, whole.stdout, whole.stderr) == (0, "", "")
    leader = wait_until(lambda: servers.leader_of(log.name), "the log has a leader")
    gone = next(server for server in servers.all if server is not leader)
    after = log.claim(1, log.state().last, b"leads")
    gone.kill()
    try:
        for number in range(50):
            after = log.append(1, after, b"x" * 1000 + str(number).encode())
        wait_until(
            lambda: f"{gone.name} is away or has not caught up ({log.name})" in copies(servers.url, tmp_path).stderr,
            "it is missed",
            30,
        )
        assert copies(servers.url, tmp_path).returncode == 69
        # It is the one to be stopped: the others are enough.
        assert copies(servers.url, tmp_path, "--but", gone.name, "--wait", "30").returncode == 0
    finally:
        gone.start()
    assert copies(servers.url, tmp_path, "--wait", "60").returncode == 0
    # What it has taken it commits with what comes next, or in a moment.
    wait_until(lambda: last_of(gone, log.name) == after, "it has all", 10)


def test_without_nats_servers_in_the_url_there_are_no_copies_to_ask_for(tmp_path: Path) -> None:
    said = copies("manager://127.0.0.1:5000", tmp_path)
    assert said.returncode == 78
    assert "names no NATS servers" in said.stderr
