"""How much a request may send, and how long it may take to; and what is answered to one that wants the headers only."""

from __future__ import annotations

import asyncio
from time import monotonic

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.problems import TOO_LONG, problem

BODY_SECONDS = 30.0
"""In which a body has to be there."""


class BodyLimit:
    """Refuses a body over ``limit`` bytes before it is read, or as soon as it gets there where its length was not told; and one
    that is not there within `BODY_SECONDS`.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._limit:
            await problem(413, TOO_LONG)(scope, receive, send)
            return
        size, there, answered = 0, False, False
        deadline = monotonic() + BODY_SECONDS

        async def bounded() -> Message:
            nonlocal size, there
            if there:  # what is waited for now is the end of the connection
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - monotonic()))
            except TimeoutError:
                if answered:
                    return {"type": "http.disconnect"}
                raise HTTPException(408, headers={"Connection": "close"}) from None
            there = not message.get("more_body", False)
            size += len(message.get("body", b""))
            if size > self._limit:
                raise HTTPException(413)
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        await self._app(scope, bounded, noted)


class HeadersOnly:
    """Answers HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        over = False

        async def bare(message: Message) -> None:
            nonlocal over
            if message["type"] != "http.response.body":
                await send(message)
            elif not over:  # a stream has no end of its own: it hears that nobody listens any more
                over = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        scope["method"] = "GET"  # in place: the route that is found is noted there
        try:
            await self._app(scope, receive, bare)
        finally:
            scope["method"] = "HEAD"
