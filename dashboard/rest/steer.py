"""What steers the whole queue: a pause, and workers that are to leave."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from dashboard.connections import Connections
from dashboard.problems import Problem
from dashboard.rest.asking import ROUTER, Session, refusals, tell
from dashboard.rest.models import Changed, Paused
from taskyard.transport import RemoteQueue


def steer_router(connections: Connections) -> APIRouter:
    """``/pause``, ``/resume``, ``/workers/{session}/drain``."""
    router = APIRouter(tags=["cluster"], **ROUTER)

    @router.post("/pause", response_model=Paused, responses=refusals(507))
    async def pause() -> Response:
        """Let nothing new begin, until somebody resumes; what runs goes on, and new tasks are taken."""
        return await tell(connections, lambda queue: Paused(changed=queue.pause(True), paused=True))

    @router.post("/resume", response_model=Paused, responses=refusals(507))
    async def resume() -> Response:
        """Let tasks begin again."""
        return await tell(connections, lambda queue: Paused(changed=queue.pause(False), paused=False))

    @router.post("/workers/{session:path}/drain", response_model=Changed, responses=refusals(404))
    async def drain(session: Session) -> Response:
        """Let a worker take nothing more, finish what it runs, and end."""

        def ask(queue: RemoteQueue) -> Changed:
            told = queue.drain([session])
            if not told:
                raise Problem(404, f"no worker has the session {session!r}, or it has left; /workers tells those that are alive")
            return Changed(count=told)

        return await tell(connections, ask)

    return router
