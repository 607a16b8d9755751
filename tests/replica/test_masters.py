"""Masters, NATS servers and workers that are killed, stopped or cut off while they work: every task has one result."""

from __future__ import annotations

import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from time import monotonic

import pytest

from bench.nats_servers import NatsServer, NatsServers
from bench.replicated import AUTHKEY, Program, Replicated
from bench.tasks import square
from master.replica.log import Holder, Log
from taskyard.broker import Broker
from taskyard.urls import parse_nats_url
from tests.harness import wait_until
from tests.measured import tell
from tests.nats_member import NewQueue, insist

ROOT = Path(__file__).parents[2]

BEFORE, AFTER, AFTER_SECONDS = 2000, 3000, 3.0
"""Results before a blow; and so many, for so long, after it."""
STALL_SECONDS = {"leaves": 5.0, "master": 8.0, "server": 15.0, "host": 23.0}
"""Bounds of how long no result may come: two seconds until a master is missed and what a busy machine adds; NATS's servers
miss theirs after four seconds, and elect for as long again."""


@pytest.fixture(scope="module")
def lasting(servers: NatsServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    with Replicated(tmp_path_factory.mktemp("cluster"), servers, masters=2, workers=2, queue="q", app="bench.tasks") as made:
        yield made


@pytest.fixture
def cluster(lasting: Replicated) -> Replicated:
    """All of it runs, whatever the last test has left."""
    for master in lasting.masters.values():
        if not master.runs:
            (master.folder / "health").unlink(missing_ok=True)
            master.start()
    for master in lasting.masters.values():
        wait_until((master.folder / "health").exists, "it stands by, or leads")
    return lasting


def stall_of(cluster: Replicated, strike: Callable[[], None]) -> float:
    """Seconds without any result at the longest, of calls that go on while ``strike`` is done. Each has its result, and in the
    queue one end."""
    with cluster.client() as client:
        longest, last, struck_at, since = 0.0, monotonic(), 0.0, 0
        for number, value in enumerate(client.map(square, count(), chunksize=1, buffersize=50)):
            assert value == number * number
            now = monotonic()
            if number:  # before the first one workers may still look for the master that the last test has left
                longest = max(longest, now - last)
            last = now
            if not struck_at and number == BEFORE:
                strike()
                struck_at, since = now, number
            if struck_at and number - since > AFTER and now - struck_at > AFTER_SECONDS:
                break
    verified = cluster.run("taskyard", "verify")
    assert verified.returncode == 0, verified.stdout
    return longest


def server_that_leads(cluster: Replicated, servers: NatsServers) -> NatsServer:
    """The log."""
    led = wait_until(lambda: servers.leader_of(f"taskyard-{cluster.name}-log"), "NATS knows who leads the log")
    assert led is not None
    return led


def test_a_killed_leader_is_replaced_and_no_result_is_lost(cluster: Replicated) -> None:
    former = cluster.leader()
    stall = stall_of(cluster, former.kill)
    tell(f"replicated queue: leading master killed: no result for {stall:.1f} s at the longest")
    assert cluster.leader() is not former
    assert stall < STALL_SECONDS["master"]


def test_a_leader_that_was_frozen_finds_another_one_in_its_place(cluster: Replicated) -> None:
    former = cluster.leader()
    stall = stall_of(cluster, lambda: former.signal(signal.SIGSTOP))
    tell(f"replicated queue: leading master frozen: no result for {stall:.1f} s at the longest")
    before = former.log.read_text()
    former.signal(signal.SIGCONT)
    wait_until(lambda: "leads no more" in former.log.read_text().removeprefix(before), "the former leader's insight")
    leader = cluster.leader()
    assert leader is not former
    leader.kill()
    wait_until(lambda: cluster.leader() is former, "the former leader leads again")
    assert cluster.run("taskyard", "verify").returncode == 0
    assert stall < STALL_SECONDS["master"]


def test_a_leader_that_is_told_to_stop_leaves_its_place_at_once(cluster: Replicated) -> None:
    former = cluster.leader()
    (other,) = (master for master in cluster.masters.values() if master is not former)
    before = other.log.read_text()
    stall = stall_of(cluster, lambda: former.signal(signal.SIGTERM))
    tell(f"replicated queue: leading master stopped: no result for {stall:.1f} s at the longest")
    assert former.stop() == 0
    (taken,) = (line for line in other.log.read_text().removeprefix(before).splitlines() if "takes the leader's place" in line)
    assert "it left" in taken, "nobody waited for more of its silence"
    assert stall < STALL_SECONDS["leaves"]


def test_a_killed_server_of_nats_that_led_the_log_is_replaced(cluster: Replicated, servers: NatsServers) -> None:
    led = server_that_leads(cluster, servers)
    stall = stall_of(cluster, led.kill)
    tell(f"replicated queue: NATS's leader of the log killed: no result for {stall:.1f} s at the longest")
    led.start()
    servers.wait_until_ready()
    assert stall < STALL_SECONDS["server"]


def test_a_frozen_server_of_nats_that_led_the_log_is_replaced(cluster: Replicated, servers: NatsServers) -> None:
    led = server_that_leads(cluster, servers)
    try:
        stall = stall_of(cluster, lambda: led.signal(signal.SIGSTOP))
    finally:
        led.signal(signal.SIGCONT)
    tell(f"replicated queue: NATS's leader of the log frozen: no result for {stall:.1f} s at the longest")
    servers.wait_until_ready()
    assert stall < STALL_SECONDS["server"]


def test_a_host_with_the_leading_master_and_server_is_replaced(cluster: Replicated, servers: NatsServers) -> None:
    former, led = cluster.leader(), server_that_leads(cluster, servers)

    def freeze() -> None:
        for program in (former, led):
            program.signal(signal.SIGSTOP)

    try:
        stall = stall_of(cluster, freeze)
    finally:
        for program in (former, led):
            program.signal(signal.SIGCONT)
    tell(f"replicated queue: leading master and NATS's leader of the log frozen: no result for {stall:.1f} s at the longest")
    servers.wait_until_ready()
    assert stall < STALL_SECONDS["host"]


def test_a_master_that_cannot_have_its_port_says_so_and_never_takes_the_place_of_one_that_can(
    queue: NewQueue, tmp_path: Path
) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    own = {"TASKYARD_URL": queue.url, "TASKYARD_AUTHKEY": AUTHKEY, "MASTER_HOST": "127.0.0.1", "MASTER_PORT": str(port)}
    master = Program(
        "master", tmp_path / "master", own | {"PYTHONPATH": str(ROOT), "MASTER_DATA": "data", "MASTER_REPLICAS": "1"}
    )
    master.start()
    assert master.process is not None
    assert master.process.wait(30) == 78
    assert f"can't listen on 127.0.0.1:{port} (MASTER_HOST, MASTER_PORT): Address already in use" in master.log.read_text()
    assert queue.log.holder() == Holder("", "", 0)
    taken.close()


def test_masters_that_have_lost_all_they_had_replay_it(cluster: Replicated) -> None:
    with cluster.client() as client:
        list(client.map(square, range(500), chunksize=1))
    with cluster.queue() as queue:
        (job,) = queue.jobs(None, 1, 0)
        before = queue.results(job.job, 0, 1000, 0)
    for master in cluster.masters.values():
        master.kill()
        shutil.rmtree(master.folder / "data")
    for master in cluster.masters.values():
        master.start()
    with cluster.queue() as queue:
        assert queue.results(job.job, 0, 1000, 0) == before
        assert len(before) == 500


def test_what_nats_has_lost_the_masters_have_and_what_they_have_not_is_submitted_again(
    cluster: Replicated, servers: NatsServers
) -> None:
    log = Log(Broker(parse_nats_url(cluster.url), "master", str), cluster.name, len(servers.all))
    log.open(10)
    with cluster.client() as client, cluster.queue() as queue:
        first = list(client.map(square, range(100), chunksize=1))
        queue.pause(True)
        waiting = [client.submit(square, number) for number in range(99)]
        waiting.append(client.options(key="the one with a key").submit(square, 99))
        wait_until(lambda: queue.stats()["ready"] == 100, "all are in the queue")
        before = queue.stats()["done"]
        one = cluster.leader()
        (other,) = (master for master in cluster.masters.values() if master is not one)
        for master in (one, other):
            master.kill()
        insist(log.delete)
        one.start()
        assert (queue.stats()["ready"], queue.stats()["done"]) == (100, before)  # of its copy
        one.kill()
        for master in (one, other):
            shutil.rmtree(master.folder / "data")
        insist(log.delete)
        one.start()
        assert [future.result(60) for future in waiting] == first  # nothing but the client had them
    log.close()
