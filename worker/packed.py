"""Many calls with plain arguments: made one after the other, and answered together where what they return is plain too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from taskyard import calls
from taskyard.calls import Call, OneOutcome
from taskyard.codec import PLAIN

RunMany = Callable[[Callable[..., Any], Call], Iterator[OneOutcome]]
"""Makes calls, each with its own outcome."""


def run(function: Callable[..., Any], call: Call, run_many: RunMany) -> bytes:
    """Make calls; returns their value. ``run_many``: makes those that are left, once one has not returned something plain."""
    started = perf_counter()
    values: list[Any] = []
    try:
        for args in call.payloads:
            value = function(*args)
            if type(value) not in PLAIN:
                break
            values.append(value)
    except BaseException as error:
        end = _again(error=error)
    else:
        if len(values) == len(call.payloads):
            return calls.pack_values(perf_counter() - started, values)
        end = _again(value)
    last, left = call._replace(payloads=[()]), call._replace(payloads=call.payloads[len(values) + 1 :])
    outcomes = [*calls.as_outcomes(values), *run_many(end, last), *run_many(function, left)]
    return calls.pack_outcomes(perf_counter() - started, outcomes)


def _again(value: Any = None, error: BaseException | None = None) -> Callable[[], Any]:
    """What a call returned or raised, as a call that does."""

    def call() -> Any:
        if error is not None:
            raise error
        return value

    return call
