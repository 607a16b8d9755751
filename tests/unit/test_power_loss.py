"""Power loss at every write beneath a working queue: what was acknowledged is there, what was not is whole or absent."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

import pytest

from master.engine import Engine
from master.store import FILE, Store
from taskyard.errors import StoreBroken
from taskyard.model import END_STATES, Details, JobInfo, ScheduleInfo, Task
from taskyard.series import LeaseSeries, from_tasks, join_id
from tests.harness import FakeClock, schedule, task
from tests.measured import tell
from tests.power import Disk, Operation, RecordedStore, Recorder

LOG_PAGES = 25
"""So short a log is folded into the file within the workload, again and again."""
MEMORY_PAGES = 12
"""So few pages of memory make a transaction write before its commit."""
State: TypeAlias = dict[str, Any]


class Recording(NamedTuple):
    """A workload as the disk saw it."""

    operations: list[Operation]
    steps: list[tuple[int, State]]
    """What was acknowledged, one state after the other, and how many operations had been recorded then."""


# The workload


class Client:
    """Clients and one worker of an engine, in short words."""

    def __init__(self, engine: Engine, time: FakeClock) -> None:
        self.engine = engine
        self.time = time

    def submit(self, *tasks: Task) -> None:
        self.engine.submit([tuple(series) for series in from_tasks(tasks)])

    def lease(self, limit: int = 1000) -> list[LeaseSeries]:
        return [LeaseSeries(*row) for row in self.engine.lease(self, "worker", limit, None) or ()]

    def settle(self, leased: list[LeaseSeries], kind: str, size: int = 20, **fields: Any) -> None:
        for prefix, first, token, _, _, payloads, *_ in leased:
            values = [bytes(size)] * len(payloads)
            assert self.engine.settle("worker", [(prefix, first, token, kind, values, *fields.values())])


def first_life(client: Client) -> Iterator[None]:
    """Every way to move a task; what is done up to a ``yield`` is one transaction."""
    engine, time = client.engine, client.time
    client.submit(task("alone", job="a"))
    yield
    client.submit(*(task(f"series-{n}", job="b", payload=b"%d" % n * 40) for n in range(60)))
    client.submit(task("later", job="b", delay=5.0), task("never", job="a", expiry=1.0), task("once", job="a", retries=2))
    yield
    engine.submit([tuple(series) for series in from_tasks([task("taken back", job="c", payload=bytes(60_000))])])
    engine.rollback()
    yield
    for name in ("x", "y", "z"):
        engine.items.put(client, "task", name * 50)
    yield
    assert engine.items.get(client, "task") is not None
    engine.items.put(client, "result", "x is done")
    yield
    leased = client.lease(10)
    yield
    client.settle(leased, "done")
    yield
    client.settle(client.lease(5), "failed", cause="exception: ValueError")
    client.settle(client.lease(5), "released")
    yield
    engine.cancel([join_id("series", n) for n in range(40, 50)])
    yield
    time.move(6.0)
    engine.tick()
    yield
    engine.heartbeat("worker", {"tasks": ["work"], "schedules": [tuple(schedule("every 60"))]})
    engine.tick()
    yield
    time.move(61.0)
    engine.heartbeat("worker", {"tasks": ["work"], "schedules": [tuple(schedule("every 60"))]})
    engine.tick()
    yield
    client.submit(*(task(f"big-{n}", job="big", payload=bytes([n]) * 9000) for n in range(6)))
    yield
    client.settle(client.lease(), "done", 3000)
    yield
    failed = [row[0] for row in engine.find("failed", "b", 1000, 0)]
    assert engine.retry(failed) == len(failed) > 0
    yield
    engine.forget("big")
    yield
    for _ in range(3):
        engine.store.give_back_space(3)
        yield


def second_life(client: Client) -> Iterator[None]:
    """After a stop and a start, with a new log."""
    engine = client.engine
    engine.store.give_back_space(1000)
    yield
    for n in range(8):
        client.submit(*(task(f"more-{n}{i:02}", job=f"more {n % 3}", payload=bytes([n]) * 300) for i in range(12)))
        yield
        leased = client.lease(7)
        client.settle(leased[:1], "done", 500)
        client.settle(leased[1:], "failed", cause="exception: ValueError")
        yield
    engine.forget("more 1")
    engine.cancel([row[0] for row in engine.find("ready", "more 2", 4, 0)])
    yield
    client.time.move(8 * 86400.0)
    engine.tick()
    yield


def recorded(folder: Path, deaf: str = "", synchronous: str = "FULL") -> Recording:
    """Run the workload on a store in this folder; once it is made, the syncs of the file ``deaf`` do nothing."""
    recorder, time = Recorder("recorder"), FakeClock()
    steps: list[tuple[int, State]] = []
    for life in (first_life, second_life):
        with closing(RecordedStore(folder, recorder)) as store:
            recorder.deaf = deaf
            for setting in (f"synchronous={synchronous}", f"wal_autocheckpoint={LOG_PAGES}", f"cache_size={MEMORY_PAGES}"):
                store._db.execute(f"PRAGMA {setting}").fetchall()
            engine = Engine(store, clock=time.clock())
            # Before all else: a store that is made ends as one that nobody has used.
            steps = steps or [(0, told(engine)), (len(recorder.operations), told(engine))]
            for _ in life(Client(engine, time)):
                engine.commit()
                steps.append((len(recorder.operations), told(engine)))
    recorder.unregister()
    return Recording(recorder.operations, steps)


def told(engine: Engine) -> State:
    """All that the queue's users can see of what it keeps: leases are not kept, a leased task is ready."""
    found = [row[0] for row in engine.find(None, None, 10_000, 0)]
    tasks = [Details(*row)._replace(session="") for row in engine.show(found, True)]
    tasks = [one._replace(state="ready") if one.state == "leased" else one for one in tasks]
    jobs = [JobInfo(*row) for row in engine.jobs(None, 10_000, 0)]
    counts = Counter({state: engine.stats()[state] for state in ("ready", "delayed", *END_STATES)})
    counts["ready"] += engine.stats()["leased"]
    states = Counter((one.job, one.state) for one in tasks)
    for job in jobs:
        assert (job.done, job.failed, job.cancelled) == tuple(states[job.job, end] for end in END_STATES)
        assert job.tasks == sum(one.job == job.job for one in tasks)
    assert counts == Counter(one.state for one in tasks)
    assert {one.job for one in tasks} == {job.job for job in jobs}
    return {
        "tasks": tasks,
        "jobs": jobs,
        "results": {job.job: engine.results(job.job, 0, 10_000) for job in jobs},
        "schedules": [ScheduleInfo(*row)._replace(next=0) for row in engine.schedules()],
        "items": engine.store.rows("SELECT * FROM item ORDER BY seq"),
    }


# The power goes


class Losses:
    """Takes the power away at each operation of a recording; iterating yields what was wrong then, in words."""

    def __init__(self, recording: Recording, folder: Path, seed: int) -> None:
        self.points = 0
        self.disks = 0
        self._recording = recording
        self._folder = folder
        self._seed = seed
        self._seen: set[int] = set()

    def __iter__(self) -> Iterator[str]:
        disk, rng = Disk(), random.Random(self._seed)
        operations, steps = self._recording
        for point in range(len(operations) + 1):
            if point:
                disk.take(operations[point - 1])
            last = max(index for index, (made, _) in enumerate(steps) if made <= point)
            self.points += 1
            for how, files in disk.left(rng):
                wrong = self._wrong(files, last)
                if wrong:
                    where = f"power gone after operation {point} of {len(operations)}, step {last}, {how}, seed {self._seed}"
                    yield f"{where}: {wrong}"

    def _wrong(self, files: dict[str, bytes], last: int) -> str:
        key = hash((last, *sorted(files.items())))
        if key in self._seen:
            return ""
        self._seen.add(key)
        self.disks += 1
        self._folder.mkdir()
        for name, content in files.items():
            (self._folder / name).write_bytes(content)
        try:
            with closing(Store(self._folder)) as store:
                verdict = store.rows("SELECT * FROM pragma_integrity_check")
                if verdict != [("ok",)]:
                    return f"damaged: {verdict}"
                state = told(Engine(store, clock=FakeClock().clock()))
        except (StoreBroken, AssertionError) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            shutil.rmtree(self._folder)
        allowed = [state for _, state in self._recording.steps[last : last + 2]]
        if state in allowed:
            return ""
        differ = [what for what in state if state[what] != allowed[0][what]]
        return f"neither what was acknowledged nor that and the next step: {differ} differ"


def test_power_loss_at_any_write_loses_nothing_acknowledged_and_leaves_nothing_half(tmp_path: Path) -> None:
    began, seed = perf_counter(), random.randrange(2**32)
    recording = recorded(tmp_path / "data")
    kinds = Counter((one.file, one.kind) for one in recording.operations)
    assert kinds[FILE, "sync"] > 5, "the log is hardly ever folded in"
    assert kinds[FILE, "truncate"] > 0, "the file becomes no shorter"
    assert kinds[f"{FILE}-wal", "delete"] == 2, "not one stop a life"
    kept = [state for _, state in recording.steps]
    assert {one.state for state in kept for one in state["tasks"]} == {"ready", "delayed", *END_STATES}
    assert all(any(state[what] for state in kept) for what in kept[0])
    losses = Losses(recording, tmp_path / "left", seed)
    assert list(islice(losses, 5)) == []
    tell(
        f"power loss: {losses.points:,} crash points in {len(kept) - 2} steps, {losses.disks:,} different disks that may be left:"
        f" nothing acknowledged lost, nothing half there; seed {seed}, {perf_counter() - began:.0f} s"
    )


@pytest.mark.parametrize(
    ("synchronous", "deaf"),
    [("OFF", ""), ("NORMAL", ""), ("FULL", FILE), ("FULL", f"{FILE}-wal")],
    ids=["no syncs", "no sync at a commit", "no syncs of the file", "no syncs of the log"],
)
def test_a_store_that_leaves_out_syncs_would_be_found_out(synchronous: str, deaf: str, tmp_path: Path) -> None:
    recording = recorded(tmp_path / "data", deaf, synchronous)
    assert "neither what was acknowledged" in next(iter(Losses(recording, tmp_path / "left", 1)), "nothing was lost")
