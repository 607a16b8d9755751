"""``taskyard status``: counts by state, and how far a job is, once or until it has ended."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import sleep
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar

from taskyard.cli.base import EXIT_INTERRUPTED, Json, app, connect, say, show, table, to_json
from taskyard.jobs import Job
from taskyard.model import END_STATES, OPEN_STATES, Running
from taskyard.transport import RemoteQueue

WATCH_SECONDS = 0.5
SHOWN = 20
"""Running tasks that are shown."""


@app.command(epilog="Examples: taskyard status --json | jq .ready; taskyard status nightly --watch")
def status(
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="A job's id; else all tasks are counted.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until the job has ended; without JOB until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Count tasks by state, and show how far those are that run.

    --watch draws anew on a terminal; elsewhere it prints one line for each change.
    """
    with connect(stay=watch) as queue:

        def ask() -> dict[str, Any]:
            return queue.stats() if job is None else _job(queue, job)

        if not watch:
            told = ask()
            if told.get("paused"):
                say("the queue is paused; taskyard resume lets it go on")
            show(told, as_json, _drawn(told) if sys.stdout.isatty() else _lines(told))
            return
        try:
            _watch(ask, as_json)
        except KeyboardInterrupt:
            if job is not None:
                say(f"the job goes on; pick it up by: taskyard status {job} --watch")
            raise typer.Exit(EXIT_INTERRUPTED) from None


def _watch(ask: Callable[[], dict[str, Any]], as_json: bool) -> None:
    if sys.stdout.isatty() and not as_json:
        with Live(console=Console(highlight=False), auto_refresh=False) as live:
            while True:
                told = ask()
                live.update(_drawn(told), refresh=True)
                if told.get("open") == 0:
                    return
                sleep(WATCH_SECONDS)
    before = ""
    while True:
        told = ask()
        line = to_json(told) if as_json else _one_line(told)
        if line != before:
            print(line, flush=True)
        before = line
        if told.get("open") == 0:
            return
        sleep(WATCH_SECONDS)


def _job(queue: RemoteQueue, job: str) -> dict[str, Any]:
    info = Job(queue, job).info()
    running = queue.running(job, SHOWN) if info.open else []
    return {**info._asdict(), "open": info.open, "running": [one._asdict() for one in running]}


def _counts(told: dict[str, Any]) -> dict[str, int]:
    names = ("tasks", "open", *END_STATES) if "job" in told else (*OPEN_STATES, *END_STATES)
    return {name: told[name] for name in names}


def _lines(told: dict[str, Any]) -> str:
    counts = [f"{name}\t{count}" for name, count in _counts(told).items()]
    return "\n".join(counts + [f"{one['id']}\t{one['name']}\t{_how_far(Running(**one))}" for one in told.get("running", [])])


def _one_line(told: dict[str, Any]) -> str:
    counts = ", ".join(f"{count:,} {name}" for name, count in _counts(told).items())
    far = [f"{one['id']} {_how_far(Running(**one))}" for one in told.get("running", []) if one["total"] or one["note"]]
    return "; ".join([counts, *far])


def _drawn(told: dict[str, Any]) -> Group:
    parts: list[Any] = [table(("job" if "job" in told else "state", "tasks"), _counts(told).items())]
    if told.get("job"):
        parts.insert(0, ProgressBar(told["tasks"], told["tasks"] - told["open"], width=60))
    if told.get("running"):
        running = [Running(**one) for one in told["running"]]
        cells = [(one.id, one.name, one.attempt, f"{one.seconds:.0f} s", _how_far(one)) for one in running]
        parts.append(table(("running", "name", "attempt", "since", "progress"), cells))
    return Group(*parts)


def _how_far(one: Running) -> str:
    share = f"{one.done:g} of {one.total:g} ({one.done / one.total:.0%})" if one.total else f"{one.done:g}" if one.done else ""
    return " ".join(filter(None, (share, one.note)))
