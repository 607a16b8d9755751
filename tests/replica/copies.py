"""What tests do to copies of a queue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from master import sql
from master.replica.store import ReplicaStore
from master.store import FILE, Store
from tests.nats_member import content

Make = Callable[[str], ReplicaStore]
"""Makes the store of a folder."""


def leading(store: ReplicaStore) -> ReplicaStore:
    store.lead("test", "0")
    return store


def put(store: Store, seq: int, size: int = 10) -> None:
    """Add an item of so many bytes, and commit."""
    store.change(sql.ADD_ITEM, seq, "task", b"x" * size)
    store.commit()


def items(store: Store) -> list[int]:
    return [seq for seq, _ in store.rows(sql.ITEMS, "task", 0, -1)]


def kept_beside(store: ReplicaStore) -> list[Path]:
    """Former files of a store that was made anew."""
    return list(store.path.parent.glob(f"{FILE}.[0-9]*"))


def same(one: ReplicaStore, other: ReplicaStore) -> bool:
    """Whether two stores have the same content; closes them."""
    for store in (one, other):
        store.close()
    return content(one.path) == content(other.path)
