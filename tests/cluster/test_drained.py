"""A worker of Compose that was told to drain: its container stays, idle, until somebody starts it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.cluster.project import Project, health, host_of
from tests.harness import wait_until


def test_a_drained_worker_does_not_come_back_by_itself_but_when_its_container_is_started_again(
    project: Callable[..., Project],
) -> None:
    cluster = project("drained")
    cluster.compose("up", "--detach", "--wait", "--scale", "worker=2", "master", "worker")

    def ask(*words: str) -> Any:
        return json.loads(cluster.compose("run", "--rm", "--no-deps", "-T", "cli", *words, "--json"))

    def alive() -> set[str]:
        return {worker["host"] for worker in ask("workers")}

    container, another = cluster.containers("worker")
    drained, other = host_of(container), host_of(another)
    wait_until(lambda: alive() == {drained, other}, "both have joined")
    assert ask("drain", drained) == {"drained": 1}
    (left,) = wait_until(lambda: ask("workers", "--left"), "it has left")
    assert (left["host"], left["lost"]) == (drained, False)
    wait_until(lambda: b"drained; start this worker again" in container.logs(), "its program stays")
    assert alive() == {other}
    assert (health(container), container.attrs["RestartCount"]) == ("healthy", 0)
    container.restart()
    wait_until(lambda: alive() == {drained, other}, "it works again")
