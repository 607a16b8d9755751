"""Copies of the store on NATS, each a row of messages under the place of the log that it stands for.

Read message by message from whoever leads the stream: a consumer may be on a server that is cut off, and then brings nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

from nats.js import JetStreamContext
from nats.js import errors as js_errors

from taskyard.errors import StoreBroken

PART_BYTES = 256 * 1024
DIGEST, PARTS = "Taskyard-Digest", "Taskyard-Parts"
"""Headers of the last message, which is empty: of all parts together, and how many they are."""


class Gone(Exception):
    """What is asked for is there no more."""


class Snapshot(NamedTuple):
    """One of them. It is of a log's history if what stands there at its place was written under the same leader."""

    place: int
    lead: int
    subject: str


class Snapshots(NamedTuple):
    """Coroutines for the thread of `taskyard.broker.Broker`; each may raise what nats-py does."""

    js: JetStreamContext
    stream: str
    subject: str
    """Before each one's place, lead and a number of its own."""

    async def save(self, place: int, lead: int, path: Path) -> Snapshot:
        """Write the file; it counts once all of it is there."""
        made = Snapshot(place, lead, f"{self.subject}.{place}.{lead}.{token_hex(4)}")
        digest, parts = hashlib.sha256(), 0
        with path.open("rb") as file:
            while part := file.read(PART_BYTES):
                digest.update(part)
                parts += 1
                await self.js.publish(made.subject, part, stream=self.stream)
        headers: dict[str, Any] = {DIGEST: digest.hexdigest(), PARTS: str(parts)}
        await self.js.publish(made.subject, b"", stream=self.stream, headers=headers)
        return made

    async def whole(self) -> list[Snapshot]:
        """Those of which all is there, the latest last."""
        found: list[Snapshot] = []
        for one in await self._all():
            try:
                last = await self.js.get_last_msg(self.stream, one.subject)
            except js_errors.NotFoundError:  # it was deleted just now
                continue
            if last.headers and DIGEST in last.headers:
                found.append(one)
        return sorted(found)

    async def load(self, snapshot: Snapshot, path: Path, look: Callable[[], None]) -> None:
        """Write one into a file; ``look`` is called after each part. Raises `Gone`, and `StoreBroken` when the file can't be
        written."""
        digest, seq, parts = hashlib.sha256(), 1, 0
        try:
            with path.open("wb") as file:
                while True:
                    message = await self.js.get_msg(self.stream, seq, snapshot.subject, next=True)
                    if message.headers and DIGEST in message.headers:
                        break
                    file.write(message.data or b"")
                    digest.update(message.data or b"")
                    seq, parts = (message.seq or 0) + 1, parts + 1
                    look()
                file.flush()
                os.fsync(file.fileno())
        except js_errors.NotFoundError:
            raise Gone from None
        except OSError as error:
            raise StoreBroken(f"{path} can't be written: {error}") from None
        if (message.headers[DIGEST], message.headers[PARTS]) != (digest.hexdigest(), str(parts)):
            raise Gone

    async def drop_others(self, kept: Snapshot, later_too: bool) -> None:
        """Delete those of the same and of earlier places, or all; also what is left of one that was never whole."""
        for one in await self._all():
            if one.subject != kept.subject and (later_too or one.place <= kept.place):
                await self.js.purge_stream(self.stream, subject=one.subject)

    async def _all(self) -> list[Snapshot]:
        info = await self.js.stream_info(self.stream, subjects_filter=f"{self.subject}.>")
        found: list[Snapshot] = []
        for subject in info.state.subjects or ():
            place, lead, _ = subject.removeprefix(f"{self.subject}.").split(".")
            found.append(Snapshot(int(place), int(lead), subject))
        return found
