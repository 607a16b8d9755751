"""The two tokens: one for everything, one for looking. Where they stand, how they are made and changed."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Literal

from taskyard.errors import SettingsError
from taskyard.keys import is_there, make_authkey, read_keys
from taskyard.settings import Settings

Role = Literal["full", "read"]
ROLES: tuple[Role, ...] = ("full", "read")
SHORTEST = 32
"""Characters of a token that somebody else made: none that can be guessed."""
SECRETS: dict[Role, Path] = {
    "full": Path("/run/secrets/taskyard_dashboard_token"),
    "read": Path("/run/secrets/taskyard_dashboard_read_token"),
}
MADE: dict[Role, str] = {"full": "token", "read": "read-token"}
"""Names of the files that are made here."""


class Tokens:
    """Reads the tokens whenever they are asked for, so that another one in a file counts at once.

    They are made in ``DASHBOARD_DATA`` where nobody gives any. Raises `SettingsError`.
    """

    def __init__(self, settings: Settings) -> None:
        given: dict[Role, Path | None] = {"full": settings.dashboard_token_file, "read": settings.dashboard_read_token_file}
        self.made: set[Role] = set()
        """Those that are this program's own; it may print them."""
        self._files: dict[Role, Path] = {}
        for role in ROLES:
            file = given[role] or (SECRETS[role] if is_there(SECRETS[role]) else None)
            if file is None:
                file = settings.dashboard_data / MADE[role]
                self.made.add(role)
                if not is_there(file):
                    _make(file)
            self._files[role] = file
        self._last = {role: self._read(role) for role in ROLES}
        if self._last["full"][0] == self._last["read"][0]:
            raise SettingsError(f"{self._files['full']} and {self._files['read']} hold the same token; each needs its own")

    def of(self, role: Role) -> list[bytes]:
        """The tokens of a role, the newest first; while their file can't be read, those of before. None once it was deleted: a
        token that is gone counts no more.
        """
        try:
            self._last[role] = self._read(role)
        except SettingsError:
            if not is_there(self._files[role]):
                return []
        return self._last[role]

    @property
    def gone(self) -> str:
        """What to say to who may have shown a token whose file was deleted; empty: there are both."""
        roles = [role for role in ROLES if not is_there(self._files[role])]
        names = {"full": "full", "read": "read-only"}
        told = " and the ".join(f"{names[role]} token" for role in roles)
        return f"the file of the {told} was deleted: put it back, or start the dashboard anew" if roles else ""

    def role_of(self, token: str) -> Role | None:
        """What a token allows; None: nothing. Takes as long for a wrong one as for a right one."""
        given = token.encode(errors="replace")
        found: Role | None = None
        for role in ROLES:
            for known in self.of(role):
                if hmac.compare_digest(known, given):
                    found = role
        return found

    def _read(self, role: Role) -> list[bytes]:
        tokens = read_keys(self._files[role])
        if min(map(len, tokens)) < SHORTEST:
            raise SettingsError(f"the token in {self._files[role]} is too short; make it {SHORTEST} characters or more")
        return tokens


def _make(file: Path) -> None:
    try:
        make_authkey(file)
    except OSError as error:
        raise SettingsError(f"no token can be made in {file.parent} (DASHBOARD_DATA): {error.strerror}") from None
