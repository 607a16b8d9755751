"""One run: bring the cluster up, let the plan fall on it under load, let all end, judge."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from signal import SIGINT, getsignal, signal
from typing import Any

from tests.chaos.blows import NEEDS, deal
from tests.chaos.ground import WORKERS, Ground, folder_of
from tests.chaos.load import Load
from tests.chaos.report import Fallen, Report
from tests.chaos.schedule import LANES, Blow, Lane, lines, plan
from tests.harness import wait_until

END_SECONDS = 180.0
"""Within which all that is open has ended after the last blow; the lease time is 30 s."""
Say = Callable[[str], None]


class Run:
    """A run of one seed: ``blows`` fall while a client submits ``tasks`` (see `tests.chaos.load.Load`)."""

    tasks = "mixed"

    def __init__(self, ground: Ground, report: Report, blows: list[Blow], say: Say) -> None:
        self.report = report
        self._ground = ground
        self._say = say
        self._stopped = threading.Event()
        self._plan = blows
        for blow in blows:
            why = ground.missing.get(NEEDS.get(blow.kind, ""))
            if why is not None:
                self.report.left_out[blow.kind] = why

    def stop(self, *_: object) -> None:
        """Let no further blow fall, undo those that have, and report; safe in a signal handler."""
        self._stopped.set()

    def go(self) -> Report:
        """Returns what it has come to."""
        self._ground.up()
        load = Load(self._ground.project, self.report.seed, self.tasks)
        try:
            self._under(load)
        finally:
            load.close()
        self._keep()
        return self.report

    def _under(self, load: Load) -> None:
        wait_until(lambda: load.came or load.ended or self._stopped.is_set(), "the client's first result")
        start = time.monotonic()
        self._let_all_fall(start, load)
        self.report.seconds = time.monotonic() - start
        self._check("the cluster is not healthy", self._ground.heal)
        if not load.finish(END_SECONDS):
            open_tasks = load.submitted - load.came
            self.report.faults.append(
                f"{open_tasks} of {load.submitted} tasks have no result {END_SECONDS:g} s after the last blow"
            )
        self._judge(load)

    def _let_all_fall(self, start: float, load: Load) -> None:
        lanes = [threading.Thread(target=self._fall, args=(lane, start, load)) for lane in LANES]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            while lane.is_alive():
                lane.join(0.5)  # so that signals are handled meanwhile
                if load.ended and not self._stopped.is_set():
                    self.report.faults.append("the client has ended before it was told to")
                    self.stop()

    def _fall(self, lane: Lane, start: float, load: Load) -> None:
        for blow in self._plan:
            if blow.lane != lane or blow.kind in self.report.left_out:
                continue
            if self._stopped.wait(max(0.0, start + blow.at - time.monotonic())):
                return
            self._deal(blow, start, load)

    def _deal(self, blow: Blow, start: float, load: Load, most: int = WORKERS) -> Fallen:
        """Let one fall on so many workers at most, or on the master."""
        begun = time.monotonic()
        hit, error = 0, ""
        try:
            hit = deal(self._ground, blow, self._stopped, most)
        except Exception as caught:  # the others still fall
            error = f"{blow.kind} at {blow.at:.1f} s: {type(caught).__name__}: {caught}"
        over = time.monotonic()
        fallen = Fallen(blow, begun, over, hit, error)
        self.report.fallen.append(fallen)
        self._say(f"{begun - start:8.1f} s  {blow.kind}: {error or f'hit {hit}, {over - begun:.1f} s'}; results {load.came:,}")
        return fallen

    def _judge(self, load: Load) -> None:
        report = self.report
        report.gaps, report.late, report.longest = load.gaps, load.late, load.longest
        report.verdicts = load.verdicts or []
        report.faults += [one.error for one in report.fallen if one.error and not self._stopped.is_set()]
        for verdict in report.verdicts:
            report.faults += [f"job {verdict['job']}: {fault}" for fault in verdict["faults"]]
            report.faults += [f"job {verdict['job']}, wrong result of task {wrong}" for wrong in verdict["wrong"]]
        self._check("taskyard verify", self._verify)
        for service in ("master", "worker"):
            found = re.findall(r"Traceback.*\n(?:\s.*\n)*.*", self._ground.project.log(service))
            report.faults += [f"{len(found)} tracebacks in the log of {service}, the first: {found[0]}"] if found else []

    def _verify(self) -> None:
        words = ("run", "--rm", "-T", "--no-deps", "cli", "verify")
        told = self._ground.project.compose(*words)
        judged = re.findall(r": ([\d,]+) tasks, each has exactly one end", told)
        tasks = sum(int(number.replace(",", "")) for number in judged)
        self.report.verify = f"taskyard verify: {len(judged)} jobs, {tasks:,} tasks, each has exactly one end"
        assert tasks == self.report.total("tasks"), f"{self.report.verify}; submitted: {self.report.total('tasks'):,}"

    def _check(self, what: str, check: Callable[[], None]) -> None:
        try:
            check()
        except AssertionError as error:
            self.report.faults.append(f"{what}: {error}")

    def _keep(self) -> None:
        """What the report was made of; the logs too where something is wrong."""
        folder, report = self._ground.folder, self.report
        told: dict[str, Any] = {
            "fallen": report.fallen,
            "gaps": report.gaps,
            "late": report.late,
            "verdicts": report.verdicts,
        }
        (folder / "run.json").write_text(json.dumps(told, indent=1))
        if report.faults:
            (folder / "logs.txt").write_text(self._ground.project.compose("logs", "--no-color", "--timestamps"))
            report.faults.append(f"the logs are in {folder}")


def run(name: str, seed: int, seconds: float, replay: str, say: Say, **settings: str) -> Report:
    """Do it all, in a Compose project of this name; ``settings``: of the cluster. Ctrl-C ends it early, with a report."""
    blows = plan(seed, seconds)
    for line in lines(blows):
        say(line)
    with Ground(name, folder_of(name), **settings) as ground:
        return go(Run(ground, Report(seed, seconds, replay), blows, say))


def go(one: Run) -> Report:
    """Make a run; Ctrl-C ends it early."""
    with _interrupts_go_to(one.stop):
        return one.go()


@contextmanager
def _interrupts_go_to(stop: Callable[..., None]) -> Iterator[None]:
    """The first Ctrl-C calls ``stop``, a second one is one as ever."""
    before = getsignal(SIGINT)

    def first(*_: object) -> None:
        signal(SIGINT, before)
        stop()

    signal(SIGINT, first)
    try:
        yield
    finally:
        signal(SIGINT, before)
