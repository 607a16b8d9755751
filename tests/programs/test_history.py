"""What client, workers and queue have noted of tasks, while everything is killed, is one history without a fault."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from signal import SIGKILL

import psutil

from taskyard.codec import decode
from taskyard.history import End, Event, faults
from tests.contract.master_process import MasterProcess
from tests.harness import wait_until
from tests.measured import tell
from tests.programs.conftest import Connect, StartWorker
from tests.programs.tasks import noted_square

TASKS = 3000
BLOWS = 30
Noted = tuple[int, Event]
"""When (monotonic ns), and what."""


def noted_by_workers(notes: Path) -> list[Noted]:
    events = []
    for line in notes.read_text().splitlines():
        when, what, task_id, number = line.split()
        events.append((int(when), Event(what, task_id, int(number))))  # type: ignore[arg-type]
    return events


def told_by_the_queue(master: MasterProcess, job: str) -> list[Event]:
    with master.queue() as queue:
        return [
            Event("ended", one.id, one.cursor, End(one.state, decode(one.value), one.attempts))
            for one in queue.results(job, 0, 2 * TASKS, 0)
        ]


def test_each_attempt_and_each_end_fits_the_others_whatever_is_killed(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect, tmp_path: Path
) -> None:
    own_master.start()
    cluster = connect(own_master)
    workers = [start_worker(own_master, worker_slots=2) for _ in range(2)]
    notes = tmp_path / "notes"
    seen: list[Noted] = []

    def note(future: Future[int]) -> None:
        seen.append((time.monotonic_ns(), Event("answered", future.task_id, 0, End("done", future.result()))))  # type: ignore[attr-defined]

    futures = []
    for n in range(TASKS):
        before = time.monotonic_ns()
        futures.append(cluster.submit(noted_square, str(notes), n))
        seen.append((before, Event("submitted", futures[-1].task_id)))  # type: ignore[attr-defined]
        futures[-1].add_done_callback(note)

    def has_come(many: int) -> bool:
        return sum(future.done() for future in futures) >= many

    random = Random(5)
    for blow in range(1, BLOWS + 1):
        wait_until(partial(has_come, TASKS * blow // (BLOWS + 2)), "work goes on")
        match blow % 5:
            case 0:
                own_master.kill()
                own_master.start()
            case 1:
                workers.pop(0).send(SIGKILL)
                workers.append(start_worker(own_master, worker_slots=2))
            case _:
                slots = wait_until(lambda: [slot for worker in workers for slot in worker.slots()], "there is a slot")
                with suppress(psutil.NoSuchProcess):  # it has just ended by itself, with a worker that was killed
                    random.choice(slots).kill()
    assert [future.result(60) for future in futures] == [n * n for n in range(TASKS)]
    acknowledged = [(time.monotonic_ns(), Event("acknowledged", future.task_id)) for future in futures]  # type: ignore[attr-defined]
    noted = noted_by_workers(notes)
    told = told_by_the_queue(own_master, cluster.job_id)
    history = [event for _, event in sorted([*seen, *noted, *acknowledged], key=lambda one: one[0])] + told
    assert faults(history) == []
    begun = Counter(event.id for _, event in noted if event.what == "attempted")
    assert begun.keys() == {future.task_id for future in futures}  # type: ignore[attr-defined]
    again = begun.total() - TASKS
    assert again > 0, "no blow has met a running task"
    counted = sum(event.end.attempts for event in told if event.end is not None) - TASKS
    tell(f"{TASKS:,} tasks under {BLOWS} kills: begun {again} times more than once, {counted} attempts counted for it, no fault")
