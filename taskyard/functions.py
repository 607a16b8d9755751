"""Calls of functions that workers do not know by name: the function travels with them, by value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from taskyard.calls import BY_VALUE, FUNCTIONS, PYTHON
from taskyard.codec import PICKLE, PLAIN, encode
from taskyard.model import WorkerInfo


def pickle_function(function: Callable[..., Any]) -> bytes:
    """A function, or anything that can be called: lambdas, closures and what stands in ``__main__`` by value, what can be
    imported by its name. Raises what cloudpickle raises."""
    import cloudpickle  # here, since most clients call by name

    pickled: bytes = cloudpickle.dumps(function, protocol=5)
    return pickled


def pickle_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """As `taskyard.codec.encode`, with functions among the arguments by value too."""
    if not kwargs and PLAIN.issuperset(map(type, args)):
        return encode((args, kwargs))
    import cloudpickle

    pickled: bytes = cloudpickle.dumps((args, kwargs), protocol=5)
    return PICKLE + pickled


def why_refused(workers: Sequence[WorkerInfo]) -> str:
    """Why no worker would run this program's functions; empty: some would, or there is none to ask."""
    if not workers or any(BY_VALUE in worker.tasks for worker in workers):
        return ""
    if any(name.startswith(FUNCTIONS) for worker in workers for name in worker.tasks):
        theirs = ", ".join(sorted({worker.python for worker in workers}))
        return (
            f"the workers run Python {theirs}, this program Python {PYTHON}, and functions do not travel between them:"
            " put the function into app/tasks.py with @task above it, or run this program on the workers' version"
        )
    return (
        "the workers take tasks by name only (WORKER_ACCEPTS=names): put the function into app/tasks.py with @task above it,"
        " or let them take functions too (WORKER_ACCEPTS=names,functions)"
    )
