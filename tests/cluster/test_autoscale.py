"""Workers that come and go with the load, on the shipped compose file: nothing that runs is ended for it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.project import ROOT, Project
from tests.harness import wait_until
from tests.measured import tell

TASKS = 5000
MOST = 6
BURST = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "python", "cli", "-m", "tests.cluster.driver.load", str(TASKS), "0.01")


class OnTheHost:
    """The command line as its user types it, in the project's folder; what it prints goes to a file."""

    def __init__(self, cluster: Project, folder: Path) -> None:
        files = os.pathsep.join(map(str, cluster.files))
        names = {"COMPOSE_PROJECT_NAME": cluster.name, "COMPOSE_FILE": files, "PYTHONPATH": str(ROOT)}
        self.environment = cluster.environment | names
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / "said").open("wb") as said:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "taskyard", *words],
                    cwd=self.folder,
                    env=self.environment,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                )
            )
        return self.processes[-1]

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def run(self, *words: str, code: int = 0) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "taskyard", *words],
            cwd=self.folder,
            env=self.environment,
            text=True,
            timeout=120,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert ended.returncode == code, ended.stdout
        return ended.stdout


@pytest.fixture
def cluster(project: Callable[..., Project]) -> Project:
    # With this grace, who is stopped before it has drained gives back what it runs.
    made = project("autoscale", driver=True, WORKER_GRACE="1")
    made.compose("up", "--detach", "--wait", "--scale", "worker=1", "master", "worker")
    return made


@pytest.fixture
def host(cluster: Project, tmp_path: Path) -> Iterator[OnTheHost]:
    made = OnTheHost(cluster, tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


def count(cluster: Project) -> int:
    return len(cluster.compose("ps", "--all", "--quiet", "worker").split())  # at a stroke: they come and go meanwhile


def test_a_burst_takes_one_worker_to_the_most_and_back_to_one_and_no_task_is_attempted_twice(
    cluster: Project, host: OnTheHost
) -> None:
    scaling = host.start("autoscale", "--min", "1", "--max", str(MOST), "--within", "3", "--quiet", "3")
    wait_until(lambda: f"1 to {MOST} workers" in host.said(), "it has begun")
    assert "being scaled by another program" in host.run("scale", "3", code=1)
    begun = time.monotonic()
    burst = cluster.start(*BURST)
    wait_until(lambda: count(cluster) == MOST, "as many workers as may be")
    tell(f"autoscale: from 1 to {MOST} workers {time.monotonic() - begun:.1f} s after a burst of {TASKS:,} tasks began to start")
    said, _ = burst.communicate(timeout=120)
    judged = json.loads(said.splitlines()[-1])
    ended = time.monotonic()
    assert (judged["results"], judged["wrong"], judged["faults"], judged["most_attempts"]) == (TASKS, [], [], 1)
    wait_until(lambda: count(cluster) == 1, "one worker again")
    tell(f"autoscale: back to 1 worker {time.monotonic() - ended:.1f} s after the last result")
    wait_until(lambda: [worker["draining"] for worker in cluster.workers_heard_of()] == [False], "and that one works")
    scaling.send_signal(signal.SIGINT)
    assert scaling.wait(10) == 130
    assert "Traceback" not in host.said()
    assert re.search(rf"-> {MOST} workers: [\d,]+ tasks to run", host.said()), host.said()
    assert count(cluster) == 1
    wait_until(lambda: not cluster.containers_of_runs(), "what asked the queue has gone too")


def test_fewer_workers_wait_for_what_runs(cluster: Project, host: OnTheHost) -> None:
    assert host.run("scale", "3").endswith(" 3 workers\n")
    cli = ("run", "--rm", "--no-deps", "-T", "cli")
    for n in range(3):
        cluster.compose(*cli, "submit", "square_after", str(n), "40")
    wait_until(lambda: sum(worker["busy"] for worker in cluster.workers_heard_of()) == 3, "all are busy")
    host.run("scale", "1")
    assert count(cluster) == 1
    told = json.loads(cluster.compose(*cli, "tasks", "--json"))
    assert {task["attempts"] for task in told if task["state"] == "done"} == {1}
    assert {task["state"] for task in told} <= {"done", "leased"}
    assert sum(task["state"] == "done" for task in told) >= 2  # the two workers that have gone had one each
