"""The turns: look, decide, act. Each is whole in itself, and a failed one changes nothing that the next would not see."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from taskyard.errors import DockerFailed, Unreachable
from taskyard.scaling.look import Eye, Look
from taskyard.scaling.places import Crew
from taskyard.scaling.plan import Staff, Steps, busy, load_of, muster, steps_to
from taskyard.scaling.policy import Governor, Load, Meter, Policy, wanted

SILENT_SECONDS = 60.0
"""A worker that drained when last heard of, and is not heard of for so long while the queue answers, has left."""


class Turn(NamedTuple):
    """What was found and done."""

    staff: Staff
    """As found."""
    load: Load
    target: int
    steps: Steps


class Scaler:
    """One crew and its queue. ``dry``: nothing is changed, all is told. ``tell`` takes lines for people.

    Moments that methods take are seconds of a clock that only goes forwards.
    """

    def __init__(self, crew: Crew, eye: Eye, tell: Callable[[str], None], dry: bool = False) -> None:
        self._crew = crew
        self._eye = eye
        self._tell = tell
        self._dry = dry
        self._draining: dict[str, float] = {}
        """For how many seconds each place whose worker drains was not heard of, while the queue answered."""
        self._looked: float | None = None
        """When, if the queue and Docker answered then."""

    def look(self, now: float) -> tuple[Look, Staff]:
        """What there is. Raises `DockerFailed`, and `TaskyardError` as `Eye` does."""
        before, self._looked = self._looked, None
        look, places = self._eye.look(), self._crew.places()
        passed, self._looked = now - (now if before is None else before), now
        silent = {place: seconds + passed for place, seconds in self._draining.items()}
        staff = muster(places, look.workers, {place for place, seconds in silent.items() if seconds > SILENT_SECONDS})
        there = {place.id for place in (*staff.coming, *staff.drained)}
        self._draining = {place: seconds for place, seconds in silent.items() if place in there}
        self._draining |= dict.fromkeys((place.id for place, _ in staff.draining), 0.0)
        return look, staff

    def act(self, staff: Staff, target: int, why: str = "") -> Steps:
        """Take away what has drained, and go towards so many workers. Raises as `look` does."""
        steps = steps_to(target, staff)
        if steps.grow or steps.drain:
            self._tell(f"{staff.size} -> {target} workers" + (f": {why}" if why else ""))
        if staff.drained:
            self._tell(f"{_many(len(staff.drained), 'drained worker')} to remove")
        if self._dry:
            return steps
        if staff.drained:
            self._crew.remove(staff.drained)
        if steps.drain:
            self._eye.drain([worker.session for worker in steps.drain])
        if steps.grow:
            self._crew.grow(steps.grow)
        return steps

    def settle(self, target: int, now: float) -> bool:
        """One turn towards a fixed number. Returns whether there is nothing left to do."""
        _, staff = self.look(now)
        steps = self.act(staff, target)
        return not (steps.grow or steps.drain or staff.draining or staff.drained or staff.size != target)


class Autoscaler:
    """Follows the load by `turn`; `once` looks a single time."""

    def __init__(self, scaler: Scaler, policy: Policy, tell: Callable[[str], None]) -> None:
        self._scaler = scaler
        self._policy = policy
        self._tell = tell
        self._meter = Meter(policy.within)
        self._governor: Governor | None = None
        self._trouble = ""

    def turn(self, now: float) -> Turn | None:
        """Look, decide and act; None: the queue or Docker does not answer, so that nothing is changed, which is told once.

        Raises `TaskyardError` when it would not get better: the wrong key, for instance.
        """
        try:
            turn = self._turn(now)
        except (Unreachable, DockerFailed) as error:
            if str(error) != self._trouble:
                self._tell(f"nothing is changed meanwhile: {error}")
            self._trouble = str(error)
            self._governor = None  # a time in which nobody looked is no quiet one
            return None
        if self._trouble:
            self._tell("it goes on")
        self._trouble = ""
        return turn

    def once(self, now: float) -> Turn:
        """The same, but down without a quiet time: nothing is known of what was before. Raises what `turn` tells."""
        look, staff, load = self._learn(now)
        target = wanted(load, self._policy)
        return Turn(staff, load, target, self._scaler.act(staff, target, _why(look, load)))

    def _turn(self, now: float) -> Turn:
        look, staff, load = self._learn(now)
        if self._governor is None:
            self._governor = Governor(self._policy, staff.size, now)
        target = self._governor.decide(load, now)
        return Turn(staff, load, target, self._scaler.act(staff, target, _why(look, load)))

    def _learn(self, now: float) -> tuple[Look, Staff, Load]:
        look, staff = self._scaler.look(now)
        self._meter.learn(now, look.ended, look.run_seconds, busy(staff))
        running = sum(worker.busy for worker in look.workers if not worker.left)
        seconds = self._meter.seconds(look.ages[:running])  # the others were lent ahead, and wait
        return look, staff, load_of(look, staff, seconds, self._meter.busy)


def _why(look: Look, load: Load) -> str:
    told = f"{_many(load.tasks, 'task')} to run, {load.seconds:.3g} s each, {load.busy:.3g} slots busy"
    return told + (", the queue is paused" if look.paused else "")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
