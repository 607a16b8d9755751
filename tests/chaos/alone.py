"""Each kind of blow by itself, on a cluster that is well: how long it keeps the work from going on, held against a bound."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from docker.errors import DockerException

from tests.chaos.ground import Ground, folder_of
from tests.chaos.load import Load
from tests.chaos.report import Fallen, Report, seconds
from tests.chaos.run import Run, Say, go
from tests.chaos.schedule import KINDS, LANES, Blow, Kind

LEASE = 30.0
"""`MASTER_LEASE` as shipped."""
SLACK = 2.0
MOST = 2
"""Workers of five that are hit at a time: what is measured is what becomes of their tasks, not of a cluster without workers."""
AT_ONCE = 1.0
CALM_SECONDS = 2.0
CALM_DEADLINE = 120.0
CALM_AGE = 0.3
"""No task is older where all is well."""


class Case(NamedTuple):
    """How one kind is dealt alone. ``seconds``: 0 is a single strike. ``bound``: how long work may stall, beside ``lasts``
    times as long as the blow, or the outage it causes, has lasted."""

    seconds: float
    times: int
    bound: float
    lasts: int = 0


CASES: dict[Kind, Case] = {
    **dict.fromkeys(("kill slots", "kill supervisors", "kill workers"), Case(0, 2, AT_ONCE)),
    **dict.fromkeys(
        ("stop supervisors", "pause workers", "unplug workers", "deafen workers", "mute workers"),
        Case(LEASE + 6, 1, LEASE + SLACK),
    ),
    # For all that the queue can tell, a task in a process that is stopped is a long one.
    "stop slots": Case(8, 1, SLACK, lasts=1),
    "scale workers": Case(3, 2, AT_ONCE),
    "step workers' clock": Case(4, 1, AT_ONCE),
    **dict.fromkeys(("kill master", "kill master in commits"), Case(0, 2, SLACK, lasts=1)),
    **dict.fromkeys(
        ("stop master", "kill master's container", "pause master", "fill disk", "slow disk"), Case(5, 1, SLACK, lasts=1)
    ),
    # What was not acknowledged TCP sends again after pauses that double: the last one may be as long as all before it.
    **dict.fromkeys(("unplug client", "unplug master", "deafen master", "mute master"), Case(5, 1, SLACK, lasts=2)),
    "step master's clock": Case(4, 1, AT_ONCE),
}


class Stall(NamedTuple):
    """What one blow has caused. ``lasted``: until it was undone and, where it fell on the master, that answered again.
    ``nothing``: the longest time without a result. ``slowest``: from submit to result, of a task that takes no time."""

    kind: Kind
    hit: int
    lasted: float
    nothing: float
    slowest: float

    @property
    def bound(self) -> float:
        case = CASES[self.kind]
        return case.bound + self.lasted * case.lasts

    @property
    def worst(self) -> float:
        return max(self.nothing, self.slowest)


@dataclass
class AloneReport(Report):
    """Of a run in which each blow fell alone."""

    stalls: list[Stall] = field(default_factory=list)

    def table(self) -> list[str]:
        """Of the kinds of blows, in Markdown: of each the one that came nearest to its bound, or passed it."""
        told = ["| blow | times | hit | lasted | longest time without a result | slowest task | bound |"]
        told.append("|---|---:|---:|---:|---:|---:|---:|")
        for kind in KINDS:
            of_kind = [one for one in self.stalls if one.kind == kind]
            if of_kind:
                worst = max(of_kind, key=lambda one: one.worst - one.bound)
                cells = [seconds(worst.nothing), seconds(worst.slowest), f"{worst.bound:.1f} s"]
                hit = sum(one.hit for one in of_kind)
                told.append(f"| {kind} | {len(of_kind)} | {hit} | {worst.lasted:.1f} s | {' | '.join(cells)} |")
        return told


class Alone(Run):
    """One blow after the other, each when all is well again; the plan's moments do not count."""

    tasks = "even"
    report: AloneReport

    def _let_all_fall(self, start: float, load: Load) -> None:
        told: list[tuple[Fallen, float, float]] = []
        for blow in self._plan:
            self._wait_for_calm(load)
            if self._stopped.is_set():
                break
            if blow.kind in self.report.left_out:
                continue
            with self._outages(blow) as down:
                fallen = self._deal(blow, start, load, MOST)
                self._wait_for_calm(load)
            strike = not CASES[blow.kind].seconds
            over = max(down[-1] if down else fallen.begun, fallen.begun if strike else fallen.over)
            told.append((fallen, over, time.monotonic()))
        self._wait_for_calm(load)
        self.report.stalls = [stall_of(fallen, over, calm, load.gaps, load.late) for fallen, over, calm in told]
        self.report.faults += [
            f"{one.kind} stalled work for {one.worst:.1f} s, and {one.bound:.1f} s is its bound"
            for one in self.report.stalls
            if one.worst > one.bound
        ]

    def _wait_for_calm(self, load: Load) -> None:
        """All are healthy, and for a while no task has been open for long; at most until Ctrl-C."""
        deadline = time.monotonic() + CALM_DEADLINE
        well = time.monotonic()
        while not self._stopped.is_set() and time.monotonic() - well < CALM_SECONDS:
            if load.ended or time.monotonic() > deadline:
                self.report.faults.append("the client has ended before it was told to" if load.ended else "work does not go on")
                self.stop()
            if load.oldest > CALM_AGE or not self._ground.is_well():
                well = time.monotonic()
            self._stopped.wait(0.2)

    @contextmanager
    def _outages(self, blow: Blow) -> Iterator[list[float]]:
        """The moments at which the master's port did not answer, where the blow is on the master."""
        down: list[float] = []
        over = threading.Event()

        def look() -> None:
            address = self._ground.address()
            while not over.wait(0.1):
                try:
                    socket.create_connection((address, 5000), timeout=0.2).close()
                except OSError:
                    down.append(time.monotonic())
                    with suppress(DockerException):
                        address = self._ground.address() or address

        looker = threading.Thread(target=look)
        if blow.lane == "master":
            looker.start()
        try:
            yield down
        finally:
            over.set()
            if blow.lane == "master":
                looker.join()


def stall_of(
    fallen: Fallen, over: float, calm: float, gaps: Sequence[tuple[float, float]], late: Sequence[tuple[float, float]]
) -> Stall:
    """Of a blow that was over then, with all well again at ``calm``: the worst of what met it or what followed."""
    longest = [
        max((end - begin for begin, end in times if begin < calm and end > fallen.begun), default=0.0) for times in (gaps, late)
    ]
    return Stall(fallen.blow.kind, fallen.hit, over - fallen.begun, *longest)


def blows_of(seed: int, kinds: Sequence[Kind]) -> list[Blow]:
    """Those that fall, one after the other."""
    random = Random(f"{seed} alone")
    return [
        Blow(0.0, lane, kind, CASES[kind].seconds, random.getrandbits(32))
        for lane, of_lane in LANES.items()
        for kind in of_lane
        if kind in kinds
        for _ in range(CASES[kind].times)
    ]


def run_alone(name: str, seed: int, kinds: Sequence[Kind], replay: str, say: Say, **settings: str) -> Report:
    """Do it all, in a Compose project of this name; ``settings``: of the cluster. Ctrl-C ends it early, with a report."""
    with Ground(name, folder_of(name), **settings) as ground:
        return go(Alone(ground, AloneReport(seed, 0.0, replay), blows_of(seed, kinds), say))
