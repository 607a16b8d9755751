"""What power loss leaves of SQLite's files: every write and sync recorded beneath it, and the disks that may follow from them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import apsw

from master.store import Store

SECTOR = 512
"""What a disk writes whole or not at all."""
FOLDER = "."
"""Whose sync makes it safe that files were deleted."""
LOGS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
Row = tuple[Any, ...]


class Operation(NamedTuple):
    """What SQLite asked of one file."""

    file: str
    kind: Literal["write", "truncate", "delete", "sync"]
    offset: int = 0
    """Of a write; the new size of a truncated file."""
    data: bytes = b""


class Recorder(apsw.VFS):
    """The system's files, for one database in one folder; ``operations`` has all that changed them, in order.

    ``deaf``: the name of a file whose syncs are not recorded, as if the disk only said that it had written them.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.operations: list[Operation] = []
        self.deaf = ""

    def record(self, operation: Operation) -> None:
        """Note what was done."""
        if operation.kind != "sync" or operation.file != self.deaf:
            self.operations.append(operation)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        assert name is not None, "a temporary file, though temp_store=MEMORY"
        return _RecordedFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.record(Operation(Path(filename).name, "delete"))
        if syncdir:
            self.record(Operation(FOLDER, "sync"))


class _RecordedFile(apsw.VFSFile):
    def __init__(self, recorder: Recorder, name: str | apsw.URIFilename, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._recorder = recorder
        self._name = Path(name if isinstance(name, str) else name.filename()).name
        # With the first sync of a log that it has made, SQLite's unix VFS syncs the folder too.
        self._syncs_folder = bool(flags[0] & LOGS and flags[0] & apsw.SQLITE_OPEN_CREATE)

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._recorder.record(Operation(self._name, "write", offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._recorder.record(Operation(self._name, "truncate", newsize))

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._recorder.record(Operation(self._name, "sync"))
        if self._syncs_folder:
            self._syncs_folder = False
            self._recorder.record(Operation(FOLDER, "sync"))


class RecordedStore(Store):
    """A store whose files a recorder watches."""

    def __init__(self, folder: Path, recorder: Recorder) -> None:
        self._recorder = recorder
        super().__init__(folder)

    def _connect(self) -> Any:
        return _Connection(apsw.Connection(str(self.path), vfs=self._recorder.name))


class _Connection:
    """As much of `sqlite3.Connection` as a store uses."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self.close = db.close

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction

    def execute(self, statement: str, args: Sequence[Any] = ()) -> _Cursor:
        before = self._db.total_changes()
        rows = self._db.execute(statement, args)
        return _Cursor(rows, self._db.total_changes() - before)

    def executemany(self, statement: str, rows: Iterable[Row]) -> _Cursor:
        before = self._db.total_changes()
        made = self._db.executemany(statement, rows)
        return _Cursor(made, self._db.total_changes() - before)

    def executescript(self, script: str) -> None:
        self._db.execute(script).fetchall()

    def create_function(self, name: str, arguments: int, function: Any, *, deterministic: bool) -> None:
        self._db.create_scalar_function(name, function, arguments, deterministic=deterministic)


class _Cursor:
    """As much of `sqlite3.Cursor` as a store uses."""

    def __init__(self, rows: apsw.Cursor, rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def fetchone(self) -> Row | None:
        return self._rows.fetchone()

    def fetchall(self) -> list[Row]:
        return self._rows.fetchall()


class Disk:
    """Files as operations come in: what a sync has made safe, and what has come since."""

    def __init__(self) -> None:
        self._safe: dict[str, bytearray | None] = {}
        self._since: dict[str, list[Operation]] = {}
        self._last: Operation | None = None

    def take(self, operation: Operation) -> None:
        """One more."""
        file = operation.file
        since = self._since.setdefault(file, [])
        if file == FOLDER:
            for name, some in self._since.items():
                deleted = [index for index, one in enumerate(some, 1) if one.kind == "delete"]
                if deleted:
                    self._safe[name] = None
                    del some[: deleted[-1]]
        elif operation.kind == "sync":
            self._safe[file] = _after(self._safe.get(file), since)
            since.clear()
        else:
            since.append(operation)
        self._last = operation

    def left(self, rng: random.Random) -> Iterator[tuple[str, dict[str, bytes]]]:
        """What the power may leave if it goes now: how that is called, and each file's bytes."""
        yield "nothing unsynced landed", self._with({})
        if not any(self._since.values()):
            return
        yield "all landed", self._with(self._since)
        some = {file: [part for one in since for part in _sectors(one)] for file, since in self._since.items()}
        yield (
            "some sectors landed",
            self._with({file: [part for part in parts if rng.random() < 0.5] for file, parts in some.items()}),
        )
        if self._last is not None and self._since[self._last.file]:
            *parts, _ = _sectors(self._last)
            before = self._since[self._last.file][:-1]
            yield (
                "the last one torn",
                self._with({**self._since, self._last.file: [*before, *parts[: rng.randint(0, len(parts))]]}),
            )

    def _with(self, landed: dict[str, list[Operation]]) -> dict[str, bytes]:
        names = self._safe.keys() | landed.keys()
        files = {name: _after(self._safe.get(name), landed.get(name, ())) for name in names}
        return {name: bytes(content) for name, content in files.items() if content is not None}


def _after(content: bytearray | None, operations: Iterable[Operation]) -> bytearray | None:
    """A file's bytes after these operations; None: there is no such file."""
    made = None if content is None else bytearray(content)
    for _, kind, offset, data in operations:
        if kind == "delete":
            made = None
            continue
        made = bytearray() if made is None else made
        if kind == "truncate":
            del made[offset:]
        made.extend(bytes(max(0, offset - len(made))))
        made[offset : offset + len(data)] = data
    return made


def _sectors(operation: Operation) -> Iterator[Operation]:
    """A write cut at the ends of sectors; anything else as it is."""
    if operation.kind != "write":
        yield operation
        return
    begin, end = operation.offset, operation.offset + len(operation.data)
    while begin < end:
        cut = min(end, (begin // SECTOR + 1) * SECTOR)
        yield operation._replace(offset=begin, data=operation.data[begin - operation.offset : cut - operation.offset])
        begin = cut
