"""Every refusal in one form: ``application/problem+json`` (RFC 9457), which says what went wrong and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from taskyard import errors
from taskyard.errors import TaskyardError

LONGEST_DETAIL = 1000
"""Characters of a detail: it may quote what somebody sent."""
MOST_ERRORS = 20
"""Faults of one body that are told."""
STATUS: dict[type[TaskyardError], tuple[int, int]] = {
    errors.QueueFull: (429, 1),
    errors.StoreFull: (507, 10),
    errors.StoreBroken: (503, 10),
    errors.Unreachable: (503, 2),
    errors.WrongKey: (503, 10),
    errors.WrongCertificate: (503, 10),
    errors.WrongVersion: (503, 10),
    errors.SettingsError: (503, 10),
    errors.PayloadTooLarge: (413, 0),
    errors.BadRequest: (422, 0),
    errors.NotAllowed: (403, 0),
    errors.NoSuchJob: (404, 0),
    errors.NoSuchTask: (404, 0),
}
"""What each error of the queue is over HTTP, and after how many seconds it is worth another try (0: never)."""
MASTER_FAILED = 502
TOO_LONG = "the body is over the bound; send fewer tasks at a time, keep big data elsewhere and pass its address"


class Json(JSONResponse):
    """JSON in ASCII: text that no UTF-8 can hold, a lone surrogate, survives as its escape."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


class ProblemJson(Json):
    """A refusal."""

    media_type = "application/problem+json"


class Problem(Exception):
    """A refusal that a route decides on."""

    def __init__(self, status: int, detail: str, retry_after: int = 0, **more: Any) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.more = more


def problem(status: int, detail: str, retry_after: int = 0, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """The response; ``retry_after``: seconds, 0: not said."""
    told = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail[:LONGEST_DETAIL],
        **more,
    }
    said = dict(headers or {}) | ({"Retry-After": str(retry_after)} if retry_after else {})
    return ProblemJson(told, status, said)


def of_error(error: TaskyardError) -> Response:
    """The response for an error of the queue."""
    status, retry_after = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), (MASTER_FAILED, 0))
    return problem(status, str(error), retry_after)


def install(app: FastAPI) -> None:
    """Let every refusal of the application have this form."""

    async def on_problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return problem(error.status, error.detail, error.retry_after, **error.more)

    async def on_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, TaskyardError)
        return of_error(error)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem(error.status_code, _detail(error, request.scope), headers=error.headers)

    async def on_validation(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        faults = list(map(_fault, error.errors()[:MOST_ERRORS]))
        return problem(422, "; ".join(f"{fault['where']}: {fault['what']}" for fault in faults), errors=faults)

    async def on_crash(_: Request, __: Exception) -> Response:
        return problem(500, "the dashboard failed at this request; its log says why")

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(TaskyardError, on_error)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(Exception, on_crash)


def _detail(error: HTTPException, scope: Scope) -> str:
    path = str(scope["path"])[:200]
    if error.status_code == 404:
        return f"there is nothing at {path}; /openapi.json lists what there is"
    if error.status_code == 405:
        return f"{scope['method']} is not for {path}; the header Allow says what is"
    if error.status_code == 408:
        return "the body did not come in time; send it again"
    if error.status_code == 413:
        return TOO_LONG
    return str(error.detail)


def _fault(error: Mapping[str, Any]) -> dict[str, str]:
    # Without the input: it may be as long as the body.
    where: Sequence[Any] = error.get("loc", ())
    return {"where": ".".join(map(str, where))[:200], "what": str(error.get("msg", ""))[:300]}
