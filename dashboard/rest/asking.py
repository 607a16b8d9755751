"""What the routes share: how they ask the queue, what each may be refused, how moments and pages are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request
from pydantic import BaseModel

from dashboard.connections import Connections
from dashboard.problems import Json, Problem
from dashboard.rest.models import LONGEST_NAME, ProblemOut
from taskyard.transport import RemoteQueue

PREFIX = "/api/v1"
MOST = 1000
"""Rows of one page."""
REFUSALS = {
    400: "The body is no JSON.",
    401: "No token was shown, or a wrong one.",
    403: "The token, or the dashboard's key, is not for this.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "The key was used for another request.",
    413: "It is too much at a time.",
    421: "The dashboard does not go by this name.",
    422: "Something in the request makes no sense.",
    429: "The queue is full, too many streams are open, or too many wrong tokens were shown: wait as Retry-After says.",
    502: "The master failed at this.",
    503: "The queue does not answer, or no worker is there: wait as Retry-After says.",
    507: "The disk under the queue is full: wait as Retry-After says.",
}
ALWAYS = (401, 403, 421, 422, 429, 502, 503)
SENDING = (400, 408, 413, 507)
"""Of requests that change something, beside those."""

Limit = Annotated[int, Query(ge=1, le=MOST, description="Rows at most; there may be fewer, though more follow.")]
After = Annotated[int, Query(ge=0, lt=2**63, description="`next` or `cursor` of the page before.")]
Job = Annotated[str, Path(min_length=1, max_length=LONGEST_NAME)]
Session = Annotated[str, Path(min_length=1, max_length=LONGEST_NAME, description="Of a worker (`/api/v1/workers`).")]
TaskId = Annotated[str, Path(min_length=1, max_length=LONGEST_NAME)]


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may answer beside what it is for, for its description."""
    return {status: {"model": ProblemOut, "description": REFUSALS[status]} for status in sorted({*ALWAYS, *statuses})}


async def only_known(request: Request) -> None:
    """Refuse a parameter that a route does not have: a misspelt filter would list everything."""
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        told = ", ".join(sorted(known)) or "none"
        raise Problem(422, f"there is no parameter {unknown[0][:100]!r} here; there are: {told}")


ROUTER: dict[str, Any] = {"prefix": PREFIX, "dependencies": [Depends(only_known)]}
"""Of each router of the API."""


async def tell(connections: Connections, ask: Callable[[RemoteQueue], BaseModel | list[Any]], status: int = 200) -> Json:
    """The response with what ``ask`` returns; a thread of the connection makes it, JSON and all."""

    def told(queue: RemoteQueue) -> Json:
        answer = ask(queue)
        return Json([one.model_dump() for one in answer] if isinstance(answer, list) else answer.model_dump(), status)

    return await connections.call(told)


def moment(seconds: float) -> float | None:
    """Epoch seconds; None: there is none."""
    return seconds or None
