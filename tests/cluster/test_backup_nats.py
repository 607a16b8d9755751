"""`make backup` and `make restore` where two masters share the queue on NATS, as an operator types them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.backups import ENVIRONMENT, backup, begin_job, cluster_in, results
from tests.cluster.clone import typed
from tests.harness import wait_until

TASKS = 200


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster of a NATS server, two masters and two workers."""
    with cluster_in(tmp_path_factory.mktemp("backup") / "taskyard", "nats-single", 2) as made:
        yield made


def test_all_masters_go_on_with_a_backup_and_what_was_there_is_kept(clone: Path) -> None:
    job = begin_job(clone, TASKS)
    before = wait_until(lambda: results(clone, job), "some tasks are done")
    path = backup(clone)
    after = results(clone, job)
    late = begin_job(clone, TASKS)

    typed("docker compose stop worker", clone, ENVIRONMENT)
    said = typed(f"make restore FROM={path}", clone, ENVIRONMENT)
    restored = results(clone, job)
    assert before.items() <= restored.items() <= after.items()
    assert results(clone, late) == {}, "that job came after the backup"

    typed("docker kill $(docker compose ps --quiet master | head -n 1)", clone, ENVIRONMENT)
    typed("docker compose start worker", clone, ENVIRONMENT)
    again = begin_job(clone, TASKS)
    wait_until(lambda: len(results(clone, job)) == TASKS, "what was open at the backup is done")
    wait_until(lambda: len(results(clone, again)) == TASKS, "new tasks run")
    typed("make verify", clone, ENVIRONMENT)
    assert backup(clone).exists(), "of the other master"

    kept = said.split("the former one is kept as ")[1].split()[0]
    typed(f"docker compose exec -T master gzip -c {kept} >former.db.gz && make restore FROM=former.db.gz", clone, ENVIRONMENT)
    wait_until(lambda: len(results(clone, late)) == TASKS, "what the restored queue lacked goes on")
