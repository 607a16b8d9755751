"""``python -m master backup`` and ``restore``, as an operator types them."""

from __future__ import annotations

import gzip
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from master.store import FILE, Store
from tests.contract.master_process import MasterProcess
from tests.harness import done, task


def run(master: MasterProcess, command: str, given: bytes = b"", code: int = 0) -> subprocess.CompletedProcess[bytes]:
    """Beside this master, with its settings."""
    ended = subprocess.run(
        [sys.executable, "-m", "master", command], cwd=master.folder, env=master.environment(), input=given, capture_output=True
    )
    assert ended.returncode == code, ended.stderr.decode()
    return ended


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[MasterProcess]:
    """A master that was stopped with two tasks, of which one is done."""
    master = MasterProcess(tmp_path / "filled")
    master.start()
    with master.queue() as queue:
        queue.submit([task("a"), task("b")])
        queue.settle("s", [done(lease) for lease in queue.lease("s", 1, 0)])
    master.stop()
    yield master
    master.close()


def counts(master: MasterProcess) -> tuple[int, int]:
    """Its tasks that are ready, and those that are done."""
    with master.queue() as queue:
        told = queue.stats()
    return told["ready"], told["done"]


def test_a_backup_of_a_master_that_runs_can_be_restored_where_there_was_none(filled: MasterProcess, tmp_path: Path) -> None:
    filled.start()
    backup = run(filled, "backup")
    assert b"bytes of a queue" in backup.stderr
    with MasterProcess(tmp_path / "another") as another:
        another.stop()
        (tmp_path / "another/data" / FILE).unlink()
        run(another, "restore", backup.stdout)
        another.start()
        assert counts(another) == (1, 1)


def test_without_a_master_that_runs_the_file_itself_is_copied(filled: MasterProcess) -> None:
    backup = run(filled, "backup")
    filled.start()
    with filled.queue() as queue:
        queue.submit([task("c")])
    filled.kill()
    said = run(filled, "restore", backup.stdout).stdout.decode()
    filled.start()
    assert counts(filled) == (1, 1)
    filled.stop()
    assert "kept as" in said
    (kept,) = (filled.folder / "data").glob(f"{FILE}.*[0-9]")
    kept.replace(kept.with_name(FILE))
    filled.start()
    assert counts(filled) == (2, 1), "what came after the backup is in the file that was kept"


def test_a_queue_in_use_is_not_replaced(filled: MasterProcess) -> None:
    backup = run(filled, "backup").stdout
    filled.start()
    refused = run(filled, "restore", backup, code=74)
    assert b"stop that one first" in refused.stderr
    assert counts(filled) == (1, 1)


def spoil_by_a_short_copy(backup: bytes) -> bytes:
    return backup[: len(backup) // 2]


def spoil_by_one_wrong_byte(backup: bytes) -> bytes:
    return backup[:100] + bytes([backup[100] ^ 1]) + backup[101:]


def spoil_by_no_backup_at_all(backup: bytes) -> bytes:
    return b"an answer of a proxy"


def spoil_by_nothing(backup: bytes) -> bytes:
    return b""


def spoil_by_another_database(backup: bytes) -> bytes:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE other (x)")
        return gzip.compress(db.serialize())


def spoil_by_a_newer_release(backup: bytes) -> bytes:
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(gzip.decompress(backup))
        db.execute("PRAGMA user_version=99")
        return gzip.compress(db.serialize())


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (spoil_by_a_short_copy, "damaged"),
        (spoil_by_one_wrong_byte, "damaged"),
        (spoil_by_no_backup_at_all, "no backup"),
        (spoil_by_nothing, "a database of something else"),
        (spoil_by_another_database, "a database of something else"),
        (spoil_by_a_newer_release, "newer release (format 99"),
    ],
)
def test_what_no_master_could_use_is_refused_and_the_queue_stays_as_it_was(
    filled: MasterProcess, spoil: Callable[[bytes], bytes], why: str
) -> None:
    spoilt = spoil(run(filled, "backup").stdout)
    refused = run(filled, "restore", spoilt, code=74)
    assert why in refused.stderr.decode()
    assert [path.name for path in (filled.folder / "data").iterdir()] == [FILE]
    with closing(Store(filled.folder / "data")) as store:
        assert store.row("SELECT count(*) FROM job") == (1,)


def test_a_damaged_queue_can_be_replaced(filled: MasterProcess) -> None:
    backup = run(filled, "backup").stdout
    (filled.folder / "data" / FILE).write_bytes(b"garbage" * 1000)
    run(filled, "restore", backup)
    filled.start()
    assert counts(filled) == (1, 1)


def test_what_several_masters_shared_is_a_queue_of_its_own_once_it_is_restored(filled: MasterProcess) -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(gzip.decompress(run(filled, "backup").stdout))
        db.executescript(
            "CREATE TABLE replica (applied, born); INSERT INTO replica VALUES (7, 'then'); CREATE TABLE replica_lead (x);"
        )
        shared = gzip.compress(db.serialize())
    run(filled, "restore", shared)
    with closing(sqlite3.connect(filled.folder / "data" / FILE)) as db:
        assert db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'replica%'").fetchall() == []
        assert db.execute("SELECT count(*) FROM job").fetchone() == (1,)


def test_where_there_is_no_queue_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    nothing = MasterProcess(tmp_path / "nothing")
    refused = run(nothing, "backup", code=69)
    nothing.close()
    assert b"Traceback" not in refused.stderr
