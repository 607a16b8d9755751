"""`Cluster.map`: calls over endless inputs, results in their order, many short calls in one task.

Calls are made as results are taken, and a bounded number is under way. How many calls one task gets follows from how
long calls have taken so far: tasks of about `CHUNK_SECONDS`, so that a failure or a slow worker concerns little.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, islice
from math import inf
from typing import Any

from taskyard.calls import OneOutcome, pack_many, pack_plain, unpack, unpack_values
from taskyard.codec import PLAIN, decode, decode_error
from taskyard.errors import PayloadTooLarge
from taskyard.futures import Block

WINDOW = 100_000
"""Calls that are under way at the same time, at most, where the caller says nothing."""
CHUNK_SECONDS = 0.05
LONGEST_CHUNK = 5000
CHUNK_BYTES = 1024 * 1024
"""Arguments, or results, of one task of many calls, about."""
WINDOW_BYTES = 64 * 1024 * 1024
"""Arguments that are under way at the same time, about."""
PROBES = 32
"""Calls that go alone, until it is known how long they take."""
PROBE_SECONDS = 0.02
"""What is waited for that; calls that take longer go alone anyway."""
AT_ONCE_SECONDS = 0.2
"""For how long calls are taken from their source before anybody has asked for a result."""
SLOW_SOURCE = 0.001
"""Seconds; what a source took so long to bring is not held back to make a chunk full."""
AT_HAND = (list, tuple, range, str, bytes, dict, set, frozenset, deque)
"""What these hold is there: it may be taken many at a time."""
LONGEST_BLOCK = 500
"""Calls that are taken at a time, or results, where each is a task of its own."""
NUMBERS = frozenset((int, float, bool, type(None)))
PLAIN_BYTES = 8
"""What a plain argument takes, beside the length of a text, about."""

Arguments = tuple[Any, ...]
Send = Callable[[list[bytes], int, Block | None], Block]


class Unsent(Block):
    """Stands for a call that can't be sent."""

    __slots__ = ()

    def __init__(self, error: Exception) -> None:
        self.first = 0
        self.ends = [error]

    def cancel(self) -> None:
        """There is nothing to cancel."""


class Part:
    """Calls that were sent together: each a task of its own, or all of them one task."""

    __slots__ = ("_many", "block", "count", "payload", "size")

    def __init__(self, block: Block, count: int, size: int, payload: bytes = b"") -> None:
        self.block = block
        self.count = count
        self.size = size
        """Bytes of arguments."""
        self.payload = payload
        """Of one task of several calls, which may have to go one by one."""
        self._many: tuple[float, list[Any], bool] | None = None

    def may_grow(self) -> bool:
        """Whether more calls may join them, each a task of its own."""
        return self.size < CHUNK_BYTES and not isinstance(self.block, Unsent)

    def many(self) -> tuple[float, list[Any], bool]:
        """Of one task of many that has returned: see `taskyard.calls.unpack_values`."""
        if self._many is None:
            end = self.block.ends[0]
            assert isinstance(end, bytes)
            self._many = unpack_values(end)
        return self._many


class Mapping:
    """The calls of one map, on their way.

    ``source``: their arguments; ``at_hand``: it waits for nothing, however many are taken. ``encode``: arguments as bytes.
    ``send``: makes tasks of payloads, which are so many calls (see `taskyard.exchange.Exchange.add_block`). ``chunksize``:
    calls in a task; 0: by how long they take. ``window``: calls under way, at most.
    """

    def __init__(
        self,
        source: Iterator[Arguments],
        encode: Callable[[Arguments], bytes],
        send: Send,
        chunksize: int,
        window: int,
        at_hand: bool,
    ) -> None:
        self._source = source
        self._left: list[Arguments] = []
        """Taken from the source, and not sent for want of room."""
        self._encode = encode
        self._make_tasks = send
        self._alone = chunksize == 1
        self._adaptive = not chunksize
        self._size = chunksize or 1
        self._window = window
        self._slice = max(1, min(LONGEST_BLOCK, window // 8))
        self._at_hand = at_hand
        self._under_way = 0
        self._bytes_under_way = 0
        self._chunk: list[Arguments | bytes] = []
        self._chunk_bytes = 0
        self._sent: deque[Part] = deque()
        self._position = 0
        """In the first part: of the next end, where each call is a task of its own."""
        self._unlearned: deque[Part] = deque()
        self._ended = False
        self._deadline: float | None = None

    def begin(self, deadline: float | None, at_once: bool) -> Iterator[Any]:
        """The results, in the order of their calls. Closing it, or dropping it, cancels what is under way.

        ``deadline``: monotonic seconds; TimeoutError for a result that has not come by then. ``at_once``: the whole window is
        filled now, however long that takes; else for `AT_ONCE_SECONDS`.
        """
        self._deadline = deadline
        results = self._results(inf if at_once else time.monotonic() + AT_ONCE_SECONDS)
        next(results)
        return results

    def _results(self, until: float) -> Iterator[Any]:
        try:
            while not self._ended and self._has_room() and time.monotonic() < until:
                self._take()
            self._send()
            yield None  # begun: from now on, closing this cancels
            while True:
                self._fill()
                if not self._sent:
                    return
                if self._alone:
                    yield from self._values_alone()
                else:
                    yield from self._values_of_many()
        finally:
            self._close()

    def _close(self) -> None:
        self._ended = True
        for part in self._sent:
            part.block.cancel()
        self._sent.clear()

    # Calls out

    def _has_room(self) -> bool:
        return self._under_way < self._window and self._bytes_under_way < WINDOW_BYTES

    def _fill(self) -> None:
        """Take calls while there is room; stop once the next result is there, so that a slow source holds nothing up."""
        until = time.monotonic() + SLOW_SOURCE
        while not self._ended and self._has_room():
            enough = self._under_way >= self._window // 2 or time.monotonic() > until
            if enough and not self._at_hand and self._next_is_there():
                break
            self._take()
        if self._ended or not self._next_is_there():
            self._send()

    def _next_is_there(self) -> bool:
        return bool(self._sent) and self._sent[0].block.ends[self._position] is not None

    def _take(self) -> None:
        """Take some calls from the source: many only from one that has them at hand."""
        started = time.monotonic()
        wanted = max(1, self._longest() - len(self._chunk)) if self._at_hand else 1
        taken = self._left or list(islice(self._source, min(wanted, self._window - self._under_way)))
        self._left = []
        if not taken:
            self._ended = True
        elif not self._alone and NUMBERS.issuperset(map(type, chain.from_iterable(taken))):
            self._chunk.extend(taken)
            self._note_taken(len(taken), PLAIN_BYTES * len(taken))
        else:
            self._take_each(taken)
        slow = not self._at_hand and time.monotonic() - started > SLOW_SOURCE
        if self._alone or slow or self._is_full():
            self._send()

    def _take_each(self, taken: list[Arguments]) -> None:
        for index, args in enumerate(taken):
            if self._bytes_under_way >= WINDOW_BYTES:
                self._left = taken[index:]
                return
            try:
                call, size = self._prepared(args)
            except Exception as error:
                self._send()
                self._sent.append(Part(Unsent(error), 1, 0))
                self._note_taken(1, 0)
                continue
            self._chunk.append(call)
            self._note_taken(1, size)
            if self._is_full():
                self._send()

    def _prepared(self, args: Arguments) -> tuple[Arguments | bytes, int]:
        """Arguments as they may wait, and their size: encoded, unless nobody can change them, and they may go with others."""
        if not self._alone and PLAIN.issuperset(map(type, args)):
            return args, sum(PLAIN_BYTES + len(one) if isinstance(one, str | bytes) else PLAIN_BYTES for one in args)
        payload = self._encode(args)
        return payload, len(payload)

    def _note_taken(self, count: int, size: int) -> None:
        self._under_way += count
        self._bytes_under_way += size
        self._chunk_bytes += size

    def _longest(self) -> int:
        return LONGEST_BLOCK if self._alone else self._size

    def _is_full(self) -> bool:
        return len(self._chunk) >= self._longest() or self._chunk_bytes >= CHUNK_BYTES

    def _send(self) -> None:
        if not self._chunk:
            return
        chunk, size, self._chunk, self._chunk_bytes = self._chunk, self._chunk_bytes, [], 0
        last = self._sent[-1] if self._sent and self._alone else None
        part = self._part_of(chunk, size, last if last is not None and last.may_grow() else None)
        if part is not last:
            self._sent.append(part)
        if self._adaptive:
            self._unlearned.append(part)
            self._learn(PROBE_SECONDS if len(self._unlearned) == PROBES else 0.0)

    def _part_of(self, chunk: list[Arguments | bytes], size: int, last: Part | None = None) -> Part:
        payloads = chunk if self._alone else [self._payload_of(chunk)]
        try:
            block = self._make_tasks(payloads, len(chunk), last and last.block)  # type: ignore[arg-type]
        except RuntimeError as error:
            raise RuntimeError(f"{error}: map makes calls as its results are taken, so take them inside the with block") from None
        if last is not None and block is last.block:
            last.size += size
            return last
        return Part(block, len(chunk), size, b"" if self._alone or len(chunk) == 1 else payloads[0])  # type: ignore[arg-type]

    def _payload_of(self, chunk: list[Arguments | bytes]) -> bytes:
        if set(map(type, chunk)) == {tuple} and chunk[0]:
            return pack_plain(chunk)  # type: ignore[arg-type]
        return pack_many([self._encode(call) if isinstance(call, tuple) else call for call in chunk])

    def _learn(self, seconds: float) -> None:
        """Find the size of the next tasks by how long former ones took; wait so many seconds for the next one of them."""
        while self._unlearned and self._unlearned[0].block.wait(0, seconds):
            part = self._unlearned.popleft()
            end = part.block.ends[0]
            if isinstance(end, bytes):
                self._size = min(fitting_size(self._size, part.many()[0], part.count, len(end)), max(1, self._window // 8))

    # Results in

    def _wait(self) -> None:
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        if not self._sent[0].block.wait(self._position, left):
            raise TimeoutError

    def _values_alone(self) -> Iterator[Any]:
        """Of calls that are tasks of their own: those that are there, and at least one."""
        self._wait()
        part, begin = self._sent[0], self._position
        ends = part.block.ends[begin : begin + self._slice]
        if None in ends:
            ends = ends[: ends.index(None)]
        part.block.ends[begin : begin + len(ends)] = [None] * len(ends)  # the block may live for long, and values be big
        for end in ends:
            if isinstance(end, bytes):
                yield decode(end)
            else:
                assert end is not None
                raise end
        self._position += len(ends)
        self._under_way -= len(ends)
        if self._position == len(part.block.ends):
            self._bytes_under_way -= part.size
            self._position = 0
            self._sent.popleft()

    def _values_of_many(self) -> Iterator[Any]:
        """Of the next task of many calls."""
        self._wait()
        part = self._sent[0]
        end = part.block.ends[0]
        if not isinstance(end, bytes):  # of the task as a whole: each of its calls has it
            assert end is not None
            if not part.payload or not was_too_large(end):  # together they were
                raise end
            self._sent.popleft()
            self._bytes_under_way -= part.size
            self._sent.extendleft([self._part_of([call], 0) for call in reversed(unpack(part.payload).payloads)])
            return
        _, ends, are_values = part.many()
        if are_values:
            yield from ends
        else:
            for returned, value in ends:
                if not returned:
                    raise decode_error(value, "")
                yield decode(value)
        self._under_way -= part.count
        self._bytes_under_way -= part.size
        self._sent.popleft()


def was_too_large(error: BaseException) -> bool:
    """Whether a task failed for the size of its arguments, or (then the worker's words say so) of its value."""
    return isinstance(error, PayloadTooLarge) or PayloadTooLarge.__name__ in str(error)


def next_size(size: int, seconds: float, outcomes: list[OneOutcome]) -> int:
    """How many calls the next task should have, after tasks of ``size`` of which one took so long and returned this."""
    return fitting_size(size, seconds, len(outcomes), sum(len(value) for _, value in outcomes))


def fitting_size(size: int, seconds: float, count: int, returned: int) -> int:
    """The same after one of ``count`` calls that returned so many bytes."""
    fitting = int(count * min(CHUNK_SECONDS / max(seconds, 1e-9), CHUNK_BYTES / max(returned, 1)))
    return max(1, min(fitting, 2 * size + 30, LONGEST_CHUNK))
