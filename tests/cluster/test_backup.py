"""`make backup` while tasks run, and `make restore`, as an operator types them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.backups import ENVIRONMENT, backup, begin_job, cluster_in, results
from tests.cluster.clone import typed
from tests.harness import wait_until

TASKS = 500


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster of a master and two workers."""
    with cluster_in(tmp_path_factory.mktemp("backup") / "taskyard", "embedded", 1) as made:
        yield made


def test_a_restored_cluster_has_all_that_was_there_at_the_backup_and_goes_on_from_it(clone: Path) -> None:
    job = begin_job(clone, TASKS)
    before = wait_until(lambda: results(clone, job), "some tasks are done")
    path = backup(clone)
    after = results(clone, job)
    assert len(before) < TASKS, "tasks ran meanwhile"
    wait_until(lambda: len(results(clone, job)) == TASKS, "the queue goes on after the backup")
    late = begin_job(clone, TASKS)

    typed("docker compose stop worker", clone, ENVIRONMENT)
    said = typed(f"make restore FROM={path}", clone, ENVIRONMENT)
    assert "the former one is kept as" in said
    restored = results(clone, job)
    assert before.items() <= restored.items() <= after.items()
    assert results(clone, late) == {}, "that job came after the backup"

    typed("docker compose start worker", clone, ENVIRONMENT)
    wait_until(lambda: len(results(clone, job)) == TASKS, "what was open at the backup is done")
    assert sorted(results(clone, job).values()) == [n * n for n in range(TASKS)]
    typed("make verify", clone, ENVIRONMENT)


def test_a_damaged_backup_is_refused_and_the_cluster_goes_on_as_it_was(clone: Path, tmp_path: Path) -> None:
    job = begin_job(clone, TASKS)
    packed = backup(clone).read_bytes()
    for damaged in (packed[:-100], packed[:200] + b"\0\0\0\0" + packed[204:], b"no backup"):
        (tmp_path / "damaged.db.gz").write_bytes(damaged)
        assert "nothing was changed" in typed(f"! make restore FROM={tmp_path / 'damaged.db.gz'}", clone, ENVIRONMENT)
    wait_until(lambda: len(results(clone, job)) == TASKS, "it goes on")


def test_a_queue_whose_master_is_stopped_is_backed_up_all_the_same(clone: Path) -> None:
    typed("docker compose stop master", clone, ENVIRONMENT)
    path = backup(clone)
    typed("docker compose start master", clone, ENVIRONMENT)
    assert path.stat().st_mode & 0o777 == 0o600
    typed(f"make restore FROM={path}", clone, ENVIRONMENT)
    typed("make verify", clone, ENVIRONMENT)
