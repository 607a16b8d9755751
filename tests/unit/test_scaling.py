"""How many workers are wanted, who is drained for fewer, and what a turn does: on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskyard.errors import DockerFailed, Unreachable, WrongKey
from taskyard.model import WorkerInfo
from taskyard.scaling.look import Look
from taskyard.scaling.places import Place
from taskyard.scaling.plan import load_of, muster, steps_to
from taskyard.scaling.policy import Governor, Load, Meter, Policy, wanted
from taskyard.scaling.scaler import SILENT_SECONDS, Autoscaler, Scaler

POLICY = Policy(1, 20, within=10.0, quiet=30.0)
LOADS = st.builds(
    Load,
    tasks=st.integers(0, 10**7),
    seconds=st.floats(0, 10**5),
    busy=st.floats(0, 500),
    slots=st.integers(1, 64),
    elsewhere=st.integers(0, 500),
)


def worker(host: str, **told: object) -> WorkerInfo:
    usual = {"session": f"session-{host}", "host": host, "slots": 1, "busy": 0, "tasks": (), "leased": 0, "silent": 0.1}
    more = {"python": "3.13", "pid": 1, "version": "0", "cpu": 0.0, "memory": 0, "started": 1.0}
    return WorkerInfo(**{**usual, **more, "left": 0.0, "lost": False, "draining": False, **told})  # type: ignore[arg-type]


def place(host: str, **told: object) -> Place:
    return Place(**{"id": f"id-{host}", "host": host, "started": 100.0, **told})  # type: ignore[arg-type]


# How many


@pytest.mark.parametrize(
    ("load", "workers"),
    [
        (Load(0, 0.0), 1),
        (Load(5000, 0.0), 1),  # nothing is known of them: the first ones will tell
        (Load(5000, 0.001), 1),
        (Load(5000, 0.02), 10),
        (Load(5000, 1.0), 20),
        (Load(3, 100.0), 3),  # never more slots than tasks
        (Load(3, 100.0, slots=2), 2),
        (Load(12, 100.0, elsewhere=4), 8),
        (Load(4, 0.5, busy=3.2), 4),  # what comes steadily keeps as many busy
    ],
)
def test_workers_are_wanted_to_work_off_what_waits_in_time(load: Load, workers: int) -> None:
    assert wanted(load, POLICY) == workers


@given(LOADS, st.integers(0, 50), st.integers(0, 50))
def test_what_is_wanted_keeps_to_the_bounds_and_grows_with_the_tasks(load: Load, least: int, more: int) -> None:
    policy = Policy(least, least + more)
    assert least <= wanted(load, policy) <= wanted(load._replace(tasks=load.tasks + 1), policy) <= least + more


def test_up_goes_at_once_and_down_after_a_quiet_time() -> None:
    governor = Governor(POLICY, 1, now=0.0)
    assert governor.decide(Load(5000, 1.0), 1.0) == 20
    assert governor.decide(Load(0, 1.0), 2.0) == 20
    assert governor.decide(Load(50, 1.0), 30.0) == 20
    assert governor.decide(Load(0, 1.0), 31.0) == 5
    assert governor.decide(Load(0, 1.0), 59.0) == 5
    assert governor.decide(Load(0, 1.0), 60.0) == 1


def test_workers_that_are_there_at_the_start_have_the_quiet_time_too() -> None:
    governor = Governor(POLICY, 7, now=0.0)
    assert governor.decide(Load(0, 0.0), 29.0) == 7
    assert governor.decide(Load(0, 0.0), 30.0) == 1


@given(st.lists(st.tuples(st.floats(0.1, 20.0), LOADS), max_size=40))
def test_the_decision_is_never_under_what_is_wanted_now_nor_under_any_wish_of_the_quiet_time(
    looks: list[tuple[float, Load]],
) -> None:
    governor, now, wishes = Governor(POLICY, 1, 0.0), 0.0, [(0.0, 1)]
    for passed, load in looks:
        now += passed
        wishes.append((now, wanted(load, POLICY)))
        assert governor.decide(load, now) == max(wish for when, wish in wishes if when > now - POLICY.quiet)


# How long tasks take


def test_tasks_take_as_long_as_those_that_ended_of_late() -> None:
    meter = Meter(10.0)
    meter.learn(0.0, 100, 1000.0, 1)
    assert meter.seconds([]) == 10.0  # as it was so far
    meter.learn(5.0, 150, 1005.0, 3)
    assert meter.seconds([60.0]) == pytest.approx(0.1)
    assert meter.busy == 2.0
    meter.learn(12.0, 150, 1005.0, 3)
    meter.learn(16.0, 150, 1005.0, 3)
    assert meter.busy == 3.0
    assert meter.seconds([]) == pytest.approx(0.1)  # none ended, none runs
    assert meter.seconds([8.0, 4.0]) == 6.0  # those that run are longer ones


def test_a_master_that_counts_anew_makes_no_task_take_less_than_no_time() -> None:
    meter = Meter(10.0)
    meter.learn(0.0, 1000, 50.0, 0)
    meter.learn(1.0, 0, 0.0, 0)
    assert meter.seconds([]) >= 0
    meter.learn(2.0, 10, 20.0, 0)
    assert meter.seconds([]) == 2.0


# Who


def test_idle_workers_are_drained_first_and_of_these_the_youngest() -> None:
    places = [place(host, started=started) for host, started in (("old", 1.0), ("busy", 3.0), ("young", 2.0))]
    staff = muster(places, [worker("old"), worker("busy", busy=1, leased=1), worker("young")])
    assert [one.host for one in steps_to(2, staff).drain] == ["young"]
    assert [one.host for one in steps_to(0, staff).drain] == ["young", "old", "busy"]


def test_a_draining_worker_is_no_worker_and_its_task_no_reason_for_another() -> None:
    draining = worker("b", busy=1, leased=1, draining=True)
    look = Look(0, 1, False, 10, 1000.0, (5.0,), (worker("a"), draining))
    staff = muster([place("a"), place("b")], look.workers)
    assert (staff.size, len(staff.draining), staff.drained) == (1, 1, ())
    assert load_of(look, staff, 100.0, 0.0).tasks == 0
    assert steps_to(2, staff).grow == 1


def test_a_place_has_drained_once_its_worker_left_and_works_again_when_it_was_started_since() -> None:
    left = worker("a", left=200.0, draining=True)
    assert muster([place("a")], [left]).drained == (place("a"),)
    again = place("a", started=201.0)
    assert muster([again], [left]).coming == (again,)
    assert muster([again], [worker("a"), left]).working == ((again, worker("a")),)


@pytest.mark.parametrize("told", [{"lost": True, "draining": True}, {"draining": False}])
def test_a_worker_that_was_lost_or_left_undrained_is_not_taken_away(told: dict[str, bool]) -> None:
    assert muster([place("a")], [worker("a", left=200.0, **told)]).coming == (place("a"),)


def test_workers_of_other_hosts_count_with_their_slots_and_are_never_drained() -> None:
    staff = muster([place("a")], [worker("a"), worker("far", slots=8)])
    look = Look(10, 0, False, 0, 0.0, (), ())
    assert load_of(look, staff, 1.0, 0.0).elsewhere == 8
    assert [one.host for one in steps_to(0, staff).drain] == ["a"]


def test_a_paused_queue_wants_nobody_for_what_waits() -> None:
    look = Look(5000, 2, True, 0, 0.0, (), ())
    assert load_of(look, muster([], []), 1.0, 0.0).tasks == 2


@given(st.integers(0, 30), st.lists(st.sampled_from(["idle", "busy", "draining", "drained", "coming"]), max_size=30))
def test_steps_lead_to_the_number_and_never_under_it(target: int, states: list[str]) -> None:
    places = [place(str(number)) for number, _ in enumerate(states)]
    told: dict[str, dict[str, object]] = {"idle": {}, "busy": {"busy": 1}}
    told |= {"draining": {"draining": True}, "drained": {"draining": True, "left": 200.0}}
    workers = [worker(str(number), **told[state]) for number, state in enumerate(states) if state in told]
    staff = muster(places, workers)
    steps = steps_to(target, staff)
    assert not (steps.grow and steps.drain)
    assert staff.size + steps.grow >= target
    assert len(staff.working) - len(steps.drain) == min(target, len(staff.working))
    assert {one.host for one in steps.drain} <= {str(n) for n, state in enumerate(states) if state in ("idle", "busy")}


def test_a_worker_that_never_comes_costs_no_other_its_place() -> None:
    staff = muster([place("a"), place("broken")], [worker("a")])
    assert steps_to(1, staff) == (0, ())


# Turns


class Ground:
    """A queue and a crew that do at once what they are told, and note it."""

    name = "ground"

    def __init__(self, workers: int) -> None:
        self.there = [place(str(number), started=float(number)) for number in range(workers)]
        self.workers = {one.host: worker(one.host) for one in self.there}
        self.ready, self.ended, self.run_seconds = 0, 0, 0.0
        self.trouble: Exception | None = None
        self.done: list[str] = []

    def eye(self) -> Ground:
        return self

    def look(self) -> Look:
        if self.trouble is not None:
            raise self.trouble
        return Look(self.ready, 0, False, self.ended, self.run_seconds, (), tuple(self.workers.values()))

    def drain(self, sessions: Sequence[str]) -> int:
        for session in sessions:
            host = session.removeprefix("session-")
            self.done.append(f"drain {host}")
            self.workers[host] = self.workers[host]._replace(draining=True)
        return len(sessions)

    def close(self) -> None: ...

    def places(self) -> list[Place]:
        return list(self.there)

    def grow(self, by: int) -> None:
        self.done.append(f"grow {by}")
        for _ in range(by):
            self.there.append(place(str(len(self.there)), started=float(len(self.there))))
            self.workers[self.there[-1].host] = worker(self.there[-1].host)

    def remove(self, places: Sequence[Place]) -> None:
        self.done += [f"remove {one.host}" for one in places]
        self.there = [one for one in self.there if one not in places]


def autoscaler(ground: Ground, said: list[str], dry: bool = False) -> Autoscaler:
    return Autoscaler(Scaler(ground, ground, said.append, dry), POLICY, said.append)


def test_a_burst_brings_workers_and_the_quiet_after_it_takes_them_away_once_they_have_drained() -> None:
    ground, said = Ground(1), list[str]()
    scaling = autoscaler(ground, said)
    scaling.turn(0.0)
    ground.ready, ground.ended, ground.run_seconds = 30, 10, 10.0
    scaling.turn(1.0)
    assert ground.done == ["grow 2"]
    assert said == ["1 -> 3 workers: 30 tasks to run, 1 s each, 0 slots busy"]
    ground.ready = 0
    scaling.turn(30.0)
    assert ground.done == ["grow 2"]
    scaling.turn(32.0)
    assert ground.done[1:] == ["drain 2", "drain 1"]
    scaling.turn(33.0)
    assert len(ground.done) == 3  # they still run something
    ground.workers["2"] = ground.workers["2"]._replace(left=200.0)
    scaling.turn(34.0)
    scaling.turn(35.0)
    assert ground.done[3:] == ["remove 2"]


def test_a_drained_worker_of_which_no_master_knows_any_more_is_taken_away_when_it_is_silent_for_long() -> None:
    ground, said = Ground(2), list[str]()
    scaling = autoscaler(ground, said)
    ground.workers["1"] = ground.workers["1"]._replace(draining=True)
    scaling.turn(0.0)
    del ground.workers["1"]
    scaling.turn(SILENT_SECONDS)
    assert "remove 1" not in ground.done
    scaling.turn(SILENT_SECONDS + 1)
    assert "remove 1" in ground.done


def test_a_time_in_which_the_queue_did_not_answer_takes_no_draining_worker_away() -> None:
    ground, said = Ground(2), list[str]()
    scaling = autoscaler(ground, said)
    draining = ground.workers["1"] = ground.workers["1"]._replace(draining=True, busy=1)
    scaling.turn(0.0)
    ground.trouble = Unreachable("no master answers")
    for now in (1.0, SILENT_SECONDS, 2 * SILENT_SECONDS):
        scaling.turn(now)
    ground.trouble = None
    del ground.workers["1"]  # it has not come back yet
    scaling.turn(2 * SILENT_SECONDS + 1)
    ground.workers["1"] = draining
    scaling.turn(2 * SILENT_SECONDS + 2)
    assert "remove 1" not in ground.done


@pytest.mark.parametrize("trouble", [Unreachable("no master answers"), DockerFailed("docker ps: no engine")])
def test_nothing_is_changed_while_the_queue_or_docker_does_not_answer_and_that_is_told_once(trouble: Exception) -> None:
    ground, said = Ground(5), list[str]()
    scaling = autoscaler(ground, said)
    scaling.turn(0.0)
    ground.trouble = trouble
    assert [scaling.turn(now) for now in (40.0, 41.0)] == [None, None]
    assert said == [f"nothing is changed meanwhile: {trouble}"]
    ground.trouble = None
    scaling.turn(42.0)
    assert said[1:] == ["it goes on"]
    scaling.turn(71.0)
    assert ground.done == []  # a time in which nobody looked is no quiet one
    scaling.turn(72.0)
    assert ground.done == ["drain 4", "drain 3", "drain 2", "drain 1"]


def test_what_will_not_get_better_ends_it() -> None:
    ground = Ground(1)
    ground.trouble = WrongKey("another key")
    with pytest.raises(WrongKey):
        autoscaler(ground, []).turn(0.0)


def test_a_dry_run_tells_everything_and_does_nothing() -> None:
    ground, said = Ground(3), list[str]()
    ground.workers["2"] = ground.workers["2"]._replace(draining=True, left=200.0)
    assert autoscaler(ground, said, dry=True).once(0.0).target == 1
    assert ground.done == []
    assert said == ["2 -> 1 workers: 0 tasks to run, 0 s each, 0 slots busy", "1 drained worker to remove"]


def test_a_fixed_number_is_reached_when_the_last_surplus_worker_has_gone() -> None:
    ground = Ground(2)
    scaler = Scaler(ground, ground, lambda _: None)
    assert not scaler.settle(1, 0.0)
    assert not scaler.settle(1, 1.0)
    ground.workers["1"] = ground.workers["1"]._replace(left=200.0)
    assert not scaler.settle(1, 2.0)
    assert scaler.settle(1, 3.0)
    assert ground.done == ["drain 1", "remove 1"]
