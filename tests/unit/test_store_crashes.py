"""The queue's file after a crash or a failure of its disk: what was committed before is there, or it is said that it is not."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from master import sql
from master.store import FILE, Store
from taskyard.errors import StoreBroken

WAL = FILE + "-wal"
PAGE = 4096


def seqs(store: Store) -> list[int]:
    return [seq for seq, _ in store.rows(sql.ITEMS, "task", 0, -1)]


def killed(store: Store, folder: Path) -> Path:
    """What is left of the store's folder when its process is killed now: a copy, since its lock goes with it."""
    shutil.copytree(store.path.parent, folder)
    return folder


@pytest.mark.parametrize("part", [n / 8 for n in range(9)])
def test_a_power_cut_within_the_last_commit_costs_no_other_commit_and_leaves_no_half_of_it(part: float, tmp_path: Path) -> None:
    with closing(Store(tmp_path / "data")) as store:
        for seq in range(1, 6):
            store.change(sql.ADD_ITEM, seq, "task", b"x" * 10)
            store.commit()
        before = (tmp_path / "data" / WAL).stat().st_size
        store.change_many(sql.ADD_ITEM, [(seq, "task", b"x" * PAGE) for seq in (6, 7, 8)])
        store.commit()
        left = killed(store, tmp_path / "left")
    after = (left / WAL).stat().st_size
    assert after > before
    os.truncate(left / WAL, before + int(part * (after - before)))
    with closing(Store(left)) as store:
        assert seqs(store) == ([1, 2, 3, 4, 5, 6, 7, 8] if part == 1 else [1, 2, 3, 4, 5])


def test_what_was_not_committed_is_gone_though_it_no_longer_fitted_into_memory(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "data")) as store:
        store.change(sql.ADD_ITEM, 1, "task", b"")
        store.commit()
        store._db.execute("PRAGMA cache_size=10")
        store.change_many(sql.ADD_ITEM, [(seq, "task", b"x" * PAGE) for seq in range(2, 200)])
        left = killed(store, tmp_path / "left")
    assert (left / WAL).stat().st_size > 100 * PAGE
    with closing(Store(left)) as store:
        assert seqs(store) == [1]


@pytest.mark.parametrize("step", ["nothing written", "first page written", "journal changed"])
def test_a_file_whose_making_was_cut_short_is_made_anew(step: str, tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        if step != "nothing written":
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")
            db.execute("PRAGMA journal_mode=WAL" if step == "journal changed" else "VACUUM")
    with closing(Store(tmp_path)) as store:
        store.change(sql.ADD_ITEM, 1, "task", b"")
        assert store.commit()
        assert seqs(store) == [1]
        assert store.rows("SELECT * FROM pragma_auto_vacuum") == [(2,)]  # incremental: space is given back


def test_damage_in_a_file_too_large_to_be_read_through_is_told_when_it_is_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Store(tmp_path)) as store:
        store.change_many(sql.ADD_ITEM, [(seq, "task", b"x" * 1000) for seq in range(1, 201)])
        store.commit()
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(30 * PAGE)
        file.write(b"\xff" * 20 * PAGE)
    monkeypatch.setattr("master.store.CHECKED_BYTES", 0)
    with closing(Store(tmp_path)) as store:
        with pytest.raises(StoreBroken) as met:
            seqs(store)
    assert all(part in str(met.value) for part in (str(tmp_path / FILE), "is damaged", "restore a backup"))


def test_a_store_that_was_refused_keeps_no_lock(tmp_path: Path) -> None:
    Store(tmp_path).close()
    for version in (99, sql.VERSION):
        with closing(sqlite3.connect(tmp_path / FILE, timeout=0)) as db:
            db.execute(f"PRAGMA user_version={version}")
        if version == 99:
            with pytest.raises(StoreBroken) as refused:
                Store(tmp_path)
    assert "newer release" in str(refused.value)  # with its traceback, it still holds what it refused
    Store(tmp_path).close()
