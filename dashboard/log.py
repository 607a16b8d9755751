"""One line in the log for each request, an id that goes with it, and its count for the metrics."""

from __future__ import annotations

import re
import uuid
from time import perf_counter

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.access.guard import PROBES, address_of
from dashboard.metrics import Metrics
from dashboard.rest.stream import EVENTS
from taskyard.log import get_logger

REQUEST_ID = "X-Request-ID"
KNOWN_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
QUIET = ("/_nicegui", *PROBES)
"""Asked for all the time; told only where it goes wrong."""
LONGEST_PATH = 200


class AccessLog:
    """Around everything else. A line has the path without its query, and no header: no token gets into it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._logger = get_logger("dashboard")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        begun, status, lasts = perf_counter(), 500, False
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if KNOWN_ID.fullmatch(given) else uuid.uuid4().hex

        async def noted(message: Message) -> None:
            nonlocal status, lasts
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                lasts = headers.get("content-type", "").startswith(EVENTS)
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close" and status != 101:
                status = 403
            await send(message)

        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                await self._app(scope, receive, noted)
            finally:
                self._tell(scope, status, perf_counter() - begun, lasts)

    def _tell(self, scope: Scope, status: int, seconds: float, lasts: bool) -> None:
        if scope["type"] == "http":  # a websocket lasts for as long as a page is open
            self._metrics.note(scope, status, None if lasts else seconds)
        quiet = status < 400 and scope["path"].startswith(QUIET)
        tell = self._logger.debug if quiet else self._logger.info if status < 500 else self._logger.error
        tell(
            "request",
            method=scope.get("method", "websocket"),
            path=scope["path"][:LONGEST_PATH],
            status=status,
            ms=round(1000 * seconds, 1),
            role=scope.get("state", {}).get("role"),
            address=address_of(scope),
        )
