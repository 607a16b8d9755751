"""Whether the dashboard serves (``/healthz``), and whether the queue answers it (``/readyz``)."""

from __future__ import annotations

import http.client

from fastapi import APIRouter, Response

from dashboard.connections import Connections
from taskyard.errors import TaskyardError

SECONDS = 5.0
"""How long a health check waits for its answer."""


def health_router(connections: Connections) -> APIRouter:
    """Both routes; open to everybody."""
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "well"}

    @router.get("/readyz")
    async def readyz(response: Response) -> dict[str, str]:
        try:
            await connections.call(lambda queue: queue.stats())
        except TaskyardError:
            response.status_code = 503
            return {"status": "the queue does not answer"}
        return {"status": "ready"}

    return router


def check(port: int) -> int:
    """Ask the dashboard on this host; prints what it says and returns the exit code of ``health``: 0 well, 1 not."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        asked.request("GET", "/healthz", headers={"Host": "localhost"})
        well = asked.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        well = False
    print("well" if well else "not well: nothing answers as it should")
    return 0 if well else 1
