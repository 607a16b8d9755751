"""Puts the dashboard together: what is served, and who may see it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

import taskyard
from dashboard import problems
from dashboard.access.failures import Failures
from dashboard.access.guard import Guard, shown_by
from dashboard.access.sessions import Sessions
from dashboard.access.sign_in import sign_in_router
from dashboard.access.tokens import Role, Tokens
from dashboard.bounds import BodyLimit, HeadersOnly
from dashboard.connections import Connections
from dashboard.health import health_router
from dashboard.log import AccessLog
from dashboard.metrics import Metrics, metrics_router
from dashboard.page.mount import add_page
from dashboard.rest.api import add_api
from dashboard.rest.repeats import Repeats
from dashboard.rest.stream import Streams
from dashboard.source import Source
from taskyard.settings import Settings
from taskyard.transport import RemoteQueue

CALLS = 8
"""Calls to the queue at a time."""
PROBES = 1
"""Of `/readyz`, at a time: it is open to everybody, and has to be answered while all else is busy."""
STREAMS = 32
"""Streams of results at a time; each waits on a connection of its own."""
BODY_BYTES = 4 * 1024 * 1024
"""Of a request."""
DESCRIPTION = "A task queue and its workers. Refusals are `application/problem+json`."


def create_app(settings: Settings, queue: RemoteQueue) -> FastAPI:
    """The dashboard of the queue that ``queue`` speaks to; it makes connections of its own (`RemoteQueue.another`).

    ``app.state.tokens`` has the tokens; ``app.state.stop()`` ends the streams. Raises `taskyard.errors.SettingsError`.
    """
    tokens = Tokens(settings)
    sessions, failures, metrics = Sessions(tokens), Failures(), Metrics()
    repeats = Repeats(settings.dashboard_data / "requests.sqlite")
    connections, waiting = Connections(queue, CALLS), Connections(queue, STREAMS + CALLS, "dashboard's streams")
    probing = Connections(queue, PROBES, "dashboard's probes")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        for each in (waiting, connections, probing):
            each.close()
        repeats.close()

    def role_of(request: Request) -> Role | None:
        return shown_by(request.headers, tokens, sessions, settings.dashboard_base.startswith("https:")).role

    app = FastAPI(
        title="Taskyard",
        version=taskyard.__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.tokens = tokens
    app.state.stop = threading.Thread(target=waiting.close, name="stop").start
    problems.install(app)
    app.include_router(health_router(probing))
    app.include_router(sign_in_router(settings, tokens, sessions, failures))
    app.include_router(metrics_router(connections, metrics))
    add_api(app, connections, Streams(waiting, STREAMS), repeats)
    add_page(app, Source(queue), role_of)
    app.add_middleware(HeadersOnly)
    app.add_middleware(BodyLimit, limit=BODY_BYTES)
    app.add_middleware(Guard, settings=settings, tokens=tokens, sessions=sessions, failures=failures)
    app.add_middleware(AccessLog, metrics=metrics)
    return app
