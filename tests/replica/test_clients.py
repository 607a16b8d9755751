"""Whoever speaks to the queue speaks to one on NATS as to any other: executors, the command line, the dashboard."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from bench.nats_servers import NatsServers
from bench.replicated import AUTHKEY, Replicated
from tests.dashboard_page.running import FULL, Dashboard
from tests.executors.behaviours import BEHAVIOURS
from tests.harness import wait_until


@pytest.fixture(scope="module")
def cluster(servers: NatsServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    with Replicated(tmp_path_factory.mktemp("cluster"), servers, masters=2, workers=5, queue="clients") as made:
        yield made


@pytest.fixture(scope="module")
def errors(cluster: Replicated) -> dict[str, str]:
    """What each behaviour raised; empty: it holds."""
    ended = cluster.run("tests.executors", seconds=300)
    assert ended.returncode == 0, ended.stderr
    told = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    return {one["behaviour"]: one["error"] for one in told}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_it_behaves_as_executors_do(behaviour: str, errors: dict[str, str]) -> None:
    assert errors[behaviour] == ""


def test_the_command_line_submits_looks_and_verifies(cluster: Replicated) -> None:
    submitted = cluster.run("taskyard", "submit", "square", "12", "--wait")
    assert submitted.stdout == '"12 * 12 = 144"\n'
    for command, said in (("status", "done"), ("workers", "alive"), ("jobs", "done"), ("verify", "exactly one end")):
        ended = cluster.run("taskyard", command)
        assert (ended.returncode, said in ended.stdout) == (0, True), ended.stdout + ended.stderr


@pytest.fixture
def dashboard(cluster: Replicated) -> Iterator[Dashboard]:
    made = Dashboard(cluster.url, AUTHKEY.encode(), cluster.folder / "dashboard")
    yield made
    made.close()


def test_the_dashboard_follows_the_leader(cluster: Replicated, dashboard: Dashboard) -> None:
    before = cluster.leader()

    def ready() -> bool:
        return httpx.get(f"{dashboard.url}/readyz", timeout=30).status_code == 200

    def submit(number: int) -> str:
        body = {"name": "square", "args": [number]}
        answer = httpx.post(f"{dashboard.url}/api/v1/tasks", json=body, headers={"Authorization": f"Bearer {FULL}"}, timeout=30)
        assert answer.status_code in (201, 503), answer.text  # until workers have found the next leader too
        return str(answer.json()["ids"][0]) if answer.status_code == 201 else ""

    wait_until(ready, "the dashboard finds the queue")
    first = wait_until(lambda: submit(3), "a task is taken")
    before.kill()
    wait_until(ready, "the dashboard finds the next leader")
    second = wait_until(lambda: submit(4), "a task is taken")
    with cluster.queue() as queue:
        wait_until(lambda: [one.state for one in queue.show([first, second])] == ["done", "done"], "both have their results")
    assert cluster.leader() is not before
