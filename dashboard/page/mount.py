"""Puts the pages into the application, behind its guard, at their paths and at no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from nicegui import app as pages
from nicegui import ui
from starlette.routing import Match, Mount
from starlette.types import Scope

from dashboard.page.frame import RoleOf
from dashboard.page.jobs import jobs
from dashboard.page.look import FAVICON
from dashboard.page.overview import overview
from dashboard.page.task import task
from dashboard.page.tasks import tasks
from dashboard.page.workers import workers
from dashboard.source import Source

PAGES: dict[str, Callable[..., Any]] = {"/": overview, "/workers": workers, "/jobs": jobs, "/tasks": tasks, "/task": task}
ASSETS = ("/_nicegui", "/favicon.ico")
RECONNECT_SECONDS = 10.0
"""For which a page whose connection broke can go on where it was."""
RESPONSE_SECONDS = 30.0
"""NiceGUI answers with an error where a page is not made by then, 3 s by default; on a busy machine it should rather be late."""


def add_page(app: FastAPI, source: Source, role_of: RoleOf) -> None:
    """Serve the page at ``/``. ``source`` begins to ask with the application and ends with it; ``role_of`` says of a page's
    request what whoever sent it may do, and is asked again at each look and each change.
    """
    for path, build in PAGES.items():
        ui.page(path, response_timeout=RESPONSE_SECONDS)(build)
    # Several applications of one process, as in tests, share NiceGUI's: it refuses what is added once it has served.
    pages.middleware_stack = None
    pages.user_middleware.clear()
    ui.run_with(
        app,
        title="Taskyard",
        favicon=FAVICON,
        dark=None,
        tailwind=False,
        language="en-US",
        reconnect_timeout=RECONNECT_SECONDS,
        show_welcome_message=False,
    )
    mounted = app.router.routes.pop()
    assert isinstance(mounted, Mount)
    app.router.routes.append(_Pages("/", mounted.app))
    serve = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(served: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with serve(served) as state:
            source.start()
            try:
                yield {**(state or {}), "source": source, "role_of": role_of}
            finally:
                source.close()

    app.router.lifespan_context = lifespan


class _Pages(Mount):
    """NiceGUI's application, for its own paths only: what is not there is refused as everywhere else."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a path is the page's."""
        path = scope["path"]
        return super().matches(scope) if path in PAGES or path.startswith(ASSETS) else (Match.NONE, {})
