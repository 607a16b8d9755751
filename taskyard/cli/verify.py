"""``taskyard verify``: whether each task has exactly one end."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Annotated, Any

import typer
from rich.progress import Progress

from taskyard.cli.base import Json, app, connect, progress, to_json
from taskyard.history import End, Event, faults
from taskyard.jobs import PAGE, Job
from taskyard.model import END_STATES, OPEN_STATES, JobInfo
from taskyard.transport import RemoteQueue

LOOKS = 3
"""How often the counts are compared while they may still move."""
NAMED = 10
"""Tasks that one line names."""


@app.command(epilog="Example: taskyard verify nightly && echo 'each task has exactly one end'")
def verify(
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="A job's id; else all jobs.")] = None, as_json: Json = False
) -> None:
    """Check that each submitted task has exactly one end; exit 1 and say what does not fit, where one has none or two.

    Reads all results, lists what is open, and compares both with the queue's counts. Tasks that still wait or run are open.
    """
    with connect() as queue, progress() as bar:
        wanted = [Job(queue, job).info()] if job is not None else _all_jobs(queue)
        bar_id = bar.add_task("results read", total=sum(one.tasks for one in wanted))
        told = [_verify(queue, one, bar, bar_id) for one in wanted]
    for one in told:
        print(to_json(one) if as_json else _line(one))
    if not told and not as_json:
        print("the queue has no jobs")
    raise typer.Exit(1 if any(one["problems"] for one in told) else 0)


def _all_jobs(queue: RemoteQueue) -> list[JobInfo]:
    found: list[JobInfo] = []
    while page := queue.jobs(None, PAGE, len(found)):
        found += page
    return list({one.job: one for one in found}.values())


def _verify(queue: RemoteQueue, info: JobInfo, bar: Progress, bar_id: Any) -> dict[str, Any]:
    events: list[Event] = []
    counts: Counter[str] = Counter()
    end = cache(End)  # a million results have the same few; not their values, which may be large
    cursor = 0
    for _ in range(LOOKS):
        while page := queue.results(info.job, cursor, PAGE, 0.0):
            for result in page:
                events.append(Event("ended", result.id, result.cursor, end(result.state, None, result.attempts)))
                counts[result.state] += 1
            cursor = page[-1].cursor
            bar.advance(bar_id, len(page))
        info = Job(queue, info.job).info()
        if all(counts[state] == getattr(info, state) for state in END_STATES):
            break
    ended = {event.id for event in events}
    waiting = {state: _ids(queue, state, info.job) for state in OPEN_STATES}
    problems = [f"{len(ids):,} {state}, without an end: {_named(ids)}" for state, ids in waiting.items() if ids]
    events += [Event("open", task_id) for ids in waiting.values() for task_id in ids]
    problems += [f"{len(ids):,} {broken}: {_named(ids)}" for broken, ids in faults(events)]
    problems += [
        f"{counts[state]:,} results are {state}, and the queue counts {getattr(info, state):,}"
        for state in END_STATES
        if counts[state] != getattr(info, state)
    ]
    still_open = sum(map(len, waiting.values()))
    if still_open + len(ended) != info.tasks:
        problems.append(f"{info.tasks:,} tasks were submitted, and {still_open + len(ended):,} are open or ended")
    return {**info._asdict(), "open": waiting, "problems": problems}


def _ids(queue: RemoteQueue, state: str, job: str) -> list[str]:
    ids: list[str] = []
    while found := queue.find(state, job, PAGE, len(ids)):
        ids += [task.id for task in found]
    return ids


def _named(ids: list[str]) -> str:
    return ", ".join(ids[:NAMED]) + (" ..." if len(ids) > NAMED else "")


def _line(told: dict[str, Any]) -> str:
    head = f"{told['job']}: {told['tasks']:,} tasks"
    if not told["problems"]:
        return f"{head}, each has exactly one end ({', '.join(f'{told[state]:,} {state}' for state in END_STATES)})"
    return "\n  ".join([f"{head}, and this does not fit:", *told["problems"]])
