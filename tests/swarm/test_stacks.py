"""Both stacks on three Docker hosts: what they survive, and how they are rolled."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.project import ROOT, clean_environment
from tests.harness import wait_until
from tests.measured import tell
from tests.swarm.rig import STACK, Host, Rig, longest_stall
from tests.swarm.seen import NatsWatch, kill_leader, place_of, statuses, wait_until_well

pytestmark = pytest.mark.timeout(1200)
MANAGER_URL = "manager://master:5000"
NATS_URL = "nats://nats1:4222,nats2:4222,nats3:4222"
LEAST_TASKS = 20_000


class Load:
    """`tests.swarm.load` on one host."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def wait_for(self, came: int) -> None:
        while self._read().get("came", -1) < came:
            pass

    def end(self) -> dict[str, Any]:
        """Let it make no more calls than it was to; returns what came of those."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        while "results" not in (told := self._read()):
            pass
        assert self._process.wait(60) == 0
        assert self._process.stdout is not None
        self._process.stdout.close()
        return told

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the client has ended"
        told: dict[str, Any] = json.loads(line)
        return told


def start(rig: Rig, host: Host, url: str, name: str, count: int, seconds: float) -> Load:
    return Load(rig.client(host, url, "tests.swarm.load", name, str(count), str(seconds)))


def test_one_master_is_enough_for_workers_on_three_hosts_and_a_rolling_update_costs_no_attempt(rig: Rig, clone: Path) -> None:
    assert "running app/job.py" in rig.deploy("single-master", {"WORKERS": "4"})
    assert rig.spec("worker", ".TaskTemplate.Resources.Limits.MemoryBytes") == str(200 * 2**20), "which stands in .env"
    first = rig.hosts[0]
    load = start(rig, first, MANAGER_URL, "square_at", 0, 0.1)
    load.wait_for(500)
    tasks = (clone / "app/tasks.py").read_text()
    with (clone / "app/tasks.py").open("a") as file:
        file.write(
            '\n\n@task\ndef cube_at(n: int, seconds: float) -> tuple[int, str]:\n    """New."""\n    return n * n, "new"\n'
        )
    # Waits for a worker that knows it: none does yet.
    newer = start(rig, first, MANAGER_URL, "cube_at", 100, 0.0)
    newer.wait_for(0)
    began = time.monotonic()
    try:
        said = rig.deploy("single-master", {"WORKERS": "4"})
    finally:
        (clone / "app/tasks.py").write_text(tasks)
    tell(f"four workers on three hosts replaced one after the other in {time.monotonic() - began:.0f} s, images built and copied")
    assert "copying 1 image(s)" in said, "only the workers' image is another"
    assert "the queue answers" in said
    assert "app/job.py" not in said, "whose work is done already"
    ended, new = load.end(), newer.end()
    times = sorted(ended.pop("times"))
    tell(f"the longest time without a result meanwhile: {longest_stall(times, times[0], times[-1]):.2f} s")
    assert set(ended.pop("hosts")) == {"host1", "host2", "host3"}
    sent = ended.pop("sent")
    assert sent > 1_000
    assert ended == {"results": sent, "faults": [], "wrong": [], "why": [], "most_attempts": 1}
    assert (new["results"], new["faults"], new["wrong"], new["most_attempts"]) == (100, [], [], 1)


def test_autoscale_takes_one_worker_to_many_and_back_and_nothing_else_takes_one_away(rig: Rig, tmp_path: Path) -> None:
    rig.deploy("single-master")
    assert rig.replicas("worker") == 2, "as .env says"
    for host in rig.hosts:
        assert images_of(host) == {
            rig.spec(name, ".TaskTemplate.ContainerSpec.Image") for name in ("master", "worker", "dashboard")
        }
    (host,) = (host for host in rig.hosts if host.containers(f"{STACK}_dashboard"))
    words = ["--swarm", f"{STACK}_worker", "--min", "1", "--max", "6", "--within", "2", "--quiet", "3"]
    with (tmp_path / "said").open("wb") as said:
        scaling = subprocess.Popen(
            [sys.executable, "-m", "taskyard", "autoscale", *words],
            cwd=tmp_path,
            env=clean_environment(DOCKER_HOST=host.socket, PYTHONPATH=str(ROOT)),
            stdout=said,
            stderr=said,
        )
    try:
        load = start(rig, host, MANAGER_URL, "square_at", 3_000, 0.02)
        wait_until(lambda: rig.replicas("worker") == 6, "as many workers as may be", 60)
        ended = load.end()
        assert (ended["results"], ended["faults"], ended["wrong"], ended["most_attempts"]) == (3_000, [], [], 1)
        assert set(ended["hosts"]) == {"host1", "host2", "host3"}
        wait_until(lambda: rig.replicas("worker") == 1, "one worker again", 90)
        wait_until(lambda: len(workers_of(rig)) == 1, "the others have ended")
        (worker,) = workers_of(rig)
        host.docker("service", "scale", "--detach", f"{STACK}_master=0")
        time.sleep(45)  # for so long it is gone: Swarm would have ended by now what waits for it
        host.docker("service", "scale", f"{STACK}_master=1")
        assert workers_of(rig) == [worker]
        assert start(rig, host, MANAGER_URL, "square_at", 10, 0.0).end()["results"] == 10
        worker[0].docker("kill", "--signal", "TERM", worker[1])
        wait_until(lambda: [one for one in workers_of(rig) if one != worker], "another one in its place", 60)
        scaling.send_signal(signal.SIGINT)
        assert scaling.wait(10) == 130
    except AssertionError as error:
        error.add_note((tmp_path / "said").read_text())
        raise
    finally:
        scaling.kill()
        scaling.wait()
    a_worker_that_somebody_has_drained_is_not_waited_for(rig)
    a_deployment_with_a_host_down_keeps_the_workers_that_came_while_it_was_building(rig)
    a_command_that_no_host_takes_is_given_up(rig)


def workers_of(rig: Rig) -> list[tuple[Host, str]]:
    """Host and container of each worker that runs."""
    return [(host, one) for host in rig.hosts for one in host.containers(f"{STACK}_worker")]


DRAIN = """
from taskyard.keys import find_authkey
from taskyard.settings import load_settings
from taskyard.transport import RemoteQueue
settings = load_settings()
queue = RemoteQueue(settings.taskyard_url, find_authkey(settings))
there = [worker for worker in queue.workers() if not worker.left]
print(queue.drain([there[0].session]) if len(there) == 1 and not there[0].draining else there)
"""
"""Drains the one worker, once the one before it has left."""


def a_worker_that_somebody_has_drained_is_not_waited_for(rig: Rig) -> None:
    (host,) = (host for host in rig.hosts if host.containers(f"{STACK}_dashboard"))
    (dashboard,) = host.containers(f"{STACK}_dashboard")
    told = [""]

    def drains() -> bool:
        told.append(host.docker("exec", dashboard, "python", "-c", DRAIN))
        return told[-1] == "1"

    try:
        wait_until(drains, "the worker has come, and is to drain")
    except AssertionError as error:
        error.add_note(told[-1])
        raise
    wait_until(lambda: not workers_of(rig), "it has ended", 60)
    assert "the queue answers" in rig.deploy("single-master")
    assert (rig.replicas("worker"), workers_of(rig)) == (1, [])


def a_deployment_with_a_host_down_keeps_the_workers_that_came_while_it_was_building(rig: Rig) -> None:
    first = rig.hosts[0]
    needed = [host for host in rig.hosts if host.containers(f"{STACK}_dashboard") or host.containers(f"{STACK}_master")]
    lost = next(host for host in rig.hosts if host not in needed)
    lost.crash()
    try:
        wait_until(lambda: "Down" in first.docker("node", "ls", "--format", "{{.Status}}", check=False), "it is missed", 90)
        said = rig.deploy("single-master", building=lambda: first.docker("service", "scale", "--detach", f"{STACK}_worker=3"))
        assert f"host{lost.number}: down" in said
        assert rig.replicas("worker") == 3
    finally:
        lost.start()
    wait_until(lambda: statuses(first) == ["Ready"] * 3, "it is back", 90)


def a_command_that_no_host_takes_is_given_up(rig: Rig) -> None:
    nodes = rig.hosts[0].docker("node", "ls", "-q").split()
    for node in nodes:
        rig.hosts[0].docker("node", "update", "--availability", "pause", node)
    try:
        assert "has not begun within 5 s" in rig.deploy("run python -m taskyard status", {"WAIT_SECONDS": "5"}, code=1)
    finally:
        for node in nodes:
            rig.hosts[0].docker("node", "update", "--availability", "active", node)


def images_of(host: Host) -> set[str]:
    """The stacks' images that a host has."""
    return set(
        host.docker("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=localhost/taskyard/*").split()
    )


def test_rolling_servers_a_bad_version_a_host_cut_off_one_crashed_and_the_logs_leader_killed_cost_no_result(
    rig: Rig, clone: Path
) -> None:
    # As a first deployment that was interrupted leaves it.
    node = rig.hosts[1].docker("info", "--format", "{{.Swarm.NodeID}}")
    rig.hosts[0].docker("node", "update", "--label-add", "taskyard.nats=1", node)
    settings = {"WORKERS": "6", "MASTERS": "3", "MASTER_LEASE": "10"}
    rig.deploy("stack", settings)
    assert [place_of(rig.hosts, f"nats{number}") for number in (1, 2, 3)] in ([2, 1, 3], [2, 3, 1])
    load = start(rig, rig.hosts[0], NATS_URL, "square_at", 0, 0.02)
    load.wait_for(500)
    began = time.time()
    each_server_is_rolled_once_the_one_before_has_caught_up_and_a_bad_version_is_taken_back(rig, clone, settings)
    rolled = time.time()
    at = strike_and_mend(rig)
    load.wait_for(LEAST_TASKS)
    ended = load.end()
    times = ended.pop("times")
    at = [("three NATS servers rolled, a bad version of the workers taken back", began), ("", rolled), *at, ("", time.time())]
    for (what, blow), (_, until) in itertools.pairwise(at):
        if what:
            tell(f"{what}: no result for {longest_stall(times, blow, min(until, max(times))):.1f} s at the longest")
    assert max(times) > at[-2][1], "the last blow came while tasks were open"
    del ended["hosts"]
    assert ended.pop("most_attempts") <= 3
    sent = ended.pop("sent")
    tell(f"{sent:,} tasks meanwhile, each of which has one result")
    assert ended == {"results": sent, "faults": [], "wrong": [], "why": []}
    assert str(sent) in rig.deploy("run python -m taskyard verify").replace(",", "")


def each_server_is_rolled_once_the_one_before_has_caught_up_and_a_bad_version_is_taken_back(
    rig: Rig, clone: Path, settings: dict[str, str]
) -> None:
    before = rig.spec("worker", ".TaskTemplate.ContainerSpec.Image")
    tasks, kept = (clone / "app/tasks.py").read_text(), (clone / ".env").read_text()
    (clone / "app/tasks.py").write_text(f"{tasks}\n\nimport nothing_of_that_name\n")
    (clone / ".env").write_text(f"{kept}NATS_DISK=8GB\n")
    try:
        with NatsWatch(rig.hosts) as watch:
            said = rig.deploy("stack", settings, code=1)
    finally:
        (clone / "app/tasks.py").write_text(tasks)
        (clone / ".env").write_text(kept)
    assert f"{STACK}_worker: rolled back" in said, said
    assert "nothing_of_that_name" in said, said
    assert rig.spec("worker", ".TaskTemplate.ContainerSpec.Image") == before
    away = []
    for number in (1, 2, 3):
        assert "NATS_DISK=8GB" in rig.spec(f"nats{number}", ".TaskTemplate.ContainerSpec.Env")
        new, old = rig.tasks(f"nats{number}")
        assert (new["Status"]["State"], old["Status"]["State"]) == ("running", "shutdown")
        away.append((old["Status"]["Timestamp"], new["Status"]["Timestamp"]))
    for (_, back), (gone, _) in itertools.pairwise(away):
        assert back < gone, f"two servers were away: {away}"
    watch.check()


def strike_and_mend(rig: Rig) -> list[tuple[str, float]]:
    """All blows, one after the other; returns which, and when each came."""
    _, second, third = rig.hosts
    blows: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        ("the leader of the log killed", lambda: kill_leader(rig), lambda: None),
        ("a host cut off for 15 s", lambda: third.cut_off(True), lambda: third.cut_off(False)),
        ("a host crashed, engine and all, for 15 s", second.crash, second.start),
    ]
    at: list[tuple[str, float]] = []
    for what, strike, undo in blows:
        at.append((what, time.time()))
        strike()
        if what != blows[0][0]:
            time.sleep(15)  # for so long it is gone
        undo()
        wait_until_well(rig, f"all is well again after: {what}", 120)
    return at
