"""Whatever is killed, stopped or scaled while tasks run: every task gets its one right result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from signal import SIGKILL
from typing import Any

import pytest
from docker.models.containers import Container

from tests.cluster.conftest import WORKERS
from tests.cluster.project import Asker, Project, host_of, signal_all
from tests.harness import wait_until
from tests.measured import tell

LOAD = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "python", "cli", "-m", "tests.cluster.driver.load")
ROUNDS = 50
LEASE = 30.0


class Load:
    """A client in a container that submits so many tasks, counts what comes back and checks it."""

    def __init__(self, cluster: Project, count: int, seconds: float) -> None:
        self._process = cluster.start(*LOAD, str(count), str(seconds))
        assert self._process.stdout is not None
        self._lines: Iterator[dict[str, Any]] = map(json.loads, self._process.stdout)

    def wait_for(self, what: str, least: int = 0) -> dict[str, Any]:
        """What it tells next of that kind, once the number is so high."""
        for line in self._lines:
            if line.get(what, -1) >= least:
                return line
        raise AssertionError(f"the client has ended before {least} {what}")

    def end(self) -> dict[str, Any]:
        ended = self.wait_for("results")
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return ended


def crash(container: Container) -> None:
    """Every process of the container is gone at once; Docker starts it again, as after any crash."""
    started = container.attrs["State"]["StartedAt"]
    signal_all(container, SIGKILL)

    def is_back() -> bool:
        container.reload()
        state = container.attrs["State"]
        return bool(state["StartedAt"] != started and state["Running"])

    wait_until(is_back, f"{container.name} runs again")


@pytest.mark.alone
def test_ten_thousand_tasks_get_one_right_result_each_though_workers_and_master_are_killed_restarted_and_scaled(
    cluster: Project,
) -> None:
    def crash_two_workers() -> None:
        for container in cluster.containers("worker")[:2]:
            crash(container)

    blows: list[tuple[str, Callable[[], object]]] = [
        ("SIGKILL of two workers", crash_two_workers),
        ("SIGKILL of the master", lambda: crash(cluster.container("master"))),
        ("restart of the master", lambda: cluster.compose("restart", "master")),
        ("scale to 1 worker", lambda: cluster.compose("up", "-d", "--no-recreate", "--scale", "worker=1", "worker")),
        ("scale to 8 workers", lambda: cluster.compose("up", "-d", "--no-recreate", "--scale", "worker=8", "worker")),
    ]
    load = Load(cluster, 10_000, 0.01)
    load.wait_for("submitted")
    fell = []
    for index, (_, blow) in enumerate(blows):
        load.wait_for("came", 1000 + 1500 * index)
        fell.append(time.time())
        blow()
    ended = load.end()
    times = sorted(ended.pop("times"))
    tell(f"10,000 tasks of 10 ms, five blows: {times[-1] - times[0]:.1f} s from the first result to the last")
    for (name, _), begun, over in zip(blows, fell, [*fell[1:], times[-1]], strict=True):
        stall = max((b - a for a, b in pairwise(times) if b > begun and a < over), default=0.0)
        tell(f"    {name}: no result for {stall:.2f} s at the longest")
        assert stall < LEASE / 2
    assert times[-1] > fell[-1], "all was done before the last blow"
    assert ended.pop("most_attempts") == 1
    assert ended == {"results": 10_000, "faults": [], "wrong": []}


@pytest.mark.alone
def test_a_worker_killed_while_it_waits_never_takes_the_next_task_with_it(cluster: Project, asker: Asker) -> None:
    answered, seconds = 0, []
    for n in range(ROUNDS):
        wait_until(lambda: len(asker.workers()) == WORKERS, "all workers wait for work")
        victim = cluster.containers("worker")[n % WORKERS]
        victim.kill()
        answer = asker.ask("square_after", n, 0)
        answered += answer.get("value") == n * n
        seconds.append(answer["seconds"])
        victim.start()
    tell(f"idle worker killed, next task: {answered} of {ROUNDS} answered, the slowest in {max(seconds) * 1000:.0f} ms")
    assert answered == ROUNDS
    assert max(seconds) < 4  # a lease that has to end is 15 s or more


@pytest.mark.alone
def test_a_worker_of_the_tutorial_killed_in_get_never_takes_the_next_item_with_it(cluster: Project) -> None:
    ended = json.loads(cluster.python("-m", "tests.cluster.driver.killed_in_get", str(ROUNDS)).splitlines()[-1])
    tell(f"tutorial's worker killed in get(): {ended['reached']} of {ROUNDS} items reached another, the slowest in"
         f" {ended['slowest'] * 1000:.0f} ms")  # fmt: skip
    assert ended["reached"] == ROUNDS
    assert ended["slowest"] < 4


def test_a_task_that_kills_its_worker_ends_failed_with_the_true_cause_and_the_others_go_on(cluster: Project) -> None:
    ended = json.loads(cluster.python("-m", "tests.cluster.driver.poison", "300").splitlines()[-1])
    tell(f"poisonous tasks: {ended['failed']}; 300 others done after {ended['right_after']:.1f} s")
    assert ended["right"] == 300
    assert ended["causes"] == {
        "signal": "signal: SIGKILL (9)",
        "memory": "out of memory: killed by the kernel at the limit of 512 MiB",
        "time": "time limit: still running after 1 s",
    }
    assert ended["failed"] == sorted([cause, 3] for cause in ended["causes"].values())
    states = {container.attrs["State"]["Running"] for container in cluster.containers("worker")}
    assert states == {True}, "supervisors outlive what their slots die of"


def test_sigterm_lets_a_worker_finish_what_runs(cluster: Project, asker: Asker) -> None:
    asker.send(["host_after", [20.0], 60])
    busy = wait_until(lambda: [worker for worker in cluster.workers_heard_of() if worker["busy"]], "somebody runs it")
    victim = next(container for container in cluster.containers("worker") if host_of(container) == busy[0]["host"])
    began = time.monotonic()
    victim.stop(timeout=30)
    assert time.monotonic() - began > 1, "it was busy when it was told to stop"
    answer = asker.answer()
    assert answer["value"] == host_of(victim)
    assert answer["seconds"] < 20 + LEASE / 2
    assert victim.wait()["StatusCode"] == 0


def test_sigterm_gives_back_what_waits_counts_no_attempt_and_nothing_waits_for_a_lease_to_end(cluster: Project) -> None:
    load = Load(cluster, 3_000, 0.01)
    for came, victim in zip((500, 1000), cluster.containers("worker"), strict=False):
        load.wait_for("came", came)
        victim.stop(timeout=30)
        assert victim.wait()["StatusCode"] == 0
        stopped = time.time()
    ended = load.end()
    times = sorted(ended.pop("times"))
    assert times[-1] > stopped, "all was done before they stopped"
    stall = max(b - a for a, b in pairwise(times))
    tell(f"two of five workers stopped by SIGTERM in 3,000 tasks: no result for {stall:.2f} s at the longest")
    assert stall < LEASE / 3  # what waited for a lease to end would come 20 s after the last of the others
    assert ended == {"results": 3_000, "faults": [], "wrong": [], "most_attempts": 1}


@pytest.mark.parametrize("service", ["worker", "master"])
def test_compose_kill_and_up_bring_everything_back(cluster: Project, service: str) -> None:
    load = Load(cluster, 1_000, 0.01)
    load.wait_for("came", 500)
    cluster.compose("kill", service)
    cluster.compose("up", "--detach", "--no-recreate", "--scale", f"worker={WORKERS}", "master", "worker")
    ended = load.end()
    del ended["times"]
    assert ended == {"results": 1_000, "faults": [], "wrong": [], "most_attempts": 1}
