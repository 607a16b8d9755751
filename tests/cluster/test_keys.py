"""The commands of docs/security.md, word for word, on a cluster with a key for each role."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.cluster.clone import blocks_of, make_clone, remove_cluster, typed
from tests.cluster.project import clean_environment
from tests.harness import wait_until

NAME = "taskyard-keys"
ENVIRONMENT = clean_environment(COMPOSE_PROJECT_NAME=NAME, TASKYARD_VERSION="readme")
BEGIN, EXCHANGE = (block for _, block in blocks_of("docs/security.md"))
SUBMIT = "from taskyard import Cluster; print(Cluster().submit('square', 12).result())"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("keys") / "taskyard"
    make_clone(folder)
    remove_cluster(folder, ENVIRONMENT)
    yield folder
    remove_cluster(folder, ENVIRONMENT)


def starts(clone: Path) -> dict[str, str]:
    """When each container was started."""
    found = docker.from_env().containers.list(filters={"label": f"com.docker.compose.project={NAME}"})
    return {str(container.name): container.attrs["State"]["StartedAt"] for container in found}


def test_a_cluster_with_a_key_for_each_role_runs_the_job(clone: Path) -> None:
    said = typed(BEGIN, clone, ENVIRONMENT)
    assert said.count(": made") == 3
    assert len(re.findall(r"^Result: \d+ \* \d+ = \d+$", said, re.MULTILINE)) == 10
    assert (clone / "keys").stat().st_mode & 0o777 == 0o700
    assert "/run/taskyard/authkey" not in typed("docker compose exec -T master find /run/taskyard", clone, ENVIRONMENT)


def test_keys_that_are_there_are_kept(clone: Path) -> None:
    before = (clone / "keys/admin").read_text()
    assert ": made" not in typed("make keys", clone, ENVIRONMENT)
    assert (clone / "keys/admin").read_text() == before


def test_a_worker_can_not_submit_and_the_command_line_can(clone: Path) -> None:
    said = typed(f'! docker compose exec -T worker python -c "{SUBMIT}"', clone, ENVIRONMENT)
    assert re.search("NotAllowed: the worker key does not allow '(submit|results)'", said)
    assert "12 * 12 = 144" in typed("docker compose run --rm -T cli submit --wait square 12", clone, ENVIRONMENT)


def test_a_workers_key_is_exchanged_while_all_goes_on(clone: Path) -> None:
    before, old = starts(clone), (clone / "keys/worker").read_text()
    rotate, retire = EXCHANGE.splitlines()
    assert "the older ones stay valid" in typed(rotate, clone, ENVIRONMENT)
    assert (clone / "keys/worker").read_text().endswith("\n" + old)
    typed("make job", clone, ENVIRONMENT)
    typed(retire, clone, ENVIRONMENT)
    assert old not in (clone / "keys/worker").read_text()
    assert re.search(r"10 of 10 results", typed("make job", clone, ENVIRONMENT))
    wait_until(lambda: "role=worker" in typed("docker compose logs master", clone, ENVIRONMENT), "the master has seen it", 20)
    assert re.search(r"10 of 10 results", typed("make job", clone, ENVIRONMENT))
    assert starts(clone) == before, "something was started again"


def test_a_role_that_there_is_not_is_told_with_those_that_there_are(clone: Path) -> None:
    assert "ROLE: worker client admin" in typed("! make rotate-key ROLE=boss", clone, ENVIRONMENT)
