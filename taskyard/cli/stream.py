"""Lines in, results out: the traffic of ``taskyard map``.

A thread of its own reads the lines, since that may take for ever while results are there to be printed. It is held up
when `WINDOW` calls are under way, so that memory does not grow with the input.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FuturesTimeout
from typing import Any, BinaryIO, Literal, NamedTuple

from taskyard import calls
from taskyard.cli.base import opened, read_json
from taskyard.client import Calls
from taskyard.codec import decode_error, encode_json
from taskyard.errors import BadRequest, PayloadTooLarge
from taskyard.mapping import CHUNK_BYTES, PROBE_SECONDS, PROBES, WINDOW, next_size, was_too_large
from taskyard.model import State

BLOCK_BYTES = 1024 * 1024
Form = Literal["json", "text", "star"]


class LineResult(NamedTuple):
    """What became of one line."""

    line: int
    """Its number, from 1."""
    task_id: str
    """Empty: it was not submitted."""
    state: State
    value: Any
    error: BaseException | None


class Chunk(NamedTuple):
    """Lines that one task has, and their arguments where they are several. A line that can't be sent is a chunk of its own."""

    lines: list[int]
    payloads: list[bytes]
    future: Future[Any]


class Stream:
    """Calls of the task ``name``, ``chunksize`` in one task (0: as many as take `CHUNK_SECONDS`). A line of more than
    ``longest`` bytes fails, and is not kept in memory.
    """

    def __init__(self, executor: Calls, name: str, chunksize: int, form: Form, longest: int) -> None:
        self._executor = executor
        self._name = name
        self._adaptive = not chunksize
        self._size = chunksize or 1
        self._form = form
        self._longest = longest
        self._news = threading.Condition()
        self._chunks: deque[Chunk] = deque()
        self._under_way = 0
        self._sent = 0
        self._ended = False
        self._failure: BaseException | None = None

    @property
    def waits(self) -> bool:
        """Whether the next result is not there yet, so that what was printed should go out."""
        with self._news:
            return not self._chunks or not self._chunks[0].future.done()

    def close(self) -> None:
        """Submit nothing more, and cancel what is under way, also what runs."""
        self._end()
        for chunk in self._chunks:  # it gets no more of them
            chunk.future.cancel()

    def results(self, source: BinaryIO) -> Iterator[LineResult]:
        """What became of each line, in their order. Raises what reading the source raises."""
        threading.Thread(target=self._feed, args=(source.fileno(),), name="taskyard-lines", daemon=True).start()
        while True:
            with self._news:
                self._news.wait_for(lambda: self._chunks or self._ended)
                if not self._chunks:
                    break
                chunk = self._chunks.popleft()
            for one in self._outcomes(chunk):
                yield one
                with self._news:
                    self._under_way -= 1
                    self._news.notify_all()
        if self._failure is not None:
            raise self._failure

    def _outcomes(self, chunk: Chunk) -> Iterator[LineResult]:
        task_id = getattr(chunk.future, "task_id", "")
        try:
            seconds, outcomes = chunk.future.result()
        except CancelledError as error:
            yield from (LineResult(line, task_id, "cancelled", None, error) for line in chunk.lines)
            return
        except Exception as error:  # of the task as a whole
            if len(chunk.lines) > 1 and was_too_large(error):  # together they were
                alone = [self._submit([line], [payload]) for line, payload in zip(chunk.lines, chunk.payloads, strict=True)]
                with self._news:
                    self._chunks.extendleft(reversed(alone))
                return
            yield from (LineResult(line, task_id, "failed", None, error) for line in chunk.lines)
            return
        if self._adaptive:
            self._size = next_size(self._size, seconds, outcomes)
        for line, (returned, data) in zip(chunk.lines, outcomes, strict=True):
            if returned:
                yield LineResult(line, task_id, "done", opened(data), None)
            else:
                yield LineResult(line, task_id, "failed", None, decode_error(data, "failed"))

    # The thread that reads

    def _feed(self, descriptor: int) -> None:
        try:
            number = 0
            for block in _blocks_of_lines(descriptor, self._longest):
                payloads: list[bytes] = []
                numbers: list[int] = []
                size = 0
                for line in block:
                    number += 1
                    if not line.strip():
                        continue
                    try:
                        payload = self._payload(line)
                    except (ValueError, RecursionError, BadRequest, PayloadTooLarge) as error:
                        self._send(numbers, payloads)
                        numbers, payloads, size = [], [], 0
                        if self._has_room(1):
                            self._add(Chunk([number], [], _failed(error)))
                        continue
                    payloads.append(payload)
                    numbers.append(number)
                    size += len(payload)
                    if len(payloads) >= self._size or size >= CHUNK_BYTES:
                        self._send(numbers, payloads)
                        numbers, payloads, size = [], [], 0
                self._send(numbers, payloads)
        except BaseException as error:
            self._failure = error
        finally:
            self._end()

    def _payload(self, line: bytes) -> bytes:
        """A line as arguments. Raises `PayloadTooLarge`, `BadRequest`, ValueError for what is no text, or RecursionError for
        what can be read but not be written, since it is nested so deeply.
        """
        if len(line) > self._longest:
            raise PayloadTooLarge(
                f"the line has more than {self._longest:,} bytes (MASTER_PAYLOAD_LIMIT); keep big data in a file or a store and"
                " pass its address"
            )
        if self._form == "text":
            return encode_json([[line.decode().rstrip("\r\n")], {}])
        try:
            value = read_json(line)
        except ValueError as error:
            raise BadRequest(f"the line is not JSON: {error}") from None
        if self._form == "json":
            return encode_json([[value], {}])
        if isinstance(value, list):
            return encode_json([value, {}])
        if isinstance(value, dict):
            return encode_json([[], value])
        raise BadRequest(f"--star expects an array or an object, not {line.decode().strip()[:80]}")

    def _send(self, numbers: list[int], payloads: list[bytes]) -> None:
        if payloads and self._has_room(len(payloads)):
            chunk = self._submit(numbers, payloads)
            self._add(chunk)
            self._sent += 1
            if self._adaptive and self._sent == PROBES:  # it is worth to know how long they take before many go alone
                try:
                    chunk.future.exception(PROBE_SECONDS)
                except (FuturesTimeout, CancelledError):
                    pass

    def _submit(self, numbers: list[int], payloads: list[bytes]) -> Chunk:
        future = self._executor.submit_payload(self._name, calls.pack_many(payloads), len(payloads))
        return Chunk(numbers, payloads if len(payloads) > 1 else [], future)

    def _has_room(self, count: int) -> bool:
        """Wait until so many calls more may be under way; returns False when nobody wants them any more."""
        with self._news:
            while self._under_way and self._under_way + count > WINDOW and not self._ended:
                self._news.wait()
            self._under_way += count
            return not self._ended

    def _add(self, chunk: Chunk) -> None:
        with self._news:
            if self._ended:  # closed just now
                chunk.future.cancel()
                return
            self._chunks.append(chunk)
            self._news.notify_all()

    def _end(self) -> None:
        with self._news:
            self._ended = True
            self._news.notify_all()


def _blocks_of_lines(descriptor: int, longest: int) -> Iterator[list[bytes]]:
    """Lines, as many at a time as there are: not through a buffer, which would wait for more. Of a line that is over
    ``longest`` bytes comes only a beginning that is so too.
    """
    rest = bytearray()  # unlike bytes, it grows without being copied each time
    while block := os.read(descriptor, BLOCK_BYTES):
        first, *others = block.split(b"\n")
        if len(rest) <= longest:
            rest += first
        if others:
            *lines, last = others
            yield [bytes(rest), *lines]
            rest = bytearray(last)
    if rest:
        yield [bytes(rest)]


def _failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
