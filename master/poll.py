"""What the engine's thread sleeps on: all connections at once, and a bell that other threads ring."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Protocol

from taskyard.bell import Bell

if TYPE_CHECKING:
    from master.committer import Call

HEARD = select.EPOLLIN | select.EPOLLRDHUP
MOST_EVENTS = 250
"""Heard at a time: fewer than the calls of a turn, so that some of these are always left to other threads."""


class Peer(Protocol):
    """Somebody who is heard."""

    def fileno(self) -> int:
        """What to wait on."""

    def on_event(self, events: int) -> list[Call]:
        """What is to be done now that its descriptor tells of ``events``; called by the thread that waits."""

    def close(self) -> None:
        """Nobody listens any more."""


class Poll:
    """Descriptors and their peers."""

    def __init__(self) -> None:
        self._bell = Bell()
        self._epoll = select.epoll()
        self._epoll.register(self._bell, select.EPOLLIN)
        self._peers: dict[int, Peer] = {}
        self._asleep = False

    def add(self, peer: Peer) -> None:
        """Listen to somebody, from any thread. Raises OSError when the system watches no more."""
        self._epoll.register(peer.fileno(), HEARD)
        self._peers[peer.fileno()] = peer

    def expect(self, peer: Peer, events: int) -> None:
        """Listen for ``events`` only."""
        self._epoll.modify(peer.fileno(), events)

    def remove(self, peer: Peer) -> None:
        """Listen no more; before its descriptor is closed."""
        self._epoll.unregister(peer.fileno())
        del self._peers[peer.fileno()]

    def wake(self) -> None:
        """Let the thread that waits, or is about to, look at what else there is; from any thread."""
        if self._asleep:
            self._asleep = False  # one ring wakes it
            self._bell.ring()

    def fall_asleep(self) -> None:
        """Called before `wait` and before the last look at what else there is: from now on `wake` counts."""
        self._asleep = True

    def wait(self, seconds: float) -> list[Call]:
        """Sleep until somebody is heard, or ``seconds`` are over; returns what is to be done."""
        events = self._epoll.poll(max(0.0, seconds), MOST_EVENTS)
        self._asleep = False
        calls: list[Call] = []
        for descriptor, event in events:
            peer = self._peers.get(descriptor)
            if peer is not None:
                calls += peer.on_event(event)
            elif descriptor == self._bell.fileno():
                self._bell.hush()
        return calls

    def close(self) -> None:
        """Close all peers."""
        for peer in list(self._peers.values()):
            peer.close()
