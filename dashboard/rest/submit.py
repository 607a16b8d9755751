"""Submitting: calls of tasks that some worker offers, by name and with JSON for arguments; never functions."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response

from dashboard.connections import Connections
from dashboard.problems import Problem
from dashboard.rest.asking import ROUTER, SENDING, refusals, tell
from dashboard.rest.models import SubmitMany, SubmitOne, Submitted, TaskIn
from dashboard.rest.repeats import OtherRequest, Repeats
from taskyard.calls import FUNCTIONS
from taskyard.codec import encode_json
from taskyard.model import Task
from taskyard.transport import RemoteQueue

MOST_BYTES = 3 * 1024 * 1024
"""Arguments of one request, encoded: what fits in one message is taken whole or not at all."""
NAMED = 20
"""Names that a refusal lists."""
Key = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        description="Makes a request safe to repeat: the same one with the same key submits nothing twice, and is answered with"
        " the same ids.",
    ),
]


def submit_router(connections: Connections, repeats: Repeats) -> APIRouter:
    """``POST /tasks`` and ``POST /jobs``."""
    router = APIRouter(**ROUTER)
    answers = refusals(*SENDING, 409)

    @router.post("/tasks", status_code=201, response_model=Submitted, responses=answers, tags=["tasks"])
    async def submit(body: SubmitOne, idempotency_key: Key = None) -> Response:
        """Submit one task. On return it is durable."""
        return await tell(connections, lambda queue: _submit(queue, repeats, [body], body.job, idempotency_key), 201)

    @router.post("/jobs", status_code=201, response_model=Submitted, responses=answers, tags=["jobs"])
    async def submit_many(body: SubmitMany, idempotency_key: Key = None) -> Response:
        """Submit the tasks of a job, all or none. On return they are durable."""
        return await tell(connections, lambda queue: _submit(queue, repeats, body.tasks, body.job, idempotency_key), 201)

    return router


def _submit(queue: RemoteQueue, repeats: Repeats, calls: Sequence[TaskIn], job: str | None, key: str | None) -> Submitted:
    payloads = [_payload(index, call) for index, call in enumerate(calls)]
    if sum(map(len, payloads)) > MOST_BYTES:
        raise Problem(413, f"the arguments are over {MOST_BYTES:,} bytes; send fewer tasks at a time")
    if key is None:
        _check_names(queue, calls)
        return _take(queue, f"rest-{uuid.uuid4().hex}", calls, payloads, job)
    options = (call.model_dump_json(exclude={"args", "kwargs"}) for call in calls)
    digest, body = _digest(key), _digest(*options, *payloads, job or "")
    try:
        with repeats.using(digest, body) as repeated:
            if not repeated:  # what was taken once is answered as it was, also when nobody offers it any more
                _check_names(queue, calls)
            return _take(queue, f"rest-{_digest(digest, body)[:32]}", calls, payloads, job)
    except OtherRequest:
        raise Problem(409, "this Idempotency-Key was used for another request; use one key for one request") from None


def _take(queue: RemoteQueue, prefix: str, calls: Sequence[TaskIn], payloads: Sequence[bytes], job: str | None) -> Submitted:
    job = job or prefix
    ids = [_id_of(call, f"{prefix}-{index}") for index, call in enumerate(calls)]
    new = queue.submit([_task(*one, job) for one in zip(ids, calls, payloads, strict=True)])
    return Submitted(job=job, ids=ids, new=new)


def _check_names(queue: RemoteQueue, calls: Sequence[TaskIn]) -> None:
    offered = {name for worker in queue.workers() if not worker.left for name in worker.tasks if not name.startswith(FUNCTIONS)}
    if not offered:
        raise Problem(503, "no worker is there that offers a task; start one", 5)
    for index, call in enumerate(calls):
        if call.name not in offered:
            names = sorted(offered)[:NAMED]
            raise Problem(422, f"task {index}: no worker offers {call.name[:200]!r}; there are {', '.join(names)}")


def _payload(index: int, call: TaskIn) -> bytes:
    try:
        json.dumps((call.args, call.kwargs), allow_nan=False)
        return encode_json((call.args, call.kwargs))
    except (ValueError, RecursionError):
        raise Problem(422, f"task {index}: its arguments are no JSON: NaN, Infinity, or nested too deeply") from None


def _id_of(call: TaskIn, otherwise: str) -> str:
    # As the Python client makes them, so that both mean the same call by a key.
    return otherwise if call.key is None else "key-" + _digest(call.name, call.key)[:48]


def _task(task_id: str, call: TaskIn, payload: bytes, job: str) -> Task:
    return Task(
        task_id, job, call.name, payload, call.priority, call.delay, call.retries, call.backoff, call.time_limit, call.result_ttl,
        call.expiry,
    )  # fmt: skip


def _digest(*texts: str | bytes) -> str:
    parts = (text if isinstance(text, bytes) else text.encode(errors="surrogatepass") for text in texts)
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
