"""What a browser keeps once it has signed in: a cookie that this program has signed, and that nobody has to remember."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

from dashboard.access.tokens import ROLES, Role, Tokens

SECONDS = 7 * 86400
"""How long one lasts."""
LONGEST = 200
MOST_ENDED = 10_000
"""Sessions that were ended and are remembered; only somebody with a token can make another."""


class Sessions:
    """Cookies signed with the token that was shown, so that another token ends all sessions of the former."""

    def __init__(self, tokens: Tokens, now: Callable[[], float] = time.time) -> None:
        self._tokens = tokens
        self._now = now
        self._ended: dict[str, None] = {}

    def begin(self, role: Role, token: str) -> str:
        """A cookie's value for whoever has just shown this token of a role."""
        said = f"{role}.{int(self._now()) + SECONDS}.{secrets.token_urlsafe(12)}"
        return f"{said}.{_sign(token.encode(), said)}"

    def end(self, cookie: str) -> None:
        """Let a cookie allow nothing any more, until this program is started anew: also to pages that are open with it."""
        if self.role_of(cookie) is not None:
            self._ended[cookie] = None
            while len(self._ended) > MOST_ENDED:
                del self._ended[next(iter(self._ended))]

    def role_of(self, cookie: str) -> Role | None:
        """What a cookie allows; None: it is none of ours, has had its time, or was ended."""
        if cookie in self._ended:
            return None
        said, _, signature = cookie[:LONGEST].rpartition(".")
        role = next((role for role in ROLES if said.startswith(f"{role}.")), None)
        if role is None or not cookie.isascii():
            return None
        if not any(hmac.compare_digest(_sign(token, said), signature) for token in self._tokens.of(role)):
            return None
        return role if int(said.split(".")[1]) > self._now() else None


def _sign(token: bytes, said: str) -> str:
    return hmac.new(b"session " + token, said.encode(), hashlib.sha256).hexdigest()
