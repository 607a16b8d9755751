"""The functions that workers offer: ``@task`` registers one under its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, overload

from taskyard.errors import SettingsError, UnknownTask
from taskyard.model import BY_CAUSE

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Options:
    """How a task is to be run; the fields are those of `taskyard.model.Task`."""

    name: str
    priority: int = 0
    retries: int = BY_CAUSE
    backoff: float = 1.0
    time_limit: float = 0.0


_functions: dict[str, Callable[..., Any]] = {}


@overload
def task(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def task(
    *, name: str = "", priority: int = 0, retries: int = BY_CAUSE, backoff: float = 1.0, time_limit: float = 0.0
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def task(function: Callable[..., Any] | None = None, /, *, name: str = "", **options: Any) -> Any:
    """Register a function as a task, under its own name or ``name``. The function stays callable as it is.

    Options: ``priority`` (higher first), ``retries`` after a failed attempt, ``backoff`` in seconds before the first
    retry, ``time_limit`` in seconds. Raises SettingsError when another function has the name.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        registered = name or function.__name__
        known = _functions.get(registered)
        if known is not None and (known.__module__, known.__qualname__) != (function.__module__, function.__qualname__):
            raise SettingsError(f"two tasks are called {registered!r}: in {known.__module__} and in {function.__module__}")
        _functions[registered] = function
        function.__taskyard__ = Options(registered, **options)  # type: ignore[attr-defined]
        return function

    return register(function) if function is not None else register


def options_of(function: Callable[..., Any] | str) -> Options:
    """Options of a task's function or name. Raises `UnknownTask` for a function that is not a task."""
    if isinstance(function, str):
        known = _functions.get(function)
        return options_of(known) if known is not None else Options(function)
    options = getattr(function, "__taskyard__", None)
    if not isinstance(options, Options):
        raise UnknownTask(f"{getattr(function, '__qualname__', function)!r} is not a task: put @task above it in app/tasks.py")
    return options


def load_tasks(module: str) -> dict[str, Callable[..., Any]]:
    """Import the module that registers the tasks; returns all that are registered. Raises `SettingsError`."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise SettingsError(f"WORKER_APP={module!r}: {error}") from error
    return dict(_functions)
