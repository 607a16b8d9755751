"""The functions that workers offer: ``@task`` registers one under its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

from taskyard.errors import SettingsError
from taskyard.options import Options

P = ParamSpec("P")
R = TypeVar("R")

_functions: dict[str, Callable[..., Any]] = {}


@overload
def task(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def task(**options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Register a function as a task, under its own name or ``name``. The function stays callable as it is.

    ``options``: see `taskyard.options.Options`. Raises TypeError for one that there is not, `SettingsError` for one that
    makes no sense, or when another function has the name.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        registered = options.get("name") or function.__name__
        known = _functions.get(registered)
        if known is not None and (known.__module__, known.__qualname__) != (function.__module__, function.__qualname__):
            raise SettingsError(f"two tasks are called {registered!r}: in {known.__module__} and in {function.__module__}")
        try:
            function.__taskyard__ = Options(**{**options, "name": registered})  # type: ignore[attr-defined]
        except SettingsError as error:
            raise SettingsError(f"task {registered!r}: {error}") from None
        _functions[registered] = function
        return function

    return register(function) if function is not None else register


def options_of(function: Callable[..., Any] | str) -> Options | None:
    """Options of a task, by its function or its name; None for a function that is not a task."""
    if isinstance(function, str):
        known = _functions.get(function)
        return Options(name=function) if known is None else options_of(known)
    options = getattr(function, "__taskyard__", None)
    # What wraps a task's function has its attributes, and is another function.
    return options if isinstance(options, Options) and _functions.get(options.name) is function else None


def load_tasks(module: str) -> dict[str, Callable[..., Any]]:
    """Import the module that registers the tasks; returns all that are registered. Raises `SettingsError`."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise SettingsError(f"WORKER_APP={module!r}: {error}") from error
    return dict(_functions)
