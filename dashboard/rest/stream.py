"""Results as server-sent events, for as long as the job is open; a restart of the master only makes a pause."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial

from starlette.responses import Response, StreamingResponse

from dashboard.connections import Connections
from dashboard.problems import Problem
from dashboard.rest.values import result_out
from taskyard.errors import NoSuchJob, TaskyardError, Unreachable
from taskyard.jobs import Job
from taskyard.transport import RemoteQueue

LONGEST_CURSOR = 2**63 - 1
PAGE = 100
POLL_SECONDS = 5.0
"""One wait for results; between two the stream says that it is there."""
RETRY_MS = 2000
"""After which a browser connects again when the stream breaks off."""


class Streams:
    """Up to ``most`` streams at a time; each has a connection that waits."""

    def __init__(self, connections: Connections, most: int) -> None:
        self.connections = connections
        self._most = most
        self._open = 0

    async def begin(self, asking: Connections, job: str, after: int, resumed: bool) -> Response:
        """The stream behind a cursor; 204 for one that is ``resumed`` where nothing more can come, at which a browser stops
        asking. Raises `NoSuchJob`, and what the queue raises.
        """
        still_open, more = await asking.call(lambda queue: (Job(queue, job).info().open, bool(queue.results(job, after, 1, 0.0))))
        if resumed and not still_open and not more:
            return Response(status_code=204)
        if self._open >= self._most:
            raise Problem(503, f"{self._open} streams are open, as many as may be; try again later, or read pages", 5)
        return StreamingResponse(self._events(job, after), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def _events(self, job: str, after: int) -> AsyncIterator[str]:
        self._open += 1
        try:
            yield f"retry: {RETRY_MS}\n\n"
            while not self.connections.closed:
                try:
                    events, cursor, ended = await self.connections.call(partial(_read, job=job, after=after))
                except Unreachable:
                    yield ": the queue does not answer\n\n"
                    continue
                except TaskyardError as error:
                    yield f"event: problem\ndata: {json.dumps({'detail': str(error)})}\n\n"
                    return
                after = cursor
                yield events or ": the job is open\n\n"
                if ended:
                    return
        finally:
            self._open -= 1


def _read(queue: RemoteQueue, job: str, after: int) -> tuple[str, int, bool]:
    """The next events, the cursor behind them, and whether these were the last."""
    try:
        may_come = Job(queue, job).info().open > 0
    except NoSuchJob:  # forgotten meanwhile
        return "event: end\ndata: {}\n\n", after, True
    found = queue.results(job, after, PAGE, POLL_SECONDS if may_come else 0.0)
    if not found and not may_come:
        return "event: end\ndata: {}\n\n", after, True
    events = [f"id: {one.cursor}\nevent: result\ndata: {json.dumps(result_out(one, job).model_dump())}\n\n" for one in found]
    return "".join(events), found[-1].cursor if found else after, False
