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

from tests.cluster.project import ROOT, clean_environment
from tests.harness import wait_until
from tests.measured import tell
from tests.swarm.rig import STACK, Host, Rig, longest_stall

MANAGER_URL = "manager://master:5000"
NATS_URL = "nats://nats1:4222,nats2:4222,nats3:4222"


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
    rig.deploy("single-master", WORKERS="4", WORKER_MEMORY="200M")
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
        said = rig.deploy("single-master", WORKERS="4", WORKER_MEMORY="200M")
    finally:
        (clone / "app/tasks.py").write_text(tasks)
    tell(f"four workers on three hosts replaced one after the other in {time.monotonic() - began:.0f} s, images built and copied")
    assert "copying 1 image(s)" in said, "only the workers' image is another"
    ended, new = load.end(), newer.end()
    times = sorted(ended.pop("times"))
    tell(f"the longest time without a result meanwhile: {longest_stall(times, times[0], times[-1]):.2f} s")
    assert set(ended.pop("hosts")) == {"host1", "host2", "host3"}
    sent = ended.pop("sent")
    assert sent > 1_000
    assert ended == {"results": sent, "faults": [], "wrong": [], "why": [], "most_attempts": 1}
    assert (new["results"], new["faults"], new["wrong"], new["most_attempts"]) == (100, [], [], 1)


def test_autoscale_takes_one_worker_to_many_and_back_and_nothing_else_takes_one_away(rig: Rig, tmp_path: Path) -> None:
    rig.deploy("single-master", WORKERS="1", WORKER_MEMORY="200M")
    (host,) = (host for host in rig.hosts if host.containers(f"{STACK}_dashboard"))

    def replicas() -> int:
        return int(host.docker("service", "inspect", f"{STACK}_worker", "--format", "{{.Spec.Mode.Replicated.Replicas}}"))

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
        wait_until(lambda: replicas() == 6, "as many workers as may be", 60)
        ended = load.end()
        assert (ended["results"], ended["faults"], ended["wrong"], ended["most_attempts"]) == (3_000, [], [], 1)
        assert set(ended["hosts"]) == {"host1", "host2", "host3"}
        wait_until(lambda: replicas() == 1, "one worker again", 90)
        # A deployment of anything else leaves it at that.
        rig.deploy("single-master", WORKER_MEMORY="200M")
        assert replicas() == 1
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


def workers_of(rig: Rig) -> list[tuple[Host, str]]:
    """Host and container of each worker that runs."""
    return [(host, one) for host in rig.hosts for one in host.containers(f"{STACK}_worker")]


def log_leader(hosts: list[Host]) -> tuple[Host, str]:
    """Host and container of the NATS server that leads the queue's log."""
    for host in hosts:
        for number in (1, 2, 3):
            for container in host.containers(f"{STACK}_nats{number}"):
                page = host.docker(
                    *("exec", container, "wget", "-q", "-O", "-", "http://127.0.0.1:8222/jsz?accounts=1&streams=1"), check=False
                )
                if f'"leader": "nats{number}"' in page.partition('"name": "taskyard-taskyard-log"')[2].partition('"replicas"')[0]:
                    return host, container
    raise AssertionError("no server leads the log")


def kill_leader(rig: Rig) -> None:
    host, container = log_leader(rig.hosts)
    host.docker("kill", container)


def test_a_host_cut_off_another_one_crashed_and_the_logs_leader_killed_cost_no_result(rig: Rig) -> None:
    rig.deploy("stack", WORKERS="6", WORKER_MEMORY="200M", MASTERS="3", MASTER_LEASE="10")
    first, second, third = rig.hosts
    load = start(rig, first, NATS_URL, "square_at", 20_000, 0.02)
    load.wait_for(500)
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
        wait_until(lambda: all_well(rig.hosts), f"all is well again after: {what}", 120)
    struck_until = time.time()
    ended = load.end()
    times = ended.pop("times")
    at.append(("", struck_until))
    for (what, blow), (_, until) in itertools.pairwise(at):
        tell(f"{what}: no result for {longest_stall(times, blow, min(until, max(times))):.1f} s at the longest")
    assert max(times) > at[2][1], "the last blow came while tasks were open"
    del ended["hosts"]
    attempts = ended.pop("most_attempts")
    assert attempts <= 3
    assert ended == {"sent": 20_000, "results": 20_000, "faults": [], "wrong": [], "why": []}
    assert "20000" in rig.deploy("run python -m taskyard verify").replace(",", "")


def all_well(hosts: list[Host]) -> bool:
    """Whether every service has as many healthy tasks as it should, and each server of NATS all that the others have."""
    manager = hosts[0]
    told = manager.docker("service", "ls", "--format", "{{.Replicas}}", check=False).split("\n")
    nodes = manager.docker("node", "ls", "--format", "{{.Status}}", check=False).split()
    if nodes != ["Ready"] * 3 or not all(len({*line.split()[0].split("/")}) == 1 for line in told if line):
        return False
    servers = [(host, one) for host in hosts for number in (1, 2, 3) for one in host.containers(f"{STACK}_nats{number}")]
    asked = ("wget", "-q", "-O", "-", "http://127.0.0.1:8222/healthz")
    return len(servers) == 3 and all('"ok"' in host.docker("exec", one, *asked, check=False) for host, one in servers)
