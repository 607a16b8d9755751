"""A backup is the store as it was at one moment, whole, and the queue goes on meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from master.backup_copy import KEPT_SECONDS
from master.engine import Engine
from master.store import FILE, Store
from taskyard.errors import BadRequest, StoreFull
from taskyard.transport import RemoteQueue
from tests.harness import Harness, done, task

PIECE = 10_000


def pieces(queue: RemoteQueue, token: str) -> Iterator[bytes]:
    offset = 0
    while piece := queue.backup(token, offset, PIECE):
        yield piece
        offset += len(piece)


def restored(copy: bytes, folder: Path) -> dict[str, int]:
    """What a master that begins with it counts."""
    folder.mkdir()
    (folder / FILE).write_bytes(copy)
    with closing(Store(folder)) as store:
        counts = Engine(store).stats()
    return {state: counts[state] for state in ("ready", "delayed", "done", "failed", "cancelled")}


def test_a_backup_holds_what_was_durable_when_it_was_begun_and_nothing_that_came_while_it_was_read(
    harness: Harness, tmp_path: Path
) -> None:
    queue = harness.queue
    queue.submit([task(f"t-{n}", payload=b"p" * 500) for n in range(100)])
    for lease in queue.lease("s", 30, 0):
        queue.settle("s", [done(lease)])
    read = pieces(queue, "first")
    copy = next(read)
    queue.submit([task(f"later-{n}", payload=b"p" * 500) for n in range(100)])
    for lease in queue.lease("s", 100, 0):
        queue.settle("s", [done(lease)])
    copy += b"".join(read)
    assert restored(copy, tmp_path / "copy") == {"ready": 70, "delayed": 0, "done": 30, "failed": 0, "cancelled": 0}
    assert queue.stats()["done"] == 130


def test_what_is_leased_is_ready_in_the_backup(harness: Harness, tmp_path: Path) -> None:
    harness.queue.submit([task("a"), task("b")])
    harness.queue.lease("s", 1, 0)
    assert restored(b"".join(pieces(harness.queue, "first")), tmp_path / "copy")["ready"] == 2


def test_a_piece_whose_answer_was_lost_can_be_asked_for_again_and_so_can_the_end(harness: Harness) -> None:
    queue = harness.queue
    queue.submit([task("a")])
    first = queue.backup("first", 0, PIECE)
    queue.submit([task("b")])
    assert queue.backup("first", 0, PIECE) == first
    size = len(first) + sum(map(len, rest(queue, "first", len(first))))
    assert queue.backup("first", size, PIECE) == b""


def rest(queue: RemoteQueue, token: str, offset: int) -> Iterator[bytes]:
    while piece := queue.backup(token, offset, PIECE):
        yield piece
        offset += len(piece)


def test_of_a_backup_that_is_kept_no_more_nothing_is_told(harness: Harness) -> None:
    queue = harness.queue
    queue.submit([task("a")])
    queue.backup("first", 0, PIECE)
    queue.backup("second", 0, PIECE)
    with pytest.raises(BadRequest, match="begin again"):
        queue.backup("first", PIECE, PIECE)
    list(rest(queue, "second", 0))
    with pytest.raises(BadRequest, match="begin again"):
        queue.backup("second", PIECE, PIECE)


def test_a_backup_that_nobody_reads_is_given_up_after_a_minute(harness: Harness) -> None:
    harness.queue.backup("first", 0, PIECE)
    harness.advance(KEPT_SECONDS + 1)
    with pytest.raises(BadRequest, match="begin again"):
        harness.queue.backup("first", PIECE, PIECE)


def test_a_backup_leaves_no_file_behind(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    harness.queue.backup("first", 0, PIECE)
    folder = harness.engine.store.path.parent
    assert {path.name for path in folder.iterdir()} <= {FILE, f"{FILE}-wal"}


def test_without_room_for_a_copy_the_queue_goes_on(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(path: Path) -> None:
        raise StoreFull(f"the disk has no room for a copy at {path}")

    monkeypatch.setattr(harness.engine.store, "copy_to", no_room)
    with pytest.raises(StoreFull, match="no room for a copy"):
        harness.queue.backup("first", 0, PIECE)
    assert harness.queue.submit([task("a")]) == 1
