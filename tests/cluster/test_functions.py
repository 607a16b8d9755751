"""Functions by value on the shipped cluster, from a client on the host, whose Python may be another."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from taskyard import Cluster
from taskyard.calls import PYTHON
from taskyard.errors import BadRequest
from tests.cluster.project import SHIPPED, Project, inside


@pytest.fixture
def on_the_host(cluster: Project) -> Iterator[Cluster]:
    """A client outside of all containers; the host reaches the cluster's network, though nothing is published."""
    master = cluster.container("master")
    (network,) = master.attrs["NetworkSettings"]["Networks"].values()
    key = inside(master, "cat", "/run/taskyard/authkey").strip().encode()
    with Cluster(f"manager://{network['IPAddress']}:5000", key, patience=20) as client:
        yield client


def test_a_function_of_another_python_is_refused_in_words_and_a_call_by_name_works(on_the_host: Cluster) -> None:
    by_name: Future[str] = on_the_host.submit("square", 7)
    by_value = on_the_host.submit(lambda n: n * n, 7)
    assert by_name.result(30) == "7 * 7 = 49"
    theirs = {worker.python for worker in on_the_host.workers()}
    if theirs == {PYTHON}:
        assert by_value.result(30) == 49
    else:
        with pytest.raises(BadRequest, match=f"the workers run Python {theirs.pop()}, this program Python {PYTHON}"):
            by_value.result(30)


def test_workers_that_take_names_only_say_so_to_the_caller(built: None, names_only: Project) -> None:
    program = """
from taskyard import Cluster
with Cluster() as cluster:
    print(cluster.submit("square", 3).result(30))
    cluster.submit(lambda: 1).result(30)
"""
    printed = names_only.python("-c", program, code=1)
    assert "3 * 3 = 9" in printed
    assert "the workers take tasks by name only (WORKER_ACCEPTS=names)" in printed


@pytest.fixture
def names_only(built: None) -> Iterator[Project]:
    project = Project("taskyard-test-names", [SHIPPED], WORKER_ACCEPTS="names")
    project.down()
    project.compose("up", "--detach", "--wait", "master", "worker")
    yield project
    project.down()
