"""``python -m master backup`` and ``restore`` where several masters share the queue: beside them, or without any."""

from __future__ import annotations

import gzip
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench.nats_servers import NatsServers
from bench.replicated import AUTHKEY, Replicated
from bench.tasks import square
from master.store import FILE
from taskyard.model import Result
from tests.cluster.project import ROOT
from tests.harness import wait_until


class Operator:
    """Has the masters' settings, and a folder of its own."""

    def __init__(self, cluster: Replicated, folder: Path, replicas: int, url: str = "") -> None:
        self.folder = folder
        own = {"TASKYARD_URL": url or cluster.url, "TASKYARD_AUTHKEY": AUTHKEY, "PYTHONPATH": str(ROOT)}
        self._environment = os.environ | own | {"MASTER_DATA": str(folder), "MASTER_REPLICAS": str(replicas)}

    def run(self, command: str, given: bytes = b"", code: int = 0) -> bytes:
        """Returns what it has written; what it has said, where it has to fail."""
        words = [sys.executable, "-m", "master", command]
        ended = subprocess.run(words, env=self._environment, input=given, capture_output=True, timeout=60, check=False)
        assert ended.returncode == code, ended.stderr.decode()
        return ended.stderr if code else ended.stdout

    def kept(self) -> list[Path]:
        """The queues that were replaced."""
        return sorted(self.folder.glob(f"{FILE}.*"))


@pytest.fixture(scope="module")
def cluster(servers: NatsServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    folder = tmp_path_factory.mktemp("cluster")
    with Replicated(folder, servers, masters=2, workers=1, queue="backup", app="bench.tasks") as made:
        yield made


@pytest.fixture
def operator(cluster: Replicated, servers: NatsServers, tmp_path: Path) -> Operator:
    return Operator(cluster, tmp_path / "operator", len(servers.all))


def work(cluster: Replicated, count: int) -> str:
    """So many tasks that are done; returns their job."""
    with cluster.client() as client:
        assert list(client.map(square, range(count), chunksize=1)) == [n * n for n in range(count)]
    return jobs(cluster)[0]


def jobs(cluster: Replicated) -> list[str]:
    """The latest first."""
    with cluster.queue() as queue:
        return [info.job for info in queue.jobs(None, 1000, 0)]


def results(cluster: Replicated, job: str) -> list[Result]:
    with cluster.queue() as queue:
        return queue.results(job, 0, 1000, 0)


def test_what_is_restored_while_masters_run_all_of_them_have_and_the_former_queue_is_kept_whole(
    cluster: Replicated, operator: Operator
) -> None:
    first = work(cluster, 50)
    before, had = jobs(cluster), results(cluster, first)
    backup = operator.run("backup")
    late = work(cluster, 60)

    operator.run("restore", backup)
    assert jobs(cluster) == before
    assert results(cluster, first) == had
    (kept,) = operator.kept()
    with closing(sqlite3.connect(kept)) as db:
        assert db.execute("SELECT id FROM job WHERE id = ?", (late,)).fetchall() == [(late,)]
    work(cluster, 20)

    former = cluster.leader()
    former.kill()
    wait_until(lambda: cluster.leader() is not former, "the other one leads")
    assert results(cluster, first) == had
    shutil.rmtree(former.folder / "data")
    former.start()
    cluster.leader().kill()
    wait_until(lambda: cluster.leader() is former, "the one that has lost its folder leads")
    assert results(cluster, first) == had
    assert cluster.run("taskyard", "verify").returncode == 0

    operator.run("restore", gzip.compress(kept.read_bytes()))
    assert late in jobs(cluster), "what was replaced can be brought back"
    for master in cluster.masters.values():
        if not master.runs:
            master.start()


def test_without_a_master_what_nats_has_is_copied_and_replaced(cluster: Replicated, operator: Operator) -> None:
    first = work(cluster, 30)
    for master in cluster.masters.values():
        master.stop()
    backup = operator.run("backup")
    for master in cluster.masters.values():
        master.start()
    late = work(cluster, 30)
    for master in cluster.masters.values():
        master.kill()
    operator.run("restore", backup)
    for master in cluster.masters.values():
        master.start()
    assert first in jobs(cluster)
    assert late not in jobs(cluster)
    assert len(results(cluster, first)) == 30


def test_what_no_master_could_use_changes_nothing(cluster: Replicated, operator: Operator) -> None:
    before = work(cluster, 10)
    leader = cluster.leader()
    backup = operator.run("backup")
    for damaged in (backup[:-100], b"no backup"):
        assert b"damaged" in operator.run("restore", damaged, code=74)
    assert cluster.leader() is leader
    assert jobs(cluster)[0] == before
    assert operator.kept() == []


def test_a_queue_that_nats_lacks_is_not_passed_over(servers: NatsServers, cluster: Replicated, operator: Operator) -> None:
    backup = operator.run("backup")
    elsewhere = Operator(cluster, operator.folder, len(servers.all), f"{servers.url}/unknown")
    assert b"NATS has no queue of this name" in elsewhere.run("backup", code=74)
    (operator.folder / FILE).write_bytes(gzip.decompress(backup))
    assert b"has a queue that NATS lacks" in elsewhere.run("restore", backup, code=74)
    (operator.folder / FILE).unlink()
    elsewhere.run("restore", backup)
    assert elsewhere.run("backup"), "where there is none, a backup becomes the queue"
