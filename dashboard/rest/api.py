"""Puts the API together, and its description at ``/openapi.json``."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException, Request
from starlette.routing import Match

from dashboard.connections import Connections
from dashboard.rest.docs import docs_router
from dashboard.rest.jobs import jobs_router
from dashboard.rest.look import look_router
from dashboard.rest.repeats import Repeats
from dashboard.rest.stream import Streams
from dashboard.rest.submit import submit_router
from dashboard.rest.tasks import tasks_router

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def add_api(app: FastAPI, connections: Connections, streams: Streams, repeats: Repeats) -> None:
    """Add it to the application."""
    # Submitting first: its paths are whole, while a task's or a job's id may be any text.
    app.include_router(submit_router(connections, repeats))
    app.include_router(tasks_router(connections))
    app.include_router(jobs_router(connections, streams))
    app.include_router(look_router(connections))
    app.include_router(docs_router(app))
    refuse_the_rest(app)
    describe(app)


def refuse_the_rest(app: FastAPI) -> None:
    """Answer what nothing of the API matches; else the page, which has all other paths, would."""
    routes = list(app.routes)

    @app.api_route("/api/{rest:path}", methods=list(METHODS), include_in_schema=False)
    async def elsewhere(request: Request) -> None:
        scopes = {method: {**request.scope, "method": method} for method in METHODS}
        allowed = [name for name, scope in scopes.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)]
        if "GET" in allowed:
            allowed.append("HEAD")
        if allowed:
            raise HTTPException(405, headers={"Allow": ", ".join(allowed)})
        raise HTTPException(404)


def describe(app: FastAPI) -> None:
    """Let the description say how a token is shown, and that refusals have a form of their own."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"token": []}]
            for operations in document["paths"].values():
                for operation in operations.values():
                    for status, response in operation["responses"].items():
                        if int(status) >= 400:
                            response["content"] = {"application/problem+json": response["content"]["application/json"]}
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
