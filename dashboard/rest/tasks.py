"""Tasks: to list and to look at, to cancel and to retry."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from dashboard.connections import Connections
from dashboard.problems import Problem
from dashboard.rest.asking import ROUTER, SENDING, After, Limit, TaskId, moment, refusals, tell
from dashboard.rest.models import LONGEST_NAME, Alike, AttemptOut, Changed, Ids, RunningOut, TaskList, TaskOut, TaskShort
from dashboard.rest.values import arguments_of, result_out
from taskyard.model import Attempt, Details, Found, Result, State
from taskyard.transport import RemoteQueue

OfJob = Annotated[str | None, Query(min_length=1, max_length=LONGEST_NAME, description="Only tasks of this job.")]
OfName = Annotated[str | None, Query(min_length=1, max_length=LONGEST_NAME, description="Only tasks of this name.")]
WithText = Annotated[str | None, Query(min_length=1, max_length=LONGEST_NAME, description="Only those with this in their ids.")]


def tasks_router(connections: Connections) -> APIRouter:
    """``/tasks`` but for submitting, and ``/running``."""
    router = APIRouter(tags=["tasks"], **ROUTER)

    @router.get("/tasks", response_model=TaskList, responses=refusals())
    async def find(
        state: State | None = None,
        job: OfJob = None,
        name: OfName = None,
        text: WithText = None,
        limit: Limit = 100,
        after: After = 0,
    ) -> Response:
        """Tasks in a state, of a job, of a name; the oldest first."""
        return await tell(connections, lambda queue: _list(queue.find(state, job, limit, after, name, text), after))

    @router.get("/running", response_model=list[RunningOut], responses=refusals())
    async def running(job: OfJob = None, limit: Limit = 100) -> Response:
        """Leased tasks with their progress, the longest lease first."""
        return await tell(
            connections,
            lambda queue: [RunningOut(**{**one._asdict(), "total": one.total or None}) for one in queue.running(job, limit)],
        )

    @router.post("/tasks/cancel", response_model=Changed, responses=refusals(*SENDING))
    async def cancel(ids: Ids) -> Response:
        """Cancel open tasks."""
        return await tell(connections, lambda queue: Changed(count=queue.cancel(ids.ids)))

    @router.post("/tasks/retry", response_model=Changed, responses=refusals(*SENDING))
    async def retry(ids: Ids) -> Response:
        """Move failed tasks back to ready, their attempts forgotten."""
        return await tell(connections, lambda queue: Changed(count=queue.retry(ids.ids)))

    @router.post("/tasks/retry-failed", response_model=Changed, responses=refusals(*SENDING))
    async def retry_failed(alike: Alike) -> Response:
        """Move all failed tasks that are alike back to ready, their attempts forgotten; of an empty body, all there are."""
        return await tell(connections, lambda queue: Changed(count=queue.retry_all(alike.name, alike.job, alike.cause)))

    @router.post("/tasks/{task:path}/cancel", response_model=Changed, responses=refusals(404, 507))
    async def cancel_one(task: TaskId) -> Response:
        """Cancel a task, if it is open."""
        return await tell(connections, lambda queue: Changed(count=queue.cancel([_known(queue, task).id])))

    @router.post("/tasks/{task:path}/retry", response_model=Changed, responses=refusals(404, 507))
    async def retry_one(task: TaskId) -> Response:
        """Move a task back to ready, if it has failed; its attempts are forgotten."""
        return await tell(connections, lambda queue: Changed(count=queue.retry([_known(queue, task).id])))

    @router.get("/tasks/{task:path}/attempts", response_model=list[AttemptOut], responses=refusals(404))
    async def attempts(task: TaskId) -> Response:
        """Who ran a task, when, and what became of it: the last 20 attempts that failed, and the one that is the last."""
        return await tell(connections, lambda queue: list(map(_attempt, queue.attempts([_known(queue, task).id]))))

    @router.get("/tasks/{task:path}", response_model=TaskOut, responses=refusals(404))
    async def show(task: TaskId) -> Response:
        """All that is known of a task."""
        return await tell(connections, lambda queue: _told(_known(queue, task, payloads=True)))

    return router


def _known(queue: RemoteQueue, task: str, payloads: bool = False) -> Details:
    found = queue.show([task], payloads)
    if not found:
        raise Problem(404, f"the queue knows no task {task!r}: it was forgotten, has outlived its result, or never was")
    return found[0]


def _list(found: list[Found], after: int) -> TaskList:
    # A page may be shorter than its limit, since it is bounded by bytes too; only an empty one is surely the last.
    tasks = [TaskShort(**{**one._asdict(), "cause": one.cause or None, "submitted": moment(one.submitted)}) for one in found]
    return TaskList(tasks=tasks, next=after + len(tasks) if tasks else None)


def _attempt(attempt: Attempt) -> AttemptOut:
    facts: dict[str, Any] = {name: value or None for name, value in attempt._asdict().items() if name != "id"}
    return AttemptOut(**facts)


def _told(task: Details) -> TaskOut:
    arguments, opaque = arguments_of(task.payload)
    moments = ("submitted", "due", "begin_by", "ended", "forgotten")
    facts: dict[str, Any] = {**task._asdict(), **{name: moment(getattr(task, name)) for name in moments}, "value": None}
    facts |= {"cause": task.cause or None, "session": task.session or None}
    told = TaskOut(**facts, arguments=arguments, arguments_opaque=opaque)
    if task.state in ("done", "failed", "cancelled"):
        result = result_out(Result(0, task.id, task.state, task.value, task.cause, task.attempts), task.job)
        told.value, told.calls, told.opaque, told.traceback = result.value, result.calls, result.opaque, result.traceback
    return told
