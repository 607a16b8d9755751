"""The Compose cluster does what executors do: the list of tests/executors, run by a client in a container."""

from __future__ import annotations

import json

import pytest

from tests.cluster.project import Project
from tests.executors.behaviours import BEHAVIOURS


@pytest.fixture(scope="module")
def errors(shared_cluster: Project) -> dict[str, str]:
    """What each behaviour raised; empty: it holds."""
    shared_cluster.scale(5)
    told = [json.loads(line) for line in shared_cluster.python("-m", "tests.executors").splitlines() if line.startswith("{")]
    return {one["behaviour"]: one["error"] for one in told}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_the_compose_cluster_behaves_as_executors_do(behaviour: str, errors: dict[str, str]) -> None:
    assert errors[behaviour] == ""
