"""Copies of the store on NATS, each a row of messages under the place of the log that it stands for.

Read message by message from whoever leads the stream: a consumer may be on a server that is cut off, and then brings nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from nats.js import JetStreamContext
from nats.js import errors as js_errors

from taskyard.errors import StoreBroken

PART_BYTES = 256 * 1024
DIGEST, PARTS = "Taskyard-Digest", "Taskyard-Parts"
"""Headers of the last message, which is empty: of all parts together, and how many they are."""


class Gone(Exception):
    """What is asked for is there no more."""


class Snapshots(NamedTuple):
    """Coroutines for the thread of `taskyard.broker.Broker`; each may raise what nats-py does."""

    js: JetStreamContext
    stream: str
    subject: str
    """Before each one's place."""

    async def save(self, place: int, path: Path) -> None:
        """Write the file; it counts once all of it is there."""
        subject = f"{self.subject}.{place}"
        await self.js.purge_stream(self.stream, subject=subject)  # of a try that came to no end
        digest, number = hashlib.sha256(), 0
        for number, part in enumerate(_parts(path), 1):  # noqa: B007 - counts them
            digest.update(part)
            await self.js.publish(subject, part, stream=self.stream)
        headers: dict[str, Any] = {DIGEST: digest.hexdigest(), PARTS: str(number)}
        await self.js.publish(subject, b"", stream=self.stream, headers=headers)

    async def places(self) -> list[int]:
        """Of which there is a whole one, the latest last."""
        info = await self.js.stream_info(self.stream, subjects_filter=f"{self.subject}.>")
        found: list[int] = []
        for subject in info.state.subjects or ():
            last = await self.js.get_last_msg(self.stream, subject)
            if last.headers and DIGEST in last.headers:
                found.append(int(subject.rsplit(".", 1)[1]))
        return sorted(found)

    async def load(self, place: int, path: Path) -> None:
        """Write one into a file. Raises `Gone`, and `StoreBroken` when the file can't be written."""
        subject, digest, seq, parts = f"{self.subject}.{place}", hashlib.sha256(), 1, 0
        try:
            with path.open("wb") as file:
                while True:
                    message = await self.js.get_msg(self.stream, seq, subject, next=True)
                    if message.headers and DIGEST in message.headers:
                        break
                    file.write(message.data or b"")
                    digest.update(message.data or b"")
                    seq, parts = (message.seq or 0) + 1, parts + 1
        except js_errors.NotFoundError:
            raise Gone from None
        except OSError as error:
            raise StoreBroken(f"{path} can't be written: {error}") from None
        if (message.headers[DIGEST], message.headers[PARTS]) != (digest.hexdigest(), str(parts)):
            raise Gone

    async def drop_before(self, place: int) -> None:
        """Delete those of earlier places."""
        info = await self.js.stream_info(self.stream, subjects_filter=f"{self.subject}.>")
        for subject in info.state.subjects or ():
            if int(subject.rsplit(".", 1)[1]) < place:
                await self.js.purge_stream(self.stream, subject=subject)


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(PART_BYTES):
            yield part
