"""What stands in the log: turns of the engine, and who began to lead. A long entry is cut into several messages."""

from __future__ import annotations

import pickle
import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from taskyard import wire
from taskyard.errors import StoreBroken

HEADER = struct.Struct(">BBQ")
"""Version, flags, and who leads: a number that a master draws when it begins to (`draw_lead`)."""
VERSION = 1
FIRST, LAST, CLAIM = 1, 2, 4
Change = tuple[str, bool, Any]
"""A statement, whether it is run many times, and its arguments (a list of them)."""


class Claim(NamedTuple):
    """A master begins to lead."""

    master: str
    format: int
    """Of the store, from here on (`master.sql.VERSION`)."""
    release: str
    former: int
    """Who wrote the message that this one is to stand behind; 0: there is none. Where another one stands the claim is void."""
    rebased: bool
    """Whether a snapshot of this place holds what is to be replayed upon, and not what stands before it."""


class Turn(NamedTuple):
    """What one turn has changed."""

    changes: list[Change]
    rows: int
    """How many rows that were in all: whoever meets another number has other data."""


class Entry(NamedTuple):
    """A whole entry."""

    seq: int
    """Of its last message in the log."""
    lead: int
    content: Claim | Turn


def draw_lead(former: int) -> int:
    """A number for a master that is to lead after this one: nobody's yet, and in a later term."""
    return (term_of(former) + 1) << 32 | secrets.randbits(32)


def term_of(lead: int) -> int:
    """How many led before."""
    return lead >> 32


def pack_claim(lead: int, claim: Claim) -> bytes:
    """The message of a claim."""
    return HEADER.pack(VERSION, FIRST | LAST | CLAIM, lead) + pickle.dumps(tuple(claim), protocol=5)


def pack_turn(lead: int, turn: Turn, most: int) -> Iterator[bytes]:
    """The messages of a turn, each of at most ``most`` bytes."""
    data = memoryview(pickle.dumps(tuple(turn), protocol=5))
    size = most - HEADER.size
    for begin in range(0, len(data), size):
        flags = (FIRST if begin == 0 else 0) | (LAST if begin + size >= len(data) else 0)
        yield HEADER.pack(VERSION, flags, lead) + data[begin : begin + size]


def lead_of(message: bytes) -> int:
    """Who led when a message was written."""
    return int(HEADER.unpack_from(message)[2])


def is_claim(message: bytes) -> bool:
    """Whether it is one, not part of a turn."""
    return bool(HEADER.unpack_from(message)[1] & CLAIM)


@dataclass
class Assembly:
    """Puts messages together again."""

    _parts: list[bytes] = field(default_factory=list)

    def add(self, seq: int, message: bytes) -> Entry | None:
        """The entry that ends with this message, if one does. Raises `taskyard.errors.StoreBroken`."""
        version, flags, lead = HEADER.unpack_from(message)
        if version != VERSION:
            raise StoreBroken(f"the log was written by a newer release (entries of version {version}): run that release")
        if flags & FIRST:  # what came before had no end: its leader was not one any more, or the log had no room for all of it
            self._parts.clear()
        self._parts.append(message[HEADER.size :])
        if not flags & LAST:
            return None
        data = wire.load(b"".join(self._parts))
        self._parts.clear()
        return Entry(seq, int(lead), Claim(*data) if flags & CLAIM else Turn(*data))
