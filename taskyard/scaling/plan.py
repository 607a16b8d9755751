"""Who works, who drains, who has drained; and what is to be done so that so many work. Functions of what was looked at."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from taskyard.model import WorkerInfo
from taskyard.scaling.look import Look
from taskyard.scaling.places import Place
from taskyard.scaling.policy import Load

DRAINING_AT_ONCE = 40
"""Workers at most: the queue tells of the last 50 that left."""


class Staff(NamedTuple):
    """The places of a crew by what their workers do, and the workers that have none of these."""

    working: tuple[tuple[Place, WorkerInfo], ...]
    coming: tuple[Place, ...]
    """Not heard of yet, or not any more."""
    draining: tuple[tuple[Place, WorkerInfo], ...]
    drained: tuple[Place, ...]
    elsewhere: tuple[WorkerInfo, ...]

    @property
    def size(self) -> int:
        """Workers that take tasks, or will soon."""
        return len(self.working) + len(self.coming)


class Steps(NamedTuple):
    """What is to be done."""

    grow: int = 0
    drain: tuple[WorkerInfo, ...] = ()


def muster(places: Sequence[Place], workers: Sequence[WorkerInfo], given_up: Collection[str] = ()) -> Staff:
    """Bring places and workers together, by the host's name. ``given_up``: ids of places whose worker drained when last heard of,
    and is silent for so long that it must have left while nobody was there to note it."""
    alive = {worker.host: worker for worker in workers if not worker.left}
    left = {worker.host: worker.left for worker in reversed(workers) if worker.left and not worker.lost and worker.draining}
    working: list[tuple[Place, WorkerInfo]] = []
    draining: list[tuple[Place, WorkerInfo]] = []
    coming: list[Place] = []
    drained: list[Place] = []
    for place in places:
        worker = alive.get(place.host)
        if place.ended:
            drained.append(place)
        elif worker is not None:
            (draining if worker.draining else working).append((place, worker))
        elif place.id in given_up or left.get(place.host, 0.0) > place.started > 0:
            drained.append(place)
        else:  # also one that drained and was started again since
            coming.append(place)
    ours = {place.host for place in places}
    elsewhere = tuple(worker for worker in alive.values() if worker.host not in ours and not worker.draining)
    return Staff(tuple(working), tuple(coming), tuple(draining), tuple(drained), elsewhere)


def busy(staff: Staff) -> int:
    """Slots that work, but for those of workers that drain."""
    return sum(worker.busy for _, worker in staff.working)


def load_of(look: Look, staff: Staff, seconds: float, busy: float) -> Load:
    """The load, with tasks that take so many seconds, and so many slots busy of late."""
    leased = look.leased - sum(worker.leased for worker in look.workers if worker.draining and not worker.left)
    slots = [worker.slots for _, worker in (*staff.working, *staff.draining)]
    return Load(
        tasks=max(0, leased) + (0 if look.paused else look.ready),  # a paused queue lends nothing, whoever is there
        seconds=seconds,
        busy=busy,
        slots=max(1, round(sum(slots) / len(slots))) if slots else 1,
        elsewhere=sum(worker.slots for worker in staff.elsewhere),
    )


def steps_to(count: int, staff: Staff) -> Steps:
    """What brings the workers to this number: more of them, or some of them told to drain, the idle ones first, and of these the
    youngest. A worker that drains does not come back. One that is not heard of is let come first, and drains no other: it may
    never come."""
    if count >= staff.size:
        return Steps(grow=count - staff.size)
    many = min(len(staff.working) - count, DRAINING_AT_ONCE - len(staff.draining))
    idle_first = sorted(staff.working, key=lambda one: (one[1].busy > 0 or one[1].leased > 0, one[1].leased, -one[0].started))
    return Steps(drain=tuple(worker for _, worker in idle_first[: max(0, many)]))
