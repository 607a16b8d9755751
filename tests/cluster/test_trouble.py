"""Masters that are not there, wrong keys and addresses, frozen workers, disks that are full: told in one clear line each."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address
from signal import SIGCONT, SIGSTOP
from typing import Any

import pytest
from docker.models.containers import Container

from taskyard.wire import SILENT_SECONDS
from tests.cluster.project import Asker, Project, health, host_of, inside, signal_all
from tests.harness import wait_until
from tests.measured import tell

OUTAGE = 60.0
LEASE = 30.0
SMALL_DISK = """
volumes:
  data:
    driver: "local"
    driver_opts: { type: "tmpfs", device: "tmpfs", o: "size=24m,uid=10001,gid=10001" }
"""
FILL = """
with open("/var/lib/taskyard/ballast", "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError as error:
        print(error.strerror)
"""
SUBMIT = """
from taskyard.errors import StoreFull
from taskyard.model import Task
from taskyard.keys import find_authkey
from taskyard.settings import load_settings
from taskyard.transport import RemoteQueue

settings = load_settings()
with RemoteQueue(settings.taskyard_url, find_authkey(settings)) as queue:
    try:
        queue.submit([Task("big", "job", "nothing", bytes(2**20))])
    except StoreFull as error:
        print(error)
    stats = queue.stats()
    print(stats["ready"] + stats["leased"] + stats["delayed"], "open")
"""


def lines_about(log: str, words: str) -> list[str]:
    assert "Traceback" not in log, log
    return [line for line in log.splitlines() if words in line]


def test_workers_that_are_there_before_their_master_say_so_in_one_line_and_join_by_themselves(
    project: Callable[..., Project],
) -> None:
    early = project("early")
    early.compose("up", "--detach", "--no-deps", "--scale", "worker=2", "worker")
    wait_until(lambda: len(lines_about(early.log("worker"), "waiting for the master's authkey")) == 2, "both say so")
    early.compose("up", "--detach", "--wait", "--no-recreate", "--scale", "worker=2", "master", "worker")
    assert len(early.workers_heard_of()) == 2
    log = early.log("worker")
    assert len(lines_about(log, "waiting for the master's authkey")) == 2
    assert len(lines_about(log, "ready  ")) == 2


def test_a_master_that_is_gone_for_a_minute_costs_a_minute_and_one_line_of_each_worker(cluster: Project, asker: Asker) -> None:
    before = {worker.name: len(worker.logs()) for worker in cluster.containers("worker")}
    cluster.compose("stop", "master")
    went = time.monotonic()
    asker.send(["square_after", [12, 0], 120])
    wrong_key = cluster.compose("run", "--rm", "-T", "--no-deps", "-e", "TASKYARD_AUTHKEY=x", "cli", "health", code=69)
    assert len(lines_about(wrong_key, "no master answers at manager://master:5000")) == 1
    threading.Event().wait(went + OUTAGE - time.monotonic())
    cluster.compose("start", "master")
    back = time.monotonic()
    assert asker.answer()["value"] == 144
    tell(f"master away for {back - went:.0f} s: the next result {time.monotonic() - back:.1f} s after it was started again")
    wait_until(lambda: all(health(worker) == "healthy" for worker in cluster.containers("worker")), "all are well again")
    for worker in cluster.containers("worker"):
        log = worker.logs()[before[worker.name] :].decode()
        assert len(lines_about(log, "no master answers at manager://master:5000")) == 1, log
        assert len(lines_about(log, "connected to manager://master:5000 after")) == 1, log
        assert len(log.splitlines()) == 2, log


def test_a_worker_with_a_wrong_key_ends_with_a_code_of_its_own_and_one_line(cluster: Project) -> None:
    said = cluster.compose("run", "--rm", "-T", "--no-deps", "-e", "TASKYARD_AUTHKEY=wrong", "worker", code=77)
    assert len(lines_about(said, "worker: the master at manager://master:5000 has another authkey; give both the same one")) == 1

    def refused() -> list[str]:
        return lines_about(cluster.log("master"), "a connection was refused")

    wait_until(lambda: any("digest" in line for line in refused()[-1:]), "the master says so too", 20)


@pytest.mark.parametrize("address", ["nowhere:5000", "master:5999", "192.0.2.1:5000"])
def test_a_worker_with_a_wrong_address_says_so_in_one_line_and_waits(project: Callable[..., Project], address: str) -> None:
    lost = project("lost", CLUSTER_URL=f"manager://{address}", TASKYARD_AUTHKEY="key")
    lost.compose("up", "--detach", "master", "worker")
    told = wait_until(lambda: lines_about(lost.log("worker"), "no master answers"), "it says so", 30)
    assert re.search(rf"no master answers at manager://{address} \(.+\); trying again until it does", told[0])
    lost.compose("stop", "worker")
    worker = lost.container("worker")
    assert worker.wait()["StatusCode"] == 0
    assert len(lines_about(lost.log("worker"), "no master answers")) == 1


def test_a_frozen_worker_turns_unhealthy_and_loses_its_task_to_another_while_a_busy_one_stays_healthy(
    cluster: Project, asker: Asker
) -> None:
    other = Asker(cluster)
    other.send(["hold_the_interpreter", [40.0], 120])
    busy = wait_until(lambda: [worker for worker in asker.workers() if worker["busy"]], "somebody is busy")[0]["host"]
    asker.send(["host_after", [20.0], 120])
    hosts = wait_until(
        lambda: [w["host"] for w in cluster.workers_heard_of() if w["busy"] and w["host"] != busy], "the other too"
    )
    by_host = {host_of(container): container for container in cluster.containers("worker")}
    frozen = by_host[hosts[0]]
    signal_all(frozen, SIGSTOP)
    try:
        froze = time.monotonic()
        wait_until(lambda: health(frozen) == "unhealthy", "the frozen one turns unhealthy")
        tell(f"frozen worker: unhealthy after {time.monotonic() - froze:.0f} s")
        assert health(by_host[busy]) == "healthy"
        assert all(check["ExitCode"] == 0 for check in by_host[busy].attrs["State"]["Health"]["Log"])
        answer = asker.answer()
        tell(f"    its task has a result of another worker after {answer['seconds']:.0f} s")
        assert answer["value"] != host_of(frozen)
        assert answer["seconds"] < LEASE + 40
        assert other.answer()["value"] == "done"
    finally:
        signal_all(frozen, SIGCONT)
        other.close()
    wait_until(lambda: health(frozen) == "healthy", "the thawed one is well again")


def test_workers_whose_network_comes_back_with_other_addresses_are_soon_at_work_again(cluster: Project, asker: Asker) -> None:
    network = cluster.network("queue")

    def seen(container: Container) -> dict[str, Any]:
        container.reload()
        found: dict[str, Any] = container.attrs["NetworkSettings"]["Networks"][network.name]
        return found

    workers = cluster.containers("worker")
    before = {container: seen(container) for container in workers}
    by_address = sorted(workers, key=lambda container: ip_address(before[container]["IPAddress"]))
    for container in workers:
        network.disconnect(container)
    for container in [*by_address[1:], by_address[0]]:  # each gets the lowest address that is free
        network.connect(container, aliases=before[container]["Aliases"])
    assert all(seen(container)["IPAddress"] != before[container]["IPAddress"] for container in workers)
    answer = asker.ask("square_after", 7, 0)
    assert answer["value"] == 49
    back = time.monotonic()
    wait_until(lambda: all(health(container) == "healthy" for container in workers), "all are well again")
    wait_until(lambda: len(asker.workers()) == len(workers), "all are at work again")
    tell(
        f"workers that have exchanged their addresses: a task done after {answer['seconds']:.0f} s,"
        f" all well {time.monotonic() - back:.0f} s later"
    )
    # Of a connection, that is; a worker's may end one after the other.
    assert answer["seconds"] < 2 * SILENT_SECONDS + 5
    assert time.monotonic() - back < LEASE + 8


@pytest.fixture
def small_disk(project: Callable[..., Project]) -> Project:
    cluster = project("full", SMALL_DISK, driver=True)
    cluster.compose("up", "--detach", "--wait", "master", "worker")
    return cluster


def test_on_a_full_disk_submitters_are_told_what_runs_can_settle_later_and_nothing_is_lost(small_disk: Project) -> None:
    master = small_disk.container("master")
    asker = Asker(small_disk)
    asker.send(["square_after", [7, 20.0], 120])
    wait_until(lambda: any(worker["busy"] for worker in small_disk.workers_heard_of()), "the task runs")
    assert inside(master, "python", "-c", FILL).strip() == "No space left on device"
    told, still_open = small_disk.python("-c", SUBMIT).splitlines()[-2:]
    assert told == "the disk that holds /var/lib/taskyard/taskyard.db is full: free some space, the queue goes on by itself"
    assert still_open == "1 open"
    wait_until(lambda: "outcomes wait for room on the master's disk" in small_disk.log("worker"), "the outcome waits")
    master.exec_run(["rm", "/var/lib/taskyard/ballast"])
    assert asker.answer()["value"] == 49
    assert asker.ask("square_after", 8, 0)["value"] == 64
    asker.close()
    log = small_disk.log("master")
    news = [line for line in log.splitlines() if "nothing can be written" in line or "there is room on the disk again" in line]
    assert "nothing can be written" in news[0]
    assert "there is room on the disk again" in news[-1]
    assert "Traceback" not in log


def test_a_volume_that_can_not_be_written_is_named_and_the_exit_code_is_74(project: Callable[..., Project]) -> None:
    over = 'services: { master: { restart: "no", volumes: ["data:/var/lib/taskyard:ro"] } }'
    read_only = project("read-only", over)
    read_only.compose("up", "--detach", "master")
    assert read_only.container("master").wait(timeout=60)["StatusCode"] == 74
    assert len(lines_about(read_only.log("master"), "master: /var/lib/taskyard/taskyard.db can't be ")) == 1
    assert len(read_only.log("master").splitlines()) == 1
