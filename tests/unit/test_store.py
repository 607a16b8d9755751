"""The queue's file: what keeps it from being used is said in words, and what was committed is on the disk."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from master import sql
from master.engine import Clock, Engine
from master.store import FILE, Store
from taskyard.errors import StoreBroken, StoreFull, TaskyardError
from taskyard.model import END_STATES, OPEN_STATES
from taskyard.series import from_tasks, split_id
from tests.harness import task

PAGE = 4096


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "data")) as opened:
        yield opened


def put(store: Store, seq: int, size: int = 10) -> None:
    """Add an item of so many bytes."""
    store.change(sql.ADD_ITEM, seq, "task", b"x" * size)


def count(store: Store) -> int:
    return len(store.rows(sql.ITEMS, "task", 0, -1))


def make_full(store: Store) -> None:
    """Let the file grow no further, as on a full disk."""
    (pages,) = store.rows("SELECT * FROM pragma_page_count")[0]
    store._db.execute(f"PRAGMA max_page_count={pages}").fetchall()


def make_room(store: Store) -> None:
    store._db.execute("PRAGMA max_page_count=1000000").fetchall()


def used_file(folder: Path) -> Path:
    """A store's file with 200 items, closed."""
    with closing(Store(folder)) as store:
        for seq in range(1, 201):
            put(store, seq, 1000)
        store.commit()
    return folder / FILE


# Opening


def spoil_by_a_newer_release(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=99")


def spoil_by_garbage(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 1000)


def spoil_by_lost_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(10 * PAGE)
        file.write(b"\xff" * 20 * PAGE)


def spoil_by_a_short_copy(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(20 * PAGE)


def spoil_by_a_folder_in_its_place(path: Path) -> None:
    path.unlink()
    path.mkdir()


def spoil_by_a_file_in_the_folders_place(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_text("")


@pytest.mark.parametrize(
    ("spoil", "what", "what_to_do"),
    [
        (
            spoil_by_a_newer_release,
            f"newer release (format 99; this one knows {sql.VERSION})",
            "run that release, or set MASTER_DATA",
        ),
        (spoil_by_garbage, "is damaged", "move it away and restore a backup"),
        (spoil_by_lost_pages, "is damaged", "move it away and restore a backup"),
        (spoil_by_a_short_copy, "is damaged", "move it away and restore a backup"),
        (spoil_by_a_folder_in_its_place, "can't be opened", "writable by the master's user"),
        (spoil_by_a_file_in_the_folders_place, "can't be opened", "writable by the master's user"),
    ],
)
def test_a_file_that_cant_be_used_is_named_with_what_to_do(
    tmp_path: Path, spoil: Callable[[Path], None], what: str, what_to_do: str
) -> None:
    path = used_file(tmp_path / "data")
    spoil(path)
    with pytest.raises(StoreBroken) as refused:
        Store(tmp_path / "data")
    assert all(part in str(refused.value) for part in (str(path), what, what_to_do))


def test_a_newer_releases_file_is_left_as_it_was(tmp_path: Path) -> None:
    path = used_file(tmp_path)
    spoil_by_a_newer_release(path)
    before = path.read_bytes()
    with pytest.raises(StoreBroken):
        Store(tmp_path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_a_file_that_another_master_uses_is_refused_and_the_other_goes_on(store: Store) -> None:
    with pytest.raises(StoreBroken) as refused:
        Store(store.path.parent)
    assert all(part in str(refused.value) for part in (str(store.path), "another master", "set MASTER_DATA"))
    put(store, 1)
    assert store.commit()


def test_a_file_that_was_closed_opens_again_with_all_that_was_committed(tmp_path: Path) -> None:
    used_file(tmp_path)
    with closing(Store(tmp_path)) as store:
        assert count(store) == 200
        assert store.rows("SELECT * FROM pragma_user_version") == [(sql.VERSION,)]


def test_a_file_is_opened_without_writing_to_it_so_that_a_full_disk_is_no_reason_not_to_start(tmp_path: Path) -> None:
    path = used_file(tmp_path)
    before = path.read_bytes()
    Store(tmp_path).close()
    assert path.read_bytes() == before


def test_an_open_file_has_no_shared_memory_file_beside_it(tmp_path: Path) -> None:
    used_file(tmp_path)
    with closing(Store(tmp_path)):
        assert not (tmp_path / f"{FILE}-shm").exists()


def test_a_folder_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "not" / "yet")) as store:
        assert store.path.exists()


@pytest.mark.parametrize("name", [None, "work"])
@pytest.mark.parametrize("job", [None, "job"])
@pytest.mark.parametrize("cause", [None, "exit"])
def test_of_many_failed_tasks_those_that_failed_first_are_found_without_sorting_all(
    store: Store, name: str | None, job: str | None, cause: str | None
) -> None:
    statement = sql.failed(name, job, cause)
    (plan,) = store._db.execute(f"EXPLAIN QUERY PLAN {statement}", ["any"] * (statement.count("?") - 1) + [1]).fetchall()
    assert "USING INDEX task_ended (job=?" in plan[3] if job else "USING INDEX task_failed_first" in plan[3]


# Files of earlier releases


VERSIONS = {1: 8, 2: 8, 3: 10, 4: 10, 5: 10}
"""Beside this file is a store as a master of each left it: dumped, with tasks in each state, so many in rows of their own."""


def file_of_version(version: int, folder: Path) -> Path:
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.executescript(Path(__file__).with_name(f"version_{version}.sql").read_text())
    return folder / FILE


def rows_of_version(version: int, path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of the tables and columns of that version."""
    with closing(sqlite3.connect(":memory:")) as db:
        for index, name in enumerate(("prefix_of", "number_of")):
            db.create_function(name, 1, lambda task_id, index=index: split_id(task_id)[index])
        db.executescript(" ".join(sql.MIGRATIONS[:version]))
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        tables = {name: [row[1] for row in db.execute(f"PRAGMA table_info({name})")] for name in names}
    with closing(sqlite3.connect(path)) as db:
        return {name: db.execute(f"SELECT {', '.join(columns)} FROM {name}").fetchall() for name, columns in tables.items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_of_an_earlier_release_keeps_all_its_rows_and_becomes_one_of_this_release(version: int, tmp_path: Path) -> None:
    path = file_of_version(version, tmp_path)
    before = rows_of_version(version, path)
    for _ in range(2):
        Store(tmp_path).close()
        assert rows_of_version(version, path) == before
    assert len(before["task"]) == VERSIONS[version]
    with closing(Store(tmp_path / "new")) as new, closing(Store(tmp_path)) as migrated:
        schema = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
        assert migrated.rows(schema) == new.rows(schema)
        assert migrated.rows("SELECT * FROM pragma_user_version") == [(sql.VERSION,)]


def test_ids_of_an_earlier_release_are_found_as_they_were(tmp_path: Path) -> None:
    file_of_version(2, tmp_path)
    with closing(Store(tmp_path)) as store:
        engine = Engine(store, clock=Clock(lambda: 1_700_000_010.0, lambda: 0.0))
        ids = ["done-2", "ready-07", "ready-8", "ready-9", "cancelled"]
        assert [row[0] for row in engine.show(ids, True)] == ids
        assert engine.submit(from_tasks([task(task_id) for task_id in (*ids, "ready-7")])) == 1
        assert engine.cancel(["ready-07", "ready-7"]) == 2


def test_a_queue_of_an_earlier_release_goes_on_where_it_was(tmp_path: Path) -> None:
    file_of_version(1, tmp_path)
    with closing(Store(tmp_path)) as store:
        engine = Engine(store, clock=Clock(lambda: 1_700_000_010.0, lambda: 0.0))
        counts = {state: count for state, count in engine.stats().items() if state in (*OPEN_STATES, *END_STATES)}
        assert counts == {"ready": 3, "leased": 0, "delayed": 2, "done": 1, "failed": 1, "cancelled": 1}
        results = [result[:2] for result in engine.results("after", 0, 10)]
        assert results == [(2, "done"), (4, "cancelled")]
        leased = [(lease[0], lease[5]) for lease in engine.lease("c", "s", 10, None) or []]
        assert leased == [("leased", [b"pleased"]), ("ready", [b"pready"]), ("ready too", [b"pready too"])]
        assert engine.jobs(None, 10, 0) == [("after", 0.0, 4, 1, 0, 1), ("first", 0.0, 4, 0, 1, 0)]
        assert [found[-1] for found in engine.find(None, None, 10, 0)] == [0.0] * 8
        assert engine.forget("after") == 2
        assert engine.jobs("after", 10, 0) == [("after", 0.0, 2, 0, 0, 0)]
        assert engine.items.counts() == {"task": 1, "result": 0}


def test_a_file_that_could_not_be_brought_to_this_release_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of_version(1, tmp_path)
    before = rows_of_version(1, path)
    monkeypatch.setattr(sql, "MIGRATIONS", (*sql.MIGRATIONS, "DELETE FROM task; INSERT INTO no_such_table VALUES (1);"))
    monkeypatch.setattr(sql, "VERSION", sql.VERSION + 1)
    with pytest.raises(StoreBroken, match="no_such_table"):
        Store(tmp_path)
    monkeypatch.undo()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert rows_of_version(1, path) == before
    Store(tmp_path).close()


# Committing


def test_a_commit_is_on_the_disk_when_it_returns(store: Store) -> None:
    assert store.rows("SELECT * FROM pragma_journal_mode") == [("wal",)]
    # 2: FULL. With NORMAL, WAL loses the last commits when the power fails.
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_master_killed_between_two_commits_keeps_the_first(store: Store, tmp_path: Path) -> None:
    put(store, 1)
    store.commit()
    put(store, 2)
    # A copy is what a killed process leaves behind; its lock is gone with it.
    shutil.copytree(store.path.parent, tmp_path / "killed")
    with closing(Store(tmp_path / "killed")) as left:
        assert [row[0] for row in left.rows(sql.ITEMS, "task", 0, 10)] == [1]


def test_a_commit_tells_whether_there_was_anything_to_commit(store: Store) -> None:
    assert not store.commit()
    count(store)
    assert not store.commit()
    put(store, 1)
    assert store.commit()
    assert not store.commit()


def test_a_rollback_forgets_every_change_since_the_last_commit(store: Store) -> None:
    put(store, 1)
    store.commit()
    put(store, 2)
    store.change_many(sql.ADD_ITEM, [(3, "task", b""), (4, "task", b"")])
    assert store.rows("DELETE FROM item WHERE seq = 1 RETURNING seq") == [(1,)]
    store.rollback()
    assert [row[0] for row in store.rows(sql.ITEMS, "task", 0, 10)] == [1]
    assert not store.commit()


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.change(sql.ADD_ITEM, 2, "task", b""),
        lambda store: store.change_many(sql.ADD_ITEM, [(2, "task", b""), (3, "task", b"")]),
        lambda store: store.rows("DELETE FROM item RETURNING seq"),
        lambda store: store.row("DELETE FROM item RETURNING seq"),
    ],
    ids=["change", "change_many", "rows", "row"],
)
def test_no_change_of_any_kind_is_made_before_the_commit(change: Callable[[Store], object], store: Store) -> None:
    put(store, 1)
    store.commit()
    change(store)
    store.rollback()
    assert [row[0] for row in store.rows(sql.ITEMS, "task", 0, 10)] == [1]
    change(store)
    assert store.commit()


def test_a_change_tells_how_many_rows_it_met(store: Store) -> None:
    assert store.change_many(sql.ADD_ITEM, [(1, "task", b""), (2, "task", b"")]) == 2
    assert store.change(sql.REMOVE_ITEM, 1) == 1
    assert store.change(sql.REMOVE_ITEM, 1) == 0
    assert store.row("SELECT seq FROM item") == (2,)
    assert store.row("SELECT seq FROM item WHERE seq = 1") is None


# Troubles on the way


def test_a_full_disk_refuses_a_whole_transaction_until_there_is_room(store: Store) -> None:
    put(store, 1)
    store.commit()
    make_full(store)
    put(store, 2)
    with pytest.raises(StoreFull) as refused:
        put(store, 3, 100 * PAGE)
    store.rollback()
    assert all(part in str(refused.value) for part in (str(store.path), "full", "free some space"))
    assert count(store) == 1
    make_room(store)
    put(store, 3, 100 * PAGE)
    assert store.commit()


def test_a_full_disk_still_reads_and_takes_what_fits(store: Store) -> None:
    put(store, 1)
    store.commit()
    make_full(store)
    with pytest.raises(StoreFull):
        put(store, 2, 100 * PAGE)
    store.rollback()
    assert count(store) == 1
    assert store.change(sql.REMOVE_ITEM, 1) == 1
    assert store.commit()


def test_a_file_that_cant_be_written_is_named_with_what_to_do(store: Store) -> None:
    store._db.execute("PRAGMA query_only=1")
    with pytest.raises(StoreBroken) as refused:
        put(store, 1)
    assert all(part in str(refused.value) for part in (str(store.path), "can't be written", "mount it read-write"))


def test_any_other_trouble_names_the_file(store: Store) -> None:
    with pytest.raises(StoreBroken) as refused:
        store.rows("SELECT * FROM no_such_table")
    assert all(part in str(refused.value) for part in (str(store.path), "no_such_table"))


# Space


def test_space_of_what_was_deleted_is_given_back_step_by_step(tmp_path: Path) -> None:
    path = used_file(tmp_path)
    full = path.stat().st_size
    with closing(Store(tmp_path)) as store:
        assert store.size() >= full
        store.change("DELETE FROM item")
        store.commit()
        store.give_back_space(5)
    assert path.stat().st_size == full - 5 * PAGE
    with closing(Store(tmp_path)) as store:
        store.give_back_space(1000)
    assert path.stat().st_size < full / 2


def test_the_file_of_a_store_in_use_becomes_shorter_once_nothing_is_left_to_give_back(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        put(store, 1, 2000 * PAGE)
        store.commit()
        full = store.size()
        store.change("DELETE FROM item")
        store.commit()
        for _ in range(5):
            store.give_back_space(1000)
        assert store.size() < full / 10


def test_one_huge_transaction_does_not_make_the_log_large_for_ever(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        put(store, 1, 10_000 * PAGE)
        store.commit()
        huge = store.size() - store.path.stat().st_size
        for seq in (2, 3, 4):
            put(store, seq)
            store.commit()
        assert store.size() - store.path.stat().st_size < huge / 2


def test_there_is_room_while_the_disk_has_more_than_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Store(tmp_path)) as opened:
        found = []
        for asked in (1, 2**62):
            monkeypatch.setattr("master.store.ROOM_BYTES", asked)
            opened._look_again = 0.0
            found.append(opened.has_room())
        monkeypatch.setattr("master.store.ROOM_BYTES", 1)
        assert [*found, opened.has_room()] == [True, False, False]  # it looks once a second


def test_a_disk_of_which_nothing_can_be_learned_counts_as_one_without_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError("stale file handle")

    with closing(Store(tmp_path)) as opened, monkeypatch.context() as patched:
        patched.setattr("os.statvfs", fail)
        assert not opened.has_room()


# Copies


def test_a_copy_holds_what_is_committed_and_opens_as_a_store(store: Store, tmp_path: Path) -> None:
    put(store, 1)
    store.commit()
    (tmp_path / "copy").mkdir()
    store.copy_to(tmp_path / "copy" / FILE)
    put(store, 2)
    store.commit()
    with closing(Store(tmp_path / "copy")) as copy:
        assert count(copy) == 1
    assert [path.name for path in (tmp_path / "copy").iterdir()] == [FILE]


def test_a_copy_that_cannot_be_written_leaves_the_former_one(store: Store, tmp_path: Path) -> None:
    put(store, 1)
    store.commit()
    path = tmp_path / "copy.db"
    path.write_bytes(b"the former one")
    (tmp_path / "copy.db.new").mkdir()
    with pytest.raises(TaskyardError, match="can't be copied to"):
        store.copy_to(path)
    assert path.read_bytes() == b"the former one"
