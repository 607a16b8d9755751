"""Coming up and going down: what a new user types first, and what the containers are allowed to do."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from docker.models.containers import Container

from tests.cluster.project import Project, health, inside
from tests.harness import wait_until
from tests.measured import tell

FAILING_JOB = 'services: { job: { command: ["python", "-c", "import sys; sys.exit(3)"] } }'
PROBE = """
import os, pathlib
said = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
caps = [int(said[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")]  # the last: that it could ever gain
print("uid", os.getuid(), "caps", *caps, "no new", said["NoNewPrivs"].strip())
try:
    pathlib.Path("/srv/scribble").write_text("")
    print("root writable")
except OSError as error:
    print(error.strerror)
"""
KNOCK = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 8000), timeout=3)
    print("reached")
except OSError:
    print("not reached")
"""


@pytest.mark.alone
def test_up_prints_ten_right_results_within_ten_seconds_and_down_of_the_idle_cluster_takes_less_than_three(
    project: Callable[..., Project],
) -> None:
    fresh = project("up")
    started = time.monotonic()
    up = fresh.start("up", "--scale", "worker=5", stderr=subprocess.STDOUT)
    assert up.stdout is not None
    said, results, took = "", [], 0.0
    for line in up.stdout:
        said += line
        if found := re.findall(r"Result: (\d+ \* \d+ = \d+)", line):
            results += found
            took = time.monotonic() - started
        if "10 of 10 results" in line:
            break
    assert len(results) == 10, said
    assert [result.split(" = ")[1] for result in results] == [str(int(r.split(" * ")[0]) ** 2) for r in results]
    tell(f"from up to the last of ten results: {took:.1f} s")
    assert took < 10
    started = time.monotonic()
    fresh.compose("down")
    tell(f"down, idle: {time.monotonic() - started:.1f} s")
    assert time.monotonic() - started < 3
    up.stdout.read()
    up.wait(30)
    up.stdout.close()


def test_up_wait_returns_once_five_workers_and_the_master_are_healthy_and_the_job_has_ended_well(
    project: Callable[..., Project],
) -> None:
    fresh = project("wait")
    fresh.compose("up", "--detach", "--wait", "--scale", "worker=5")
    assert [health(container) for service in ("master", "worker") for container in fresh.containers(service)] == ["healthy"] * 6
    assert "10 of 10 results" in fresh.log("job")
    assert fresh.container("job").wait()["StatusCode"] == 0


@pytest.mark.parametrize(
    ("words", "code"), [(["--exit-code-from", "job"], 3), (["--detach", "--wait"], 1)], ids=["exit-code-from", "wait"]
)
def test_up_fails_when_the_job_does(project: Callable[..., Project], words: list[str], code: int) -> None:
    project("fails", FAILING_JOB).compose("up", *words, code=code)


def test_a_result_outlives_down_and_up(project: Callable[..., Project]) -> None:
    fresh = project("again")
    fresh.compose("up", "--exit-code-from", "job")
    fresh.compose("down")
    fresh.compose("up", "--detach", "--wait", "master")
    assert '"done": 10' in fresh.compose("run", "--rm", "-T", "--no-deps", "cli", "status", "--json")


@pytest.mark.parametrize("service", ["master", "worker", "job"])
def test_every_container_has_limits_no_rights_and_no_way_in(cluster: Project, service: str) -> None:
    for container in cluster.containers(service):
        container.reload()
        host, config = container.attrs["HostConfig"], container.attrs["Config"]
        assert config["User"] == "10001:10001"
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert not host["Privileged"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["Memory"] == 512 * 2**20
        assert host["NanoCpus"] == 2 * 10**9
        assert 0 < host["PidsLimit"] <= 2000
        assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
        assert not host["PortBindings"]
        assert not any(container.attrs["NetworkSettings"]["Ports"].values())
        assert list(container.attrs["NetworkSettings"]["Networks"]) == [f"{cluster.name}_queue"]
    assert cluster.engine.networks.get(f"{cluster.name}_queue").attrs["Internal"]


def test_the_dashboard_has_limits_no_rights_and_a_port_on_this_host_only(cluster: Project) -> None:
    container = cluster.container("dashboard")
    container.reload()
    host = container.attrs["HostConfig"]
    assert container.attrs["Config"]["User"] == "10001:10001"
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["CapAdd"]) == (True, ["ALL"], None)
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (512 * 2**20, 2 * 10**9, 200)
    (published,) = container.attrs["NetworkSettings"]["Ports"].values()
    assert [one["HostIp"] for one in published] == ["127.0.0.1"]
    token = inside(container, "cat", "/var/lib/taskyard-dashboard/token").strip()
    address = f"http://127.0.0.1:{published[0]['HostPort']}/api/v1/workers"
    with urlopen(Request(address, headers={"Authorization": f"Bearer {token}"}), timeout=10) as answer:
        assert json.loads(answer.read())
    with pytest.raises(HTTPError, match="401") as refused:
        urlopen(address, timeout=10)
    refused.value.close()


def test_the_dashboard_reaches_no_other_host_by_the_network_of_its_port(cluster: Project) -> None:
    network = cluster.network("dashboard")
    assert network.attrs["Options"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"
    assert [container.name for container in network.containers] == [cluster.container("dashboard").name]


@pytest.mark.parametrize("service", ["master", "worker", "dashboard"])
def test_inside_a_container_nothing_can_be_gained_or_written(cluster: Project, service: str) -> None:
    container: Container = cluster.container(service)
    said = inside(container, "python", "-c", PROBE).splitlines()
    assert said == ["uid 10001 caps 0 0 0 no new 1", "Read-only file system"]


def test_there_is_no_way_out_of_the_clusters_network(cluster: Project) -> None:
    image = str(cluster.container("worker").attrs["Config"]["Image"])
    listener = cluster.engine.containers.run(image, ["python", "-m", "http.server", "8000"], detach=True)
    try:
        listener.reload()
        address = listener.attrs["NetworkSettings"]["IPAddress"]
        knock = ["python", "-c", KNOCK, address]
        wait_until(lambda: cluster.engine.containers.run(image, knock, remove=True) == b"reached\n", "others reach it", 30)
        assert inside(cluster.container("worker"), *knock) == "not reached\n"
        # The engine keeps its networks apart anyway; the world beyond it is kept out by this.
        assert cluster.network("queue").attrs["Internal"]
    finally:
        listener.remove(force=True)


def test_only_the_cluster_can_read_the_key_and_it_stands_in_no_environment(cluster: Project) -> None:
    for service in ("master", "worker", "dashboard"):
        container = cluster.container(service)
        mode = inside(container, "stat", "-c", "%a %u", "/run/taskyard/authkey").split()
        assert mode == ["640", "10001"]
        key = inside(container, "cat", "/run/taskyard/authkey").strip()
        assert len(key) > 30
        assert key not in str(container.attrs["Config"]["Env"])
    assert "Read-only" in inside(cluster.container("worker"), "touch", "/run/taskyard/authkey")
