"""Tasks as programs submit them that do without the client."""

from __future__ import annotations

import uuid
from typing import Any

import cloudpickle

from taskyard import calls
from taskyard.codec import PICKLE, decode, decode_error, encode
from taskyard.model import Result
from taskyard.transport import RemoteQueue
from tests.contract.master_process import MasterProcess
from tests.harness import task


def submit(queue: RemoteQueue, name: str, payload: bytes, **fields: Any) -> str:
    """Submit one task; returns its id, which is its job's too."""
    task_id = uuid.uuid4().hex
    queue.submit([task(task_id, job=task_id, name=name, payload=payload, **fields)])
    return task_id


def result_of(queue: RemoteQueue, task_id: str, seconds: float = 60.0) -> Result:
    """Wait for its one result."""
    (result,) = queue.results(task_id, 0, 10, seconds)
    return result


def ask(master: MasterProcess, name: str, payload: bytes, **fields: Any) -> Result:
    """One task, its result."""
    with master.queue() as queue:
        return result_of(queue, submit(queue, name, payload, **fields))


def by_value(function: Any, *args: Any) -> bytes:
    """The payload of a call of a function that travels with it."""
    arguments = PICKLE + cloudpickle.dumps((args, {}), protocol=5)
    return calls.pack_function(cloudpickle.dumps(function, protocol=5), arguments)


def many(*calls_args: tuple[Any, ...]) -> bytes:
    """The payload of many calls."""
    return calls.pack_many([encode((args, {})) for args in calls_args])


def read(result: Result) -> Any:
    """Its value, or its exception."""
    return decode(result.value) if result.state == "done" else decode_error(result.value, result.cause)


def read_many(result: Result) -> list[Any]:
    """Values and exceptions of many calls, in their order."""
    assert result.state == "done", result.cause
    _, outcomes = calls.unpack_outcomes(result.value)
    return [decode(value) if returned else decode_error(value, "") for returned, value in outcomes]
