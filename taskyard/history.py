"""What has happened to tasks, as clients, workers and the queue tell it; and whether that keeps the queue's promises.

A history is a list of events in the order in which whoever recorded them knew of them. `faults` judges it: `taskyard verify`
by what the queue tells, tests by what clients and workers have noted too. Where nobody has noted attempts, no end is blamed for
having none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from taskyard.model import State

What = Literal["submitted", "acknowledged", "attempted", "settled", "answered", "ended", "open"]
"""submitted: a client is about to submit it. acknowledged: its submit has returned. attempted: an attempt has begun.
settled: an attempt has returned. answered: a client has its result. ended: the queue tells of an end.
open: the queue tells, after the last of the ends, that it has none."""


class End(NamedTuple):
    """What a task has come to. ``attempts``: of `taskyard.model.Result`; 0 where that is not known (a client is not told)."""

    state: State
    value: object
    attempts: int = 0


class Event(NamedTuple):
    """Something that has happened to a task. ``number``: of an attempt, from 1; of an end that the queue tells its place among
    the job's results, which it has for itself."""

    what: What
    id: str
    number: int = 0
    end: End | None = None


Task = list[Event]


class Fault(NamedTuple):
    """A promise that was not kept, in words that follow a number of tasks, and those tasks."""

    broken: str
    ids: list[str]


def faults(events: Iterable[Event]) -> list[Fault]:
    """What does not fit; empty: each task that was acknowledged has one end, which never changed, and nothing else has one."""
    tasks: dict[str, Task] = {}
    told: set[What] = set()
    for event in events:
        tasks.setdefault(event.id, []).append(event)
        told.add(event.what)
    found = []
    for broken, (needed, breaks) in _RULES.items():
        ids = [task_id for task_id, task in tasks.items() if breaks(task)] if needed in told or needed is None else []
        if ids:
            found.append(Fault(broken, ids))
    return found


# The rules: whether a task's events break them


def _any(task: Task, *what: What) -> bool:
    return any(event.what in what for event in task)


def _begins_with(task: Task, first: What, *then: What) -> bool:
    """Whether something of the first kind comes before everything of the others."""
    kinds = [event.what for event in task if event.what == first or event.what in then]
    return not kinds or kinds[0] == first


def _has_no_end(task: Task) -> bool:
    return _any(task, "acknowledged") and not _any(task, "ended", "answered")


def _has_two_ends(task: Task) -> bool:
    return len({event.number for event in task if event.what == "ended"}) > 1


def _is_open_and_ended(task: Task) -> bool:
    return _any(task, "open") and _any(task, "ended", "answered")


def _has_changed(task: Task) -> bool:
    ends = list(_ends(task))
    told = {end.attempts for end in ends if end.attempts}
    return len(told) > 1 or any((end.state, end.value) != (ends[0].state, ends[0].value) for end in ends)


def _was_never_submitted(task: Task) -> bool:
    return not _begins_with(task, "submitted", "acknowledged", "attempted", "settled", "answered", "ended")


def _is_done_without_an_attempt(task: Task) -> bool:
    return any(end.state == "done" for end in _ends(task)) and not _begins_with(task, "attempted", "settled", "answered", "ended")


def _has_begun_more_often_than_counted(task: Task) -> bool:
    # Not the other way round: a slot that is killed as it begins has no time to note it.
    begun = max((event.number for event in task if event.what == "attempted"), default=0)
    return any(begun > end.attempts + (end.state == "cancelled") for end in _ends(task) if end.attempts)


def _ends(task: Task) -> Iterator[End]:
    return (event.end for event in task if event.end is not None)


_RULES: dict[str, tuple[What | None, Callable[[Task], bool]]] = {
    "acknowledged, without an end": ("acknowledged", _has_no_end),
    "more than one end": ("ended", _has_two_ends),
    "open that have an end": ("open", _is_open_and_ended),
    "an end that has changed": (None, _has_changed),
    "never submitted": ("submitted", _was_never_submitted),
    "done without an attempt": ("attempted", _is_done_without_an_attempt),
    "more attempts than are counted": ("attempted", _has_begun_more_often_than_counted),
}
"""By what is broken: the kind of event without which nothing can be said of it (None: there is none), and whether a task
breaks it."""
