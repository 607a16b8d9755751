"""The verbs by which people steer the queue: pause, drain."""

from __future__ import annotations

from typing import Any

from master import rules, sql
from master.moves import Moves


class Steering(Moves):
    """What an operator does to all that waits, or to workers."""

    def pause(self, paused: Any) -> bool:
        """Lend nothing more, or lend again; what runs goes on. Returns whether that changed anything."""
        if rules.read_switch(paused, "paused") == self._paused:
            return False
        self.store.change(sql.PAUSE, int(paused))
        self._paused = paused
        return True

    def drain(self, sessions: Any) -> int:
        """Let workers take nothing more, finish what they run, and end; they hear of it with their next heartbeat. Returns how
        many of them there are."""
        names = set(rules.read_names(sessions, "sessions"))
        told = [session for session in self._workers() if session.name in names]
        for session in told:
            session.drain = True
        return len(told)
