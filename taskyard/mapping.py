"""`Cluster.map`: calls over endless inputs, results in their order, many short calls in one task.

Calls are made as results are taken, and a bounded number is under way. How many calls one task gets follows from how
long calls have taken so far: tasks of about `CHUNK_SECONDS`, so that a failure or a slow worker concerns little.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FuturesTimeout
from math import inf
from typing import Any

from taskyard.calls import OneOutcome
from taskyard.codec import decode, decode_error
from taskyard.errors import PayloadTooLarge

WINDOW = 20_000
"""Calls that are under way at the same time, at most, where the caller says nothing."""
CHUNK_SECONDS = 0.05
LONGEST_CHUNK = 1000
CHUNK_BYTES = 1024 * 1024
"""Arguments, or results, of one task of many calls, about."""
WINDOW_BYTES = 64 * 1024 * 1024
"""Arguments that are under way at the same time, about."""
PROBES = 32
"""Calls that go alone, until it is known how long they take."""
PROBE_SECONDS = 0.02
"""What is waited for that; calls that take longer go alone anyway."""
AT_ONCE_SECONDS = 0.2
"""For how long `Mapping` takes calls from its source before anybody has asked for a result."""
SLOW_SOURCE = 0.001
"""Seconds; what a source took so long to bring is not held back to make a chunk full."""

Submit = Callable[[list[bytes]], Future[tuple[float, list[OneOutcome]]]]


class Mapping(Iterator[Any]):
    """An iterator over results, in the order of their calls.

    ``calls``: encoded arguments, or the exception with which encoding them has failed. ``submit``: makes one task of many
    calls. ``chunksize``: calls in a task; 0: by how long they take. ``window``: calls under way, at most. ``deadline``:
    monotonic seconds; TimeoutError for a result that has not come by then. ``at_once``: the calls are there, so the whole
    window is filled now, however long that takes; else for `AT_ONCE_SECONDS`.
    """

    def __init__(
        self,
        calls: Iterable[bytes | Exception],
        submit: Submit,
        chunksize: int,
        window: int,
        deadline: float | None,
        at_once: bool,
    ) -> None:
        self._calls = iter(calls)
        self._submit = submit
        self._adaptive = not chunksize
        self._size = chunksize or 1
        self._window = window
        self._deadline = deadline
        self._under_way = 0
        self._bytes_under_way = 0
        self._chunk: list[bytes] = []
        self._chunk_bytes = 0
        self._sent: deque[tuple[Future[tuple[float, list[OneOutcome]]] | Exception, list[bytes], int]] = deque()
        self._outcomes: deque[OneOutcome | Exception] = deque()
        self._ended = False
        self._unlearned: deque[Future[tuple[float, list[OneOutcome]]]] = deque()
        until = time.monotonic() + AT_ONCE_SECONDS if not at_once else inf
        while not self._ended and self._has_room() and time.monotonic() < until:
            self._take_call()
        self._send()

    def __next__(self) -> Any:
        try:
            self._fill()
            while not self._outcomes:
                if not self._sent:
                    raise StopIteration
                self._receive()
            self._under_way -= 1
            outcome = self._outcomes.popleft()
            if isinstance(outcome, Exception):
                raise outcome
            returned, value = outcome
            if returned:
                return decode(value)
            raise decode_error(value, "")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Cancel what is under way; there are no more results."""
        self._ended = True
        self._chunk.clear()
        self._outcomes.clear()
        self._unlearned.clear()
        while self._sent:
            future, _, _ = self._sent.popleft()
            if isinstance(future, Future):
                future.cancel()

    def __del__(self) -> None:
        self.close()

    # Calls out

    def _has_room(self) -> bool:
        return self._under_way < self._window and self._bytes_under_way < WINDOW_BYTES

    def _fill(self) -> None:
        """Take calls while there is room; stop once the next result is there, so that a slow source holds nothing up."""
        while not self._ended and self._has_room():
            if self._next_is_there() and self._under_way >= self._window // 2:
                break
            self._take_call()
            if self._next_is_there():
                break
        if self._ended or not self._next_is_there():
            self._send()

    def _next_is_there(self) -> bool:
        if self._outcomes:
            return True
        future = self._sent[0][0] if self._sent else None
        return isinstance(future, Exception) or (future is not None and future.done())

    def _take_call(self) -> None:
        started = time.monotonic()
        try:
            call = next(self._calls)
        except StopIteration:
            self._ended = True
            return
        self._under_way += 1
        if isinstance(call, Exception):
            self._send()
            self._sent.append((call, [], 0))
            return
        self._chunk.append(call)
        self._chunk_bytes += len(call)
        self._bytes_under_way += len(call)
        slow = time.monotonic() - started > SLOW_SOURCE
        if len(self._chunk) >= self._size or self._chunk_bytes >= CHUNK_BYTES or slow:
            self._send()

    def _send(self) -> None:
        if not self._chunk:
            return
        chunk, size, self._chunk, self._chunk_bytes = self._chunk, self._chunk_bytes, [], 0
        try:
            future = self._submit(chunk)
        except RuntimeError as error:
            raise RuntimeError(f"{error}: map makes calls as its results are taken, so take them inside the with block") from None
        # Of a single call the arguments are not needed any more.
        self._sent.append((future, chunk if len(chunk) > 1 else [b""], size))
        if self._adaptive:
            self._unlearned.append(future)
            self._learn(PROBE_SECONDS if len(self._unlearned) == PROBES else 0.0)

    def _learn(self, seconds: float) -> None:
        """Find the size of the next tasks by how long former ones took; wait so many seconds for the next one of them."""
        while self._unlearned:
            future = self._unlearned[0]
            try:
                failed = future.exception(seconds)
            except FuturesTimeout:
                return
            except CancelledError:
                failed = None
            self._unlearned.popleft()
            if failed is None and not future.cancelled():
                self._size = min(next_size(self._size, *future.result()), max(1, self._window // 8))

    # Results in

    def _receive(self) -> None:
        future, chunk, size = self._sent.popleft()
        self._bytes_under_way -= size
        if isinstance(future, Exception):
            self._outcomes.append(future)
            return
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        try:
            _, outcomes = future.result(left)
            self._outcomes.extend(outcomes)
        except FuturesTimeout:
            future.cancel()
            raise
        except Exception as error:  # of the task as a whole: each of its calls has it
            if len(chunk) > 1 and was_too_large(error):  # together they were
                self._sent.extendleft((self._submit([call]), [b""], 0) for call in reversed(chunk))
            else:
                self._outcomes.extend([error] * len(chunk))


def was_too_large(error: Exception) -> bool:
    """Whether a task failed for the size of its arguments, or (then the worker's words say so) of its value."""
    return isinstance(error, PayloadTooLarge) or PayloadTooLarge.__name__ in str(error)


def next_size(size: int, seconds: float, outcomes: list[OneOutcome]) -> int:
    """How many calls the next task should have, after tasks of ``size`` of which one took so long and returned this."""
    returned = sum(len(value) for _, value in outcomes)
    fitting = int(len(outcomes) * min(CHUNK_SECONDS / max(seconds, 1e-9), CHUNK_BYTES / max(returned, 1)))
    return max(1, min(fitting, 2 * size + 30, LONGEST_CHUNK))
