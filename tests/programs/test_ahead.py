"""What a worker has leased ahead of its slots is little work, also where tasks turn out longer than those before them."""

from __future__ import annotations

from concurrent.futures import as_completed

from app.tasks import square
from tests.contract.master_process import MasterProcess
from tests.programs.conftest import Connect, StartWorker
from tests.programs.tasks import who
from tests.programs.worker_process import READY

MANY = 2_000
SECONDS = 0.02


def test_a_worker_that_comes_later_has_its_share_of_what_was_leased_while_tasks_were_thought_short(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect
) -> None:
    own_master.start()
    first = start_worker(own_master)
    cluster = connect(own_master)
    assert len(list(cluster.map(square, range(MANY), chunksize=1))) == MANY
    futures = [cluster.submit(who, SECONDS) for _ in range(MANY)]
    assert futures[0].result(20) == first.pid
    second = start_worker(own_master)
    second.wait_for(READY)
    after = sum(future.done() for future in futures)
    by = [future.result() for future in as_completed(futures[after : after + 200], 30)]
    assert by.count(second.pid) > 40, "half of them, about"
