"""The guard in front of everything that the dashboard serves, also of what is mounted into it and of websockets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.access.failures import Failures
from dashboard.access.origins import Origins
from dashboard.access.sessions import Sessions
from dashboard.access.tokens import Role, Tokens
from dashboard.problems import problem
from taskyard.settings import Settings

PROBES = ("/healthz", "/readyz")
"""Open to everybody by whatever name: they tell nothing."""
SIGN_IN = "/sign-in"
GONE_SECONDS = 10
"""After which a token is worth another try when its file is gone."""
READING = ("GET", "HEAD", "OPTIONS")
TRANSPORT = "/_nicegui_ws/"
"""The page's own connection; where no websocket is possible it sends by POST. What may be done through it, the page decides."""
PAGE_CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""NiceGUI's page has its scripts and styles within, and evaluates expressions that come from the server."""
STRICT_CSP = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
STRICT = ("/api/", "/metrics", "/openapi.json", *PROBES)
"""What holds no page at all."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request shows of itself."""

    by: Literal["nothing", "bearer", "cookie"]
    role: Role | None


class Guard:
    """Lets a request through to ``app`` or refuses it. What it may do stands in ``scope["state"]["role"]`` (`Role`)."""

    def __init__(self, app: ASGIApp, settings: Settings, tokens: Tokens, sessions: Sessions, failures: Failures) -> None:
        self._app = app
        self._tokens = tokens
        self._sessions = sessions
        self._failures = failures
        self._origins = Origins(settings)
        self._https = settings.dashboard_base.startswith("https:")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        secured = _with_headers(scope, send)
        if refusal is None:
            await self._app(scope, receive, secured)
        elif scope["type"] == "http":
            await refusal(scope, receive, secured)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "sign in first"})

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), scope["path"]
        state = scope.setdefault("state", {})
        state["role"] = None
        if scope["type"] == "http" and path in PROBES and scope["method"] in READING:
            return None
        if not self._origins.knows_host(headers):
            return problem(421, "the dashboard does not go by this name; add it to DASHBOARD_HOSTS if it should")
        if not self._origins.is_own(headers):
            return problem(403, "a page of another origin asks; only the dashboard's own pages may")
        if path == SIGN_IN:
            return None
        shown = shown_by(headers, self._tokens, self._sessions, self._https)
        state["role"] = shown.role
        if shown.role is None:
            return self._unknown(scope, headers, shown)
        changes = scope["type"] == "websocket" or scope["method"] not in READING
        if changes and shown.by == "cookie" and "origin" not in headers:
            return problem(403, "no Origin is told; a program shows its token as 'Authorization: Bearer' instead of a cookie")
        if changes and shown.role == "read" and scope["type"] == "http" and not path.startswith((TRANSPORT, "/sign-out")):
            return problem(403, "this token is for looking only; use the full one")
        return None

    def _unknown(self, scope: Scope, headers: Headers, shown: Shown) -> Response:
        if shown.by == "bearer":
            wait = self._failures.note(address_of(scope))
            if wait:
                return problem(429, "too many wrong tokens; wait, then show the right one", int(wait) + 1)
        if shown.by != "nothing" and self._tokens.gone:  # it may have been the right one
            return problem(503, self._tokens.gone, GONE_SECONDS)
        if scope["type"] == "http" and scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            asked = scope["query_string"].decode("latin-1")
            there = quote(scope["path"], safe="/") + (quote(f"?{asked}") if asked else "")
            return RedirectResponse(f"{SIGN_IN}?next={there}" if there != "/" else SIGN_IN, 303)
        detail = "show a token: 'Authorization: Bearer TOKEN', or sign in at /sign-in"
        return problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="taskyard"'})


def shown_by(headers: Headers, tokens: Tokens, sessions: Sessions, https: bool) -> Shown:
    """What a request shows by its headers."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme:
        return Shown("bearer", tokens.role_of(token.strip()) if scheme.lower() == "bearer" else None)
    cookie = read_cookie(headers, cookie_name(headers, https))
    return Shown("cookie", sessions.role_of(cookie)) if cookie else Shown("nothing", None)


def cookie_name(headers: Headers, https: bool) -> str:
    """Cookies do not tell ports apart, so that the name has to."""
    port = headers.get("host", "").rpartition(":")[2]
    name = f"taskyard_{port}" if port.isdecimal() and port.isascii() else "taskyard"
    return f"__Host-{name}" if https else name


def read_cookie(headers: Headers, name: str) -> str:
    """The value of one cookie; empty: there is none."""
    # Other programs of this host have cookies here too, since these do not tell ports apart; some are of a form of their own.
    return cookie_parser(headers.get("cookie", "")).get(name, "")


def address_of(scope: Scope) -> str:
    """Who asks, as far as the connection tells."""
    return str((scope.get("client") or ("?",))[0])


def _with_headers(scope: Scope, send: Send) -> Send:
    csp = STRICT_CSP if scope["path"].startswith(STRICT) else PAGE_CSP

    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Content-Security-Policy", csp)
            if not scope["path"].startswith("/_nicegui/"):  # its files have their version in the path
                headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return secured
