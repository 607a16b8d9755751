"""What the judge of histories lets pass, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskyard.history import End, Event, Fault, faults
from taskyard.model import State

DONE = End("done", 49, 2)


def life(task_id: str, place: int, attempts: list[int], end: End, answers: int) -> list[Event]:
    """A task that keeps all promises. ``attempts``: how often each of them began, since a worker may be lost without count."""
    begun = [Event("attempted", task_id, number) for number, times in enumerate(attempts, 1) for _ in range(times)]
    answered = [Event("answered", task_id, 0, end._replace(attempts=0)) for _ in range(answers)]
    return [
        Event("submitted", task_id),
        Event("acknowledged", task_id),
        *begun,
        Event("settled", task_id),
        Event("ended", task_id, place, end),
        *answered,
        Event("ended", task_id, place, end),  # read again
    ]


@st.composite
def lives(draw: st.DrawFn) -> list[list[Event]]:
    made = []
    for number in range(draw(st.integers(1, 4))):
        attempts = draw(st.lists(st.integers(1, 2), min_size=1, max_size=3))
        state: State = draw(st.sampled_from(("done", "failed")))
        end = End(state, draw(st.integers(0, 3)), len(attempts))
        made.append(life(f"job-{number}", number + 1, attempts, end, draw(st.integers(0, 2))))
    return made


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Several lives at the same time."""
    left = draw(lives())
    order = draw(st.permutations([index for index, one in enumerate(left) for _ in one]))
    each = [iter(one) for one in left]
    return [next(each[index]) for index in order]


@given(histories())
def test_lives_that_keep_all_promises_have_no_fault_however_they_mix(history: list[Event]) -> None:
    assert faults(history) == []


@given(histories())
def test_nobody_is_blamed_for_what_nobody_has_noted(history: list[Event]) -> None:
    for noted in ({"ended"}, {"answered"}, {"submitted", "answered"}, {"attempted", "ended"}, {"ended", "open"}):
        assert faults(event for event in history if event.what in noted) == []


def without(*kinds: str) -> Callable[[list[Event]], list[Event]]:
    return lambda events: [event for event in events if event.what not in kinds]


def and_then(*more: Event) -> Callable[[list[Event]], list[Event]]:
    return lambda events: [*events, *more]


WRONG: dict[str, tuple[Callable[[list[Event]], list[Event]], str]] = {
    "no end": (without("ended", "answered"), "acknowledged, without an end"),
    "two ends": (and_then(Event("ended", "bad", 77, DONE)), "more than one end"),
    "open after its end": (and_then(Event("open", "bad")), "open that have an end"),
    "another value": (and_then(Event("answered", "bad", 0, End("done", 50))), "an end that has changed"),
    "another state": (and_then(Event("answered", "bad", 0, End("failed", 49))), "an end that has changed"),
    "another count": (and_then(Event("ended", "bad", 7, DONE._replace(attempts=1))), "an end that has changed"),
    "nobody's task": (without("submitted"), "never submitted"),
    "an end before its submit": (lambda events: [events[-1], *events], "never submitted"),
    "done by nobody": (without("attempted"), "done without an attempt"),
    "an attempt too many": (and_then(Event("attempted", "bad", 3)), "more attempts than are counted"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_breaks_a_promise_is_found_and_nothing_else_is(kind: str) -> None:
    break_it, broken = WRONG[kind]
    good = life("good", 1, [1], End("done", 1, 1), 1)
    bad = break_it(life("bad", 7, [1, 2], DONE, 1))
    found = faults(chain(good, bad))
    assert Fault(broken, ["bad"]) in found
    assert {task_id for fault in found for task_id in fault.ids} == {"bad"}


def test_an_attempt_that_a_cancelled_task_had_under_way_is_not_counted() -> None:
    assert faults(life("cancelled", 1, [1, 1, 1], End("cancelled", None, 2), 0)) == []
