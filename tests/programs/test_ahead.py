"""What a worker has leased ahead of its slots is little work, also where tasks turn out longer than those before them."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from time import monotonic
from typing import Any

import pytest

from app.tasks import square
from tests.contract.master_process import MasterProcess
from tests.programs.conftest import Connect, StartWorker
from tests.programs.tasks import who
from tests.programs.worker_process import READY, WorkerProcess

MANY = 5_000
SECONDS = 0.02


@pytest.mark.parametrize(("before", "argument"), [(square, 7), (who, 0.0)], ids=["others", "the same"])
def test_a_worker_that_comes_later_has_its_share_of_what_was_leased_while_tasks_were_thought_short(
    before: Callable[..., Any], argument: float, own_master: MasterProcess, start_worker: StartWorker, connect: Connect
) -> None:
    own_master.start()
    first = start_worker(own_master)
    cluster = connect(own_master)
    assert len(list(cluster.map(before, [argument] * MANY, chunksize=1))) == MANY
    workers = cluster.map(who, [SECONDS] * MANY, chunksize=1)
    assert next(workers) == first.pid
    second = start_worker(own_master)
    second.wait_for(READY)
    ready = monotonic()
    assert second.pid in workers  # which takes all results up to its first one
    assert monotonic() - ready < 10.0, "at once, about"
    assert list(islice(workers, 100)).count(second.pid) > 20, "half of them, about"


def given_back(worker: WorkerProcess) -> int:
    """How many tasks."""
    return sum(map(int, re.findall(r"gives back tasks.* tasks=(\d+)", worker.log())))


def test_a_few_long_tasks_among_short_ones_make_no_worker_give_back_the_others(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect
) -> None:
    own_master.start()
    worker = start_worker(own_master, taskyard_log_level="debug")
    cluster = connect(own_master)
    seconds = [0.2 if n % 1000 == 500 else 0.0001 for n in range(24_000)]
    assert set(cluster.map(who, seconds, chunksize=1)) == {worker.pid}
    assert given_back(worker) < 1_200, "hardly any, also where the machine stalls"
    assert set(cluster.map(who, [SECONDS] * 200, chunksize=1)) == {worker.pid}
    assert given_back(worker) >= 50, "as these are: the log tells"
