"""Results as server-sent events, for as long as the job is open; a restart of the master only makes a pause."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from functools import partial

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from dashboard.connections import Connections
from dashboard.problems import Problem
from dashboard.rest.values import results_out
from taskyard.errors import NoSuchJob, TaskyardError, Unreachable
from taskyard.jobs import Job
from taskyard.transport import RemoteQueue

EVENTS = "text/event-stream"
LONGEST_CURSOR = 2**63 - 1
PAGE = 100
POLL_SECONDS = 5.0
"""One wait for results; between two the stream says that it is there."""
PAUSE = 1.0
"""Seconds between two tries while the queue does not answer."""
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
        asking. Raises `Problem` when there are too many, `NoSuchJob`, and what the queue raises.
        """
        if self._open >= self._most:
            raise Problem(429, f"{self._open} streams are open, as many as may be; try again later, or read pages", 5)
        self._open += 1  # now, not when it runs: others may ask meanwhile
        stream: Response | None = None
        try:
            still_open, more = await asking.call(partial(_look, job=job, after=after))
            if not resumed or still_open or more:
                stream = _Stream(self._events(job, after), self._leave)
        finally:
            if stream is None:
                self._leave()
        return stream or Response(status_code=204)

    def _leave(self) -> None:
        self._open -= 1

    async def _events(self, job: str, after: int) -> AsyncIterator[str]:
        yield f"retry: {RETRY_MS}\n\n"
        while not self.connections.closed:
            try:
                events, cursor, ended = await self.connections.call(partial(_read, job=job, after=after))
            except Unreachable:
                yield ": the queue does not answer\n\n"
                await asyncio.sleep(PAUSE)  # it may have been told at once: that the connections are all taken, for instance
                continue
            except TaskyardError as error:
                yield f"event: problem\ndata: {json.dumps({'detail': str(error)})}\n\n"
                return
            after = cursor
            yield events or ": the job is open\n\n"
            if ended:
                return


class _Stream(StreamingResponse):
    """Tells when it is over, also where nobody read any of it."""

    def __init__(self, events: AsyncIterator[str], over: Callable[[], None]) -> None:
        super().__init__(events, media_type=EVENTS, headers={"X-Accel-Buffering": "no"})
        self._over = over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._over()


def _look(queue: RemoteQueue, job: str, after: int) -> tuple[int, bool]:
    """How many tasks are open, and whether there is a result behind the cursor."""
    return Job(queue, job).info().open, bool(queue.results(job, after, 1, 0.0))


def _read(queue: RemoteQueue, job: str, after: int) -> tuple[str, int, bool]:
    """The next events, the cursor behind them, and whether these were the last."""
    # With an id, also where there was no result: a browser that comes back then asks behind it, and hears that this was all.
    end = f"id: {after}\nevent: end\ndata: {{}}\n\n"
    try:
        may_come = Job(queue, job).info().open > 0
    except NoSuchJob:  # forgotten meanwhile
        return end, after, True
    found = queue.results(job, after, PAGE, POLL_SECONDS if may_come else 0.0)
    if not found and not may_come:
        return end, after, True
    told = results_out(found, job)
    events = [f"id: {one.cursor}\nevent: result\ndata: {json.dumps(one.model_dump())}\n\n" for one in told]
    return "".join(events), told[-1].cursor if told else after, False
