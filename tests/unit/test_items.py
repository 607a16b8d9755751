"""The tutorial's two queues: when an item that was handed out is dealt with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from master.items import Items
from master.ready import Item
from master.store import Store
from taskyard.errors import QueueFull


@pytest.fixture
def items(tmp_path: Path) -> Iterator[Items]:
    with closing(Store(tmp_path)) as store:
        yield Items(store, bound=1, payload_limit=1000)


def taken(items: Items, connection: str) -> Item:
    item = items.get(connection, "task")
    assert item is not None
    return item


def test_an_item_is_dealt_with_once_its_worker_has_answered(items: Items) -> None:
    items.put("master", "task", "work")
    taken(items, "worker")
    items.put("worker", "result", "answer")
    items.closed("worker")
    assert items.get("another", "task") is None


def test_an_item_whose_answer_finds_no_room_is_not_dealt_with(items: Items) -> None:
    items.put("master", "result", "nobody has read this yet")
    items.put("master", "task", "work")
    item = taken(items, "worker")
    with pytest.raises(QueueFull):
        items.put("worker", "result", "answer")
    items.closed("worker")
    assert taken(items, "another") == item
