"""What there is: workers, counts, periodic tasks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from dashboard.connections import Connections
from dashboard.rest.asking import ROUTER, moment, refusals, tell
from dashboard.rest.models import ScheduleOut, Stats, WorkerOut
from taskyard.calls import FUNCTIONS
from taskyard.model import ScheduleInfo, WorkerInfo

Left = Annotated[bool, Query(description="Also the last 50 that left or were lost, which have `left`.")]


def look_router(connections: Connections) -> APIRouter:
    """``/workers``, ``/stats``, ``/schedules``."""
    router = APIRouter(tags=["cluster"], **ROUTER)

    @router.get("/workers", response_model=list[WorkerOut], responses=refusals())
    async def workers(left: Left = False) -> Response:
        """Workers that are alive."""
        return await tell(connections, lambda queue: [_worker(worker) for worker in queue.workers() if left or not worker.left])

    @router.get("/stats", response_model=Stats, responses=refusals())
    async def stats() -> Response:
        """Counts of the queue."""
        return await tell(connections, lambda queue: Stats(**queue.stats()))

    @router.get("/schedules", response_model=list[ScheduleOut], responses=refusals())
    async def schedules() -> Response:
        """Periodic tasks that some worker announces."""
        return await tell(connections, lambda queue: list(map(_schedule, queue.schedules())))

    return router


def _worker(worker: WorkerInfo) -> WorkerOut:
    names = [name for name in worker.tasks if not name.startswith(FUNCTIONS)]
    facts = {**worker._asdict(), "started": moment(worker.started), "left": moment(worker.left)}
    return WorkerOut(**{**facts, "tasks": names, "functions": len(names) < len(worker.tasks)})


def _schedule(schedule: ScheduleInfo) -> ScheduleOut:
    return ScheduleOut(**{**schedule._asdict(), "last": moment(schedule.last), "next": moment(schedule.next)})
