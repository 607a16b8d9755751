"""Running one task: what becomes of it, whatever its payload asks for and whatever it raises."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

from taskyard import calls, registry
from taskyard.calls import Call
from taskyard.codec import decode, decode_error, encode, encode_json
from worker import running
from worker.running import Ended, Failed


def fail(kind: type[BaseException]) -> None:
    raise kind("no luck")


def add(a: int, b: int = 0) -> int:
    return a + b


def arguments(*args: Any) -> bytes:
    return encode((args, {}))


def run(
    payload: bytes,
    function: Callable[..., Any] = add,
    accepts_functions: bool = True,
    careful: running.CarefulRun | None = None,
    name: str = "work",
) -> Ended:
    return running.run(name, payload, {"work": function}, accepts_functions, careful)


def done(payload: bytes, careful: running.CarefulRun | None = None) -> bytes:
    ended = run(payload, careful=careful)
    assert isinstance(ended, bytes)
    return ended


def failed(payload: bytes, function: Callable[..., Any] = add, accepts_functions: bool = True, name: str = "work") -> Failed:
    ended = run(payload, function, accepts_functions, name=name)
    assert isinstance(ended, Failed)
    return ended


def test_a_call_is_answered_in_the_form_of_its_arguments() -> None:
    assert run(arguments(1, 2)) == encode(3)
    assert run(encode_json(([1], {"b": 2}))) == b"j3"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit, MemoryError, BaseException])
def test_whatever_a_task_raises_is_a_failed_attempt_of_it(kind: type[BaseException]) -> None:
    ended = failed(arguments(kind), fail)
    assert (ended.cause.split(":")[0], ended.final) == ("exception", False)


def test_a_task_of_an_unknown_name_without_a_function_fails() -> None:
    assert "no function is registered here as 'other'" in failed(arguments(1), name="other").cause


@pytest.mark.parametrize(
    ("said", "kind", "final"),
    [
        (None, ValueError, False),
        (("OSError",), OSError, False),
        (("OSError",), FileNotFoundError, False),
        (("OSError",), ValueError, True),
        ((), ValueError, True),
        (("BaseException",), KeyboardInterrupt, False),
        ((), SystemExit, False),  # as a death
    ],
)
def test_an_exception_is_the_end_unless_it_is_among_those_worth_a_retry(
    said: tuple[str, ...] | None, kind: type[BaseException], final: bool
) -> None:
    payload = arguments(kind)
    assert failed(payload if said is None else calls.pack_retry_on(said, payload), fail).final is final


def test_what_the_call_says_of_retries_goes_before_what_its_task_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_functions", {})

    @registry.task(retry_on=OSError)
    def task(kind: type[BaseException]) -> None:
        raise kind

    assert [failed(arguments(kind), task).final for kind in (OSError, KeyError)] == [False, True]
    say = calls.pack_retry_on(("KeyError",), arguments(KeyError))
    assert failed(say, task).final is False


def test_arguments_or_a_function_that_cannot_be_read_are_no_reason_to_try_again_where_that_is_said() -> None:
    broken = calls.pack_function(b"no pickle", arguments(1))
    for payload in (b"p no pickle", broken):
        assert failed(payload).final is False
        assert failed(calls.pack_retry_on(("OSError",), payload)).final is True


def test_of_many_calls_each_has_its_own_outcome_and_the_task_is_done() -> None:
    seconds, outcomes = calls.unpack_outcomes(done(calls.pack_many([arguments(1), arguments(), arguments(2, 3)])))
    assert seconds > 0
    assert [returned for returned, _ in outcomes] == [True, False, True]
    assert [decode(value) for returned, value in outcomes if returned] == [1, 5]
    assert isinstance(decode_error(outcomes[1][1], ""), TypeError)


def test_only_many_calls_are_made_carefully_and_then_nothing_of_them_is_unpickled_here() -> None:
    seen: list[Call] = []

    def careful(call: Call) -> Ended:
        seen.append(call)
        return b"carefully"

    payloads = [b"p no pickle", b"p no pickle"]
    assert done(calls.pack_function(b"no pickle", calls.pack_many(payloads)), careful) == b"carefully"
    assert seen == [Call(None, b"no pickle", payloads, True)]
    assert done(arguments(1), careful) == encode(1)
    assert calls.unpack_outcomes(done(calls.pack_many([arguments(1)]), careful))[1] == [(True, encode(1))]
    assert len(seen) == 1


def test_functions_are_refused_where_they_are_not_accepted() -> None:
    for payload in (arguments(1), calls.pack_many([arguments(1)])):
        ended = failed(calls.pack_function(cloudpickle.dumps(add), payload), accepts_functions=False)
        assert "WORKER_ACCEPTS=names" in ended.cause


def test_of_functions_that_carry_much_only_the_newest_is_kept() -> None:
    """Else 64 of them would hold more than a worker may have."""
    running._newest_big.cache_clear()
    for n in range(3):
        data = bytes([n]) * (running.BIG_BYTES + 1)
        pickled = cloudpickle.dumps(lambda data=data: len(data))
        for _ in range(2):
            assert done(calls.pack_function(pickled, arguments())) == encode(running.BIG_BYTES + 1)
    assert running._newest_big.cache_info()[:] == (3, 3, 1, 1)


def test_a_function_that_cannot_be_read_is_tried_again_the_next_time() -> None:
    payload = calls.pack_function(pickle.dumps(add).replace(b"add", b"xdd"), arguments(1))
    for _ in range(2):
        assert "another version of that code" in failed(payload).cause
