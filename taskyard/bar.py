"""Progress of many calls on a terminal: how many have ended, and what the running ones tell."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent import futures
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from taskyard.errors import TaskyardError
from taskyard.exchange import Exchange
from taskyard.futures import TaskFuture
from taskyard.model import Running

T = TypeVar("T")
LOOK_SECONDS = 1.0
"""So often the running tasks are asked for their progress."""
LINES = 5
"""Running tasks that are shown."""


def as_completed(
    fs: Iterable[futures.Future[T]], timeout: float | None = None, *, description: str = "results"
) -> Iterator[futures.Future[T]]:
    """``concurrent.futures.as_completed`` with a bar on standard error, where that is a terminal.

    Below it are the bars of tasks of the same jobs that tell their progress. Raises TimeoutError when ``timeout`` seconds
    have passed since the first future was asked for.
    """
    all_futures = list(fs)
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from futures.as_completed(all_futures, timeout)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Lines that are printed meanwhile go above the bar, but never out of a pipe.
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as progress:
        main = progress.add_task(description, total=len(all_futures))
        exchanges = {future.exchange for future in all_futures if isinstance(future, TaskFuture)}
        ended = threading.Event()
        threading.Thread(target=_watch, args=(progress, exchanges, ended), name="taskyard-bar", daemon=True).start()
        try:
            for future in futures.as_completed(all_futures, timeout):
                progress.advance(main)
                yield future
        finally:
            ended.set()


def _watch(progress: Progress, exchanges: set[Exchange], ended: threading.Event) -> None:
    lines: dict[str, TaskID] = {}
    while not ended.wait(LOOK_SECONDS):
        try:
            _show(progress, lines, [one for exchange in exchanges for one in exchange.running()])
        except TaskyardError:
            pass  # no master just now: the bar stays as it is


def _show(progress: Progress, lines: dict[str, TaskID], running: Sequence[Running]) -> None:
    """Bring the bars of running tasks up to date; ``lines``: those that are shown, by the task's id."""
    told = {one.id: one for one in running if one.total or one.note}
    for task_id in [task_id for task_id in lines if task_id not in told]:
        progress.remove_task(lines.pop(task_id))
    for one in told.values():
        if one.id not in lines and len(lines) < LINES:
            lines[one.id] = progress.add_task("")
        if one.id in lines:
            progress.update(lines[one.id], description=f"  {one.name} {one.note}", completed=one.done, total=one.total or None)
