"""Puts the dashboard together: what is served, and who may see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from dashboard.connections import Connections
from dashboard.health import health_router
from taskyard.settings import Settings
from taskyard.transport import RemoteQueue

CALLS = 8
"""Calls to the queue at a time."""


def create_app(settings: Settings, queue: RemoteQueue) -> FastAPI:
    """The dashboard of the queue that ``queue`` speaks to; it makes connections of its own (`RemoteQueue.another`)."""
    connections = Connections(queue, CALLS)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        connections.close()

    app = FastAPI(title="Taskyard", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.include_router(health_router(connections))
    return app
