"""Progress of many calls on a terminal: how many have ended, and what the running ones tell."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from taskyard.errors import TaskyardError
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

    Raises TimeoutError when ``timeout`` seconds from the call have passed.
    """
    all_futures = list(fs)
    with bar(len(all_futures), description, lambda: _running(all_futures)) as advance:
        for future in futures.as_completed(all_futures, timeout):
            advance(1)
            yield future


@contextmanager
def bar(total: int | None, description: str, running: Callable[[], Sequence[Running]]) -> Iterator[Callable[[int], None]]:
    """A bar of ``total`` steps (None: not known), and below it the tasks that ``running`` names; yields what advances it."""
    console = Console(stderr=True)
    with Progress(
        *columns(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),  # lines that are printed meanwhile go above the bar, but never out of a pipe
    ) as progress:
        main = progress.add_task(description, total=total)
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(progress, running, ended), name="taskyard-bar", daemon=True)
        if console.is_terminal:
            watcher.start()
        try:
            yield lambda steps: progress.advance(main, steps)
        finally:
            ended.set()


def columns() -> tuple[Any, ...]:
    """What a bar consists of."""
    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()


def show_running(progress: Progress, lines: dict[str, TaskID], running: Sequence[Running]) -> None:
    """Bring the bars of running tasks up to date; ``lines``: those that are shown, by the task's id."""
    told = {one.id: one for one in running if one.total or one.note}
    for task_id in [task_id for task_id in lines if task_id not in told]:
        progress.remove_task(lines.pop(task_id))
    for one in told.values():
        if one.id not in lines and len(lines) < LINES:
            lines[one.id] = progress.add_task("")
        if one.id in lines:
            progress.update(lines[one.id], description=f"  {one.name} {one.note}", completed=one.done, total=one.total or None)


def _watch(progress: Progress, running: Callable[[], Sequence[Running]], ended: threading.Event) -> None:
    lines: dict[str, TaskID] = {}
    while not ended.wait(LOOK_SECONDS):
        try:
            show_running(progress, lines, running())
        except TaskyardError:
            pass  # no master just now: the bar stays as it is


def _running(all_futures: Sequence[futures.Future[Any]]) -> list[Running]:
    """The running tasks among the first futures that are open."""
    exchanges = {future.exchange for future in all_futures if isinstance(future, TaskFuture)}
    return [one for exchange in exchanges for one in exchange.running()]
