"""Signing in: a form that takes a token, and the link whose fragment fills it in.

A fragment is never sent, so that the token stands in no log and no Referer; the page takes it out of the address, and so out of
the browser's history, before it sends it as a form.
"""

from __future__ import annotations

from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from dashboard.access.failures import Failures
from dashboard.access.guard import GONE_SECONDS, SIGN_IN, address_of, cookie_name, read_cookie
from dashboard.access.pages import page
from dashboard.access.sessions import SECONDS, Sessions
from dashboard.access.tokens import Role, Tokens
from dashboard.problems import problem
from taskyard.log import get_logger
from taskyard.settings import Settings

FORM_BYTES = 4096
SCRIPT = """
const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token) {
  history.replaceState(null, "", location.pathname + location.search);
  document.getElementById("token").value = token;
  document.forms[0].submit();
}
"""
FORM = """<h1>Taskyard</h1>{wrong}
<form method="post">
<input name="username" value="taskyard" autocomplete="username" hidden>
<label for="token">Token</label>
<input id="token" name="token" type="password" required autocomplete="current-password" autofocus>
<button>Sign in</button>
</form>
<p>The dashboard's log has the link to sign in with; so does <code>python -m dashboard link</code>, in its container.</p>"""


def link(settings: Settings, token: bytes) -> str:
    """What signs a browser in."""
    return f"{settings.dashboard_base}{SIGN_IN}#token={quote(token, safe='')}"


def sign_in_router(settings: Settings, tokens: Tokens, sessions: Sessions, failures: Failures) -> APIRouter:
    """``/sign-in`` and ``/sign-out``."""
    router = APIRouter(include_in_schema=False)
    logger = get_logger("dashboard")
    https = settings.dashboard_base.startswith("https:")

    @router.get(SIGN_IN)
    async def form() -> Response:
        return page("Sign in: Taskyard", FORM.format(wrong=""), SCRIPT)

    @router.post(SIGN_IN)
    async def sign_in(request: Request) -> Response:
        if "origin" not in request.headers:  # somebody else's page could sign a browser in; a program has a header for it
            return problem(403, "no Origin is told; a program shows its token as 'Authorization: Bearer' instead")
        try:
            token = parse_qs(await _form(request)).get("token", [""])[0].strip()
        except ValueError:
            token = ""
        role = tokens.role_of(token)
        if role is None:
            wait = failures.note(address_of(request.scope))
            said = f"T{tokens.gone[1:]}." if tokens.gone else "That is not a token of this dashboard."
            wrong = f'<p class="wrong" role="alert">{said}</p>'
            status, seconds = (429, int(wait) + 1) if wait else (503, GONE_SECONDS) if tokens.gone else (401, 0)
            retry_after = {"Retry-After": str(seconds)} if seconds else {}
            return page("Sign in: Taskyard", FORM.format(wrong=wrong), SCRIPT, status, retry_after)
        logger.info("signed in", role=role, address=address_of(request.scope))
        return _signed_in(request, role, token)

    def _signed_in(request: Request, role: Role, token: str) -> Response:
        response = RedirectResponse(_own_path(request.query_params.get("next", "/")), 303)
        response.set_cookie(
            cookie_name(request.headers, https),
            sessions.begin(role, token),
            max_age=SECONDS,
            httponly=True,
            samesite="strict",
            secure=https or request.url.scheme == "https",
        )
        return response

    @router.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        sessions.end(read_cookie(request.headers, cookie_name(request.headers, https)))
        response = RedirectResponse(SIGN_IN, 303)
        secure = https or request.url.scheme == "https"
        response.delete_cookie(cookie_name(request.headers, https), httponly=True, samesite="strict", secure=secure)
        return response

    return router


async def _form(request: Request) -> str:
    """What was sent; ValueError for what no token could be in."""
    sent = b""
    async for part in request.stream():
        sent += part
        if len(sent) > FORM_BYTES:
            raise ValueError("too long")
    return sent.decode()


def _own_path(there: str) -> str:
    """Where to go on: nowhere but here."""
    # A browser takes '//host' and '/\\host' for another host, and drops tabs and line feeds first.
    own = there.startswith("/") and there.isprintable() and there.isascii() and not there.startswith(("//", "/\\"))
    return there if own else "/"
