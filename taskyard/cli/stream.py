"""Lines in, results out: the traffic of ``taskyard map``.

A thread of its own reads the lines, since that may take for ever while results are there to be printed. It is held up
when `WINDOW` calls are under way, so that memory does not grow with the input.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FuturesTimeout
from typing import Any, BinaryIO, Literal, NamedTuple

from taskyard import calls
from taskyard.client import Calls
from taskyard.codec import decode, decode_error, encode_json
from taskyard.errors import BadRequest
from taskyard.mapping import CHUNK_BYTES, PROBE_SECONDS, PROBES, WINDOW, next_size
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
    """Lines that one task has. A line that can't be sent is a chunk of its own."""

    lines: list[int]
    future: Future[Any]


class Stream:
    """Calls of the task ``name``, ``chunksize`` in one task (0: as many as take `CHUNK_SECONDS`)."""

    def __init__(self, executor: Calls, name: str, chunksize: int, form: Form) -> None:
        self._executor = executor
        self._name = name
        self._adaptive = not chunksize
        self._size = chunksize or 1
        self._form = form
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
        """Submit nothing more."""
        with self._news:
            self._ended = True
            self._news.notify_all()

    def results(self, source: BinaryIO) -> Iterator[LineResult]:
        """What became of each line, in their order. Raises what reading the source raises."""
        threading.Thread(target=self._feed, args=(source.fileno(),), name="taskyard-lines", daemon=True).start()
        while True:
            with self._news:
                while not self._chunks and not self._ended:
                    self._news.wait()
                if not self._chunks:
                    break
                chunk = self._chunks[0]
            outcomes = list(self._outcomes(chunk))
            with self._news:
                self._chunks.popleft()
            for one in outcomes:
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
            yield from (LineResult(line, task_id, "failed", None, error) for line in chunk.lines)
            return
        if self._adaptive:
            self._size = next_size(self._size, seconds, outcomes)
        for line, (returned, data) in zip(chunk.lines, outcomes, strict=True):
            if returned:
                yield LineResult(line, task_id, "done", decode(data), None)
            else:
                yield LineResult(line, task_id, "failed", None, decode_error(data, "failed"))

    # The thread that reads

    def _feed(self, descriptor: int) -> None:
        try:
            lines = _blocks_of_lines(descriptor)
            number = 0
            for block in lines:
                payloads: list[bytes] = []
                numbers: list[int] = []
                size = 0
                for line in block:
                    number += 1
                    if not line.strip():
                        continue
                    try:
                        payload = self._payload(line)
                    except (ValueError, BadRequest) as error:
                        self._send(numbers, payloads)
                        numbers, payloads, size = [], [], 0
                        self._add([number], _failed(error))
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
            self.close()

    def _payload(self, line: bytes) -> bytes:
        """A line as arguments. Raises `BadRequest`, or ValueError for what is no text."""
        if self._form == "text":
            return encode_json([[line.decode().rstrip("\r\n")], {}])
        try:
            value = json.loads(line)
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
            payload = calls.pack_many(payloads)
            future = self._executor.submit_payload(self._name, payload, len(payloads))
            self._add(numbers, future, counted=True)
            self._sent += 1
            if self._adaptive and self._sent == PROBES:  # it is worth to know how long they take before many go alone
                try:
                    future.exception(PROBE_SECONDS)
                except (FuturesTimeout, CancelledError):
                    pass

    def _has_room(self, count: int) -> bool:
        """Wait until so many calls more may be under way; returns False when nobody wants them any more."""
        with self._news:
            while self._under_way and self._under_way + count > WINDOW and not self._ended:
                self._news.wait()
            self._under_way += count
            return not self._ended

    def _add(self, numbers: list[int], future: Future[Any], counted: bool = False) -> None:
        if not counted and not self._has_room(len(numbers)):
            return
        with self._news:
            self._chunks.append(Chunk(numbers, future))
            self._news.notify_all()


def _blocks_of_lines(descriptor: int) -> Iterator[list[bytes]]:
    """Lines, as many at a time as there are: not through a buffer, which would wait for more."""
    rest = b""
    while block := os.read(descriptor, BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        if lines:
            yield lines
    if rest:
        yield [rest]


def _failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
