"""What there is: workers, counts, periodic tasks; and how all of it is held up: pause, drain."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from dashboard.connections import Connections
from dashboard.problems import Problem
from dashboard.rest.asking import PREFIX, ROUTER, Session, moment, refusals, tell
from dashboard.rest.models import Changed, ScheduleOut, Stats, Steered, WorkerOut
from taskyard.calls import FUNCTIONS
from taskyard.model import ScheduleInfo, WorkerInfo
from taskyard.transport import RemoteQueue


def look_router(connections: Connections) -> APIRouter:
    """``/workers``, ``/stats``, ``/schedules``, ``/queue``."""
    router = APIRouter(tags=["cluster"], **ROUTER)

    @router.get("/workers", response_model=list[WorkerOut], responses=refusals())
    async def workers() -> Response:
        """Workers that are alive, then the last 50 that left or were lost, the latest first: see `state`."""
        return await tell(connections, lambda queue: list(map(_worker, queue.workers())))

    @router.post("/workers/{session:path}/drain", response_model=Changed, responses=refusals(404))
    async def drain(session: Session) -> Response:
        """Let a worker take nothing more, finish what it runs, and end."""

        def ask(queue: RemoteQueue) -> Changed:
            count = queue.drain([session])
            if not count:
                raise Problem(404, f"no worker {session!r} is alive; {PREFIX}/workers tells which are")
            return Changed(count=count)

        return await tell(connections, ask)

    @router.get("/stats", response_model=Stats, responses=refusals())
    async def stats() -> Response:
        """Counts of the queue."""
        return await tell(connections, lambda queue: Stats(**queue.stats()))

    @router.get("/schedules", response_model=list[ScheduleOut], responses=refusals())
    async def schedules() -> Response:
        """Periodic tasks that some worker announces."""
        return await tell(connections, lambda queue: list(map(_schedule, queue.schedules())))

    @router.post("/queue/pause", response_model=Steered, responses=refusals(507))
    async def pause() -> Response:
        """Lend nothing more until somebody resumes; what runs goes on."""
        return await tell(connections, lambda queue: Steered(paused=True, changed=queue.pause(True)))

    @router.post("/queue/resume", response_model=Steered, responses=refusals(507))
    async def resume() -> Response:
        """Lend again."""
        return await tell(connections, lambda queue: Steered(paused=False, changed=queue.pause(False)))

    return router


def _worker(worker: WorkerInfo) -> WorkerOut:
    names = [name for name in worker.tasks if not name.startswith(FUNCTIONS)]
    state = "lost" if worker.lost else "left" if worker.left else "draining" if worker.draining else "alive"
    facts: dict[str, Any] = {**worker._asdict(), "left": moment(worker.left), "started": moment(worker.started)}
    facts |= {"state": state, "tasks": names, "functions": len(names) < len(worker.tasks)}
    return WorkerOut(**facts)


def _schedule(schedule: ScheduleInfo) -> ScheduleOut:
    return ScheduleOut(**{**schedule._asdict(), "last": moment(schedule.last), "next": moment(schedule.next)})
