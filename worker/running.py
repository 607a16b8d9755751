"""Running one task: from its payload to what became of it. Nothing that a task does gets out of here but by its death."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any, NamedTuple

from taskyard import calls
from taskyard.calls import Call, OneOutcome
from taskyard.codec import JSON, LINE_LENGTH, Dumps, decode, dumps, dumps_by_value, encode, encode_error, encode_json, one_line
from taskyard.errors import TaskFailed, TaskyardError
from taskyard.registry import options_of
from worker import packed
from worker.offer import Functions

CACHED_FUNCTIONS = 64
"""Functions by value that are kept, of those that are not big; of big ones, which carry data, only the newest is."""
BIG_BYTES = 1024 * 1024


class Failed(NamedTuple):
    """An attempt that failed."""

    value: bytes = b""
    """What it raised, encoded; empty: nothing."""
    cause: str = ""
    final: bool = False
    """No attempt may follow."""


Ended = bytes | Failed
"""What became of a task: its encoded value, or how it failed."""
CarefulRun = Callable[[Call], Ended]


def run(name: str, payload: bytes, functions: Functions, accepts_functions: bool, careful: CarefulRun | None) -> Ended:
    """Make the call, or the calls, that a payload asks for; ``careful``: many of them are made by this."""
    retry_on: Sequence[str] | None = None
    try:
        call = calls.unpack(payload)
        retry_on = call.retry_on
        if call.function and not accepts_functions:
            raise TaskyardError("this worker takes tasks by name only (WORKER_ACCEPTS=names)")
        if len(call.payloads) > 1 and careful is not None:
            return careful(call)
        function = function_of(name, call.function, functions)
    except BaseException as error:
        return failed(error, retry_on)
    dumps = dumps_for(call)
    if not call.many:
        return run_one(function, call.payloads[0], retry_on, dumps)
    started = perf_counter()
    if len(call.payloads) == 1:  # it is retried as a task, though the caller takes its value as one of many
        ended = run_one(function, call.payloads[0], retry_on, dumps)
        if isinstance(ended, Failed):
            return ended
        outcomes = [(True, ended)]
    elif call.payloads and isinstance(call.payloads[0], tuple):
        return packed.run(function, call, run_many)
    else:
        outcomes = list(run_many(function, call))
    return calls.pack_outcomes(perf_counter() - started, outcomes)


def dumps_for(call: Call) -> Dumps:
    """What a call returns or raises may hold code only if code came with it: then its caller runs the same Python."""
    return dumps_by_value if call.function else dumps


def run_one(
    function: Callable[..., Any], payload: bytes | tuple[Any, ...], retry_on: Sequence[str] | None = None, dumps: Dumps = dumps
) -> Ended:
    """One call, whatever it raises; ``retry_on``: see `failed`, None: as the function's options say."""
    try:
        try:
            args, kwargs = (payload, {}) if isinstance(payload, tuple) else decode(payload)
        except (ModuleNotFoundError, AttributeError) as error:
            raise _unreadable("its arguments", error) from error
        value = function(*args, **kwargs)
        return encode_json(value) if payload[:1] == JSON else encode(value, dumps)
    except SystemExit as error:
        cause = f"exit: the task called sys.exit({repr(error.code)[:LINE_LENGTH]})"
        return Failed(encode_error(error, TaskFailed(cause)), cause)
    except BaseException as error:
        options = options_of(function) if retry_on is None else None
        return failed(error, retry_on if options is None else options.retry_names(), dumps)


def run_many(function: Callable[..., Any], call: Call) -> Iterator[OneOutcome]:
    """Calls one after the other; what one of them raises is its own affair."""
    dumps = dumps_for(call)
    for payload in call.payloads:
        ended = run_one(function, payload, None, dumps)
        yield (False, ended.value) if isinstance(ended, Failed) else (True, ended)


def failed(error: BaseException, retry_on: Sequence[str] | None = None, dumps: Dumps = dumps) -> Failed:
    """What becomes of a task that raised this; ``retry_on``: names of the exceptions that are worth another attempt."""
    final = retry_on is not None and not calls.is_one_of(error, retry_on)
    return Failed(encode_error(error, dumps=dumps), f"exception: {one_line(error)}", final)


def function_of(name: str, pickled: bytes, functions: Functions) -> Callable[..., Any]:
    """The function to call: one by value, else that of a name. Raises what unpickling it raises, `TaskyardError`."""
    if pickled:
        return _newest_big(pickled) if len(pickled) > BIG_BYTES else _cached(pickled)
    if name not in functions:
        raise TaskyardError(f"no function is registered here as {name!r}, and none came with the call")
    return functions[name]


def _unpickle(pickled: bytes) -> Callable[..., Any]:
    try:
        function: Callable[..., Any] = pickle.loads(pickled)
    except (ModuleNotFoundError, AttributeError) as error:
        raise _unreadable("the function", error) from error
    return function


_cached = functools.lru_cache(CACHED_FUNCTIONS)(_unpickle)
_newest_big = functools.lru_cache(1)(_unpickle)


def _unreadable(what: str, error: ModuleNotFoundError | AttributeError) -> Exception:
    if isinstance(error, AttributeError):
        return AttributeError(f"{what} can't be read: {error}. Has the worker's image another version of that code?")
    return ModuleNotFoundError(
        f"{what} can't be read: the module {error.name!r} is not in the worker's image. Put it beside app/ or into"
        " requirements/worker.in and build again, or let it travel with the call: cloudpickle.register_pickle_by_value",
        name=error.name,
    )
