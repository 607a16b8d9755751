"""What a running task may ask and tell: its progress, its attempt, whether it was cancelled, a logger.

The same functions do no harm where no task runs, so that a task's function can be called and tested as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from taskyard.series import join_id

LONGEST_NOTE = 200
"""Characters of a progress note that are kept."""
MOST = 1e300
"""Of anything; beyond it, and no number at all (NaN), is 0."""


class Running:
    """The task that this process runs now. The slot counts ``number`` up for the next one of a series: that is sooner done
    than making another object, and few tasks ever ask."""

    def __init__(
        self,
        prefix: str,
        number: int,
        name: str,
        attempt: int,
        tell: Callable[[float, float, str], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        self.prefix = prefix
        self.number = number
        self.name = name
        self.attempt = attempt
        self.tell = tell
        """Takes its progress."""
        self.is_cancelled = is_cancelled

    @property
    def id(self) -> str:
        """The task's id."""
        return join_id(self.prefix, self.number)


_running: Running | None = None


def enter(running: Running | None) -> None:
    """Called by the slot when tasks begin, and with None when they have ended."""
    global _running
    _running = running


def progress(done: float, total: float = 0.0, note: str = "") -> None:
    """Tell how far this task is: ``done`` of ``total`` (0: not known), and in words. Callers and ``status`` show it.

    It costs next to nothing: the newest word goes out a few times a second, the others are dropped.
    """
    if _running is not None:
        text = str(note)[:LONGEST_NOTE].encode(errors="replace").decode()  # half a character would be refused
        _running.tell(_sensible(done), _sensible(total), text)


def cancelled() -> bool:
    """Whether somebody has cancelled this task. Who asks now and then has some seconds to tidy up and return; the process
    of a task that never asks is ended at once."""
    return _running is not None and _running.is_cancelled()


def attempt() -> int:
    """1 in a task's first attempt, 2 in the second."""
    return _running.attempt if _running is not None else 1


def task_id() -> str:
    """The id of the task that runs; empty where none does."""
    return _running.id if _running is not None else ""


def logger() -> logging.Logger:
    """A logger whose lines carry the task's id and stand in the worker's log."""
    return logging.getLogger(_running.name if _running is not None else "taskyard.task")


def fields() -> dict[str, Any]:
    """What a line of the log says of the task that runs."""
    running = _running
    return {} if running is None else {"task": running.id, "name": running.name, "attempt": running.attempt}


def _sensible(number: float) -> float:
    value = float(number)
    return value if -MOST < value < MOST else 0.0
