"""What a worker offers: the tasks of its app, functions by value where they are accepted, and its schedules."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from taskyard.calls import BY_VALUE
from taskyard.codec import encode, one_line
from taskyard.errors import SettingsError, TaskyardError
from taskyard.model import Schedule
from taskyard.registry import load_tasks, options_of

Functions = dict[str, Callable[..., Any]]
"""Of the app, by the names of their tasks."""
NO_ARGUMENTS = encode(((), {}))


class Offer(NamedTuple):
    """What the queue is told of it."""

    names: list[str]
    """Of tasks that this worker takes."""
    schedules: list[tuple[Any, ...]]
    """`Schedule` tuples of those that are periodic."""


def load(app: str, accepts: str) -> tuple[Functions, Offer]:
    """Import the app. Raises `SettingsError`, whatever went wrong."""
    try:
        functions = load_tasks(app)
        schedules = [tuple(schedule) for name in sorted(functions) if (schedule := _schedule(name, functions[name]))]
    except TaskyardError as error:
        raise SettingsError(str(error)) from error
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise SettingsError(
            f"WORKER_APP={app!r} can't be imported: {one_line(error)} ({last.filename}, line {last.lineno})"
        ) from error
    return functions, Offer(sorted(functions) + _by_value(accepts), schedules)


def _schedule(name: str, function: Callable[..., Any]) -> Schedule | None:
    options = options_of(function)
    schedule = options.schedule(NO_ARGUMENTS) if options is not None else None
    if schedule is not None:
        try:
            inspect.signature(function).bind()
        except TypeError as error:
            raise SettingsError(
                f"task {name!r} is periodic, so it is called without arguments: {error}; give its parameters default values"
            ) from None
    return schedule


def _by_value(accepts: str) -> list[str]:
    if "functions" not in accepts.split(","):
        return []
    try:
        import cloudpickle  # noqa: F401 - pickled functions ask for it
    except ImportError:
        raise SettingsError(
            f"WORKER_ACCEPTS={accepts}: functions need the package cloudpickle; install it, or set WORKER_ACCEPTS=names"
        ) from None
    return [BY_VALUE]
