"""Servers of NATS that start together but don't all find into JetStream's cluster (deploy/nats/health.sh)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError

from tests.cluster.project import ROOT, SHIPPED, Project, inside
from tests.harness import wait_until

NAMES = ("nats1", "nats2", "nats3")
OUTSIDE = """
server_name: nats3
http: "127.0.0.1:8222"
cluster {
  name: taskyard
  port: 6222
  pool_size: -1
  authorization { user: route, password: $NATS_ROUTE_PASSWORD }
  routes: $NATS_ROUTES
}
"""
"""A server that is connected to the others and no part of JetStream's cluster; by itself one start in 40 comes to that."""
LOOKS = 7
"""More than the second server waits before it starts again."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Project]:
    """Three servers, of which the third stays outside; not started yet."""
    (tmp_path / "outside.conf").write_text(OUTSIDE)
    over = tmp_path / "over.yaml"
    over.write_text(f'services: {{ nats3: {{ volumes: ["{tmp_path}/outside.conf:/etc/taskyard-nats/cluster.conf:ro"] }} }}')
    project = Project("taskyard-test-nats-start", [SHIPPED, ROOT / "compose.nats.yaml", over])
    project.down()
    try:
        yield project
    finally:
        project.down()


def have_joined(cluster: Project) -> bool:
    """Whether each has noted that all belong to JetStream's cluster."""
    try:
        return all(inside(cluster.container(name), "ls", "/data/joined") == "/data/joined\n" for name in NAMES)
    except APIError:  # one of them is just starting again
        return False


def wait_until_all_are_in(cluster: Project) -> None:
    """For some minutes: it may take several starts."""
    try:
        wait_until(lambda: have_joined(cluster), "all are in", 180)
    except AssertionError as error:
        for name in NAMES:
            words = ("ls", "-l", "/data"), *(("wget", "-qO-", f"http://127.0.0.1:8222/{what}") for what in ("jsz", "routez"))
            told = (inside(cluster.container(name), *command) for command in words)
            error.add_note("\n".join((name, cluster.log(name)[-3000:], *told)))
        raise


def state(cluster: Project, name: str) -> dict[str, Any]:
    told: dict[str, Any] = cluster.container(name).attrs["State"]
    return told


def looks_at(cluster: Project, name: str) -> set[str]:
    """When its health was asked for lately: Docker tells the last five."""
    return {look["Start"] for look in state(cluster, name)["Health"]["Log"]}


def test_a_server_that_has_not_met_the_others_does_not_note_that_it_has(cluster: Project) -> None:
    cluster.compose("up", "--detach", "--build", "nats2")
    wait_until(lambda: len(looks_at(cluster, "nats2")) > 3, "its health was asked for", 90)
    assert state(cluster, "nats2")["Health"]["Status"] == "healthy"
    assert "joined" not in inside(cluster.container("nats2"), "ls", "/data")
    cluster.files.pop()
    cluster.compose("up", "--detach", *NAMES)
    wait_until_all_are_in(cluster)


def test_a_server_of_2_10_that_has_others_uses_one_processor_lest_it_stays_mute(cluster: Project) -> None:
    cluster.compose("up", "--detach", "--build", "nats1")

    def told() -> str:
        said = inside(cluster.container("nats1"), "wget", "-qO-", "http://127.0.0.1:8222/varz")
        return said if said.startswith("{") else ""

    about = json.loads(wait_until(told, "it answers"))
    assert about["gomaxprocs"] == 1 or not about["version"].startswith("2.10.")


def test_one_starts_again_while_another_is_outside_and_none_does_for_one_that_is_lost_later(cluster: Project) -> None:
    cluster.compose("up", "--detach", "--build", *NAMES)

    def again() -> set[str]:
        return {name for name in NAMES if f"{name} starts again" in cluster.log(name)}

    (who,) = wait_until(again, "one of them starts again", 90)
    assert who != "nats3", "which nobody leads"
    assert not have_joined(cluster)

    cluster.files.pop()
    cluster.compose("up", "--detach", *NAMES)
    wait_until_all_are_in(cluster)

    started = {name: state(cluster, name)["StartedAt"] for name in ("nats1", "nats2")}
    cluster.compose("stop", "nats3")
    seen = {name: looks_at(cluster, name) for name in started}

    def looked_often() -> bool:
        for name, looks in seen.items():
            looks |= looks_at(cluster, name)
        return all(len(looks) > LOOKS + 5 for looks in seen.values())

    wait_until(looked_often, "their health was asked for more often than it takes to start again", 90)
    assert {name: state(cluster, name)["StartedAt"] for name in started} == started
