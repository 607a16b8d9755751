"""Whether the dashboard serves (``/healthz``), and whether the queue answers it (``/readyz``)."""

from __future__ import annotations

from fastapi import APIRouter, Response

from dashboard.connections import PROBE_SECONDS, Connections
from taskyard.errors import TaskyardError


def health_router(connections: Connections) -> APIRouter:
    """Both routes; open to everybody."""
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "well"}

    @router.get("/readyz")
    async def readyz(response: Response) -> dict[str, str]:
        try:
            await connections.call(lambda queue: queue.stats(), PROBE_SECONDS)
        except TaskyardError:
            response.status_code = 503
            return {"status": "the queue does not answer"}
        return {"status": "ready"}

    return router
