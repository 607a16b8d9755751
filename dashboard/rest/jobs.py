"""Jobs: their counts and their results, a page at a time or as they come."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from dashboard.connections import Connections
from dashboard.problems import Problem
from dashboard.rest.asking import ROUTER, After, Job, Limit, moment, refusals, tell
from dashboard.rest.models import Changed, JobList, JobOut, ResultList
from dashboard.rest.stream import LONGEST_CURSOR, Streams
from dashboard.rest.values import results_out
from taskyard.jobs import Job as KnownJob
from taskyard.model import JobInfo
from taskyard.transport import RemoteQueue

LONGEST_WAIT = 5.0
"""Seconds that a request may wait for a result."""
Wait = Annotated[float, Query(ge=0, le=LONGEST_WAIT, allow_inf_nan=False, description="Seconds to wait for a result.")]
LastEventId = Annotated[str | None, Header(max_length=100, description="`id` of the last event that was read.")]


def jobs_router(connections: Connections, streams: Streams) -> APIRouter:
    """``/jobs`` but for submitting."""
    router = APIRouter(tags=["jobs"], **ROUTER)

    @router.get("/jobs", response_model=JobList, responses=refusals())
    async def jobs(limit: Limit = 100, after: After = 0) -> Response:
        """Counts of all jobs, the newest first."""

        def ask(queue: RemoteQueue) -> JobList:
            found = list(map(_told, queue.jobs(None, limit, after)))
            return JobList(jobs=found, next=after + len(found) if len(found) == limit else None)

        return await tell(connections, ask)

    @router.get("/jobs/{job:path}/results", response_model=ResultList, responses=refusals(404))
    async def results(job: Job, after: After = 0, limit: Limit = 100, wait: Wait = 0.0) -> Response:
        """Results of a job behind a cursor; none is told twice, none is left out."""

        def ask(queue: RemoteQueue) -> ResultList:
            still_open = known(queue, job).open  # before the results: 0 of them then leaves none that is not read
            told = results_out(queue.results(job, after, limit, wait if still_open else 0.0), job)
            return ResultList(results=told, cursor=told[-1].cursor if told else after, open=still_open)

        return await tell(streams.connections if wait else connections, ask)

    @router.get(
        "/jobs/{job:path}/events",
        response_class=Response,
        responses={
            **refusals(404),
            200: {"description": "Events `result` with a result each, and `end`.", "content": {"text/event-stream": {}}},
            204: {"description": "All results have been read, and no more can come."},
        },
    )
    async def events(job: Job, after: After = 0, last_event_id: LastEventId = None) -> Response:
        """Results of a job as they come, as server-sent events; `Last-Event-ID` goes on where a stream broke off."""
        if last_event_id:
            if not (last_event_id.isascii() and last_event_id.isdecimal() and int(last_event_id) <= LONGEST_CURSOR):
                raise Problem(422, "Last-Event-ID is the id of an event of this stream: a number")
            after = int(last_event_id)
        return await streams.begin(connections, job, after, resumed=bool(last_event_id))

    @router.post("/jobs/{job:path}/cancel", response_model=Changed, responses=refusals(404, 507))
    async def cancel(job: Job) -> Response:
        """Cancel all tasks of a job that are open."""

        def ask(queue: RemoteQueue) -> Changed:
            known(queue, job)
            return Changed(count=KnownJob(queue, job).cancel())

        return await tell(connections, ask)

    @router.post("/jobs/{job:path}/forget", response_model=Changed, responses=refusals(404, 507))
    async def forget(job: Job) -> Response:
        """Delete the tasks of a job that have ended, with their results."""

        def ask(queue: RemoteQueue) -> Changed:
            known(queue, job)
            return Changed(count=queue.forget(job))

        return await tell(connections, ask)

    @router.get("/jobs/{job:path}", response_model=JobOut, responses=refusals(404))
    async def one(job: Job) -> Response:
        """Counts of a job."""
        return await tell(connections, lambda queue: _told(known(queue, job)))

    return router


def known(queue: RemoteQueue, job: str) -> JobInfo:
    """Counts of a job. Raises `taskyard.errors.NoSuchJob`."""
    return KnownJob(queue, job).info()


def _told(info: JobInfo) -> JobOut:
    return JobOut(**{**info._asdict(), "created": moment(info.created)}, open=info.open)
