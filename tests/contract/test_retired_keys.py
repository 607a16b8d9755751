"""A key that is taken out of use while a call waits that was made with it."""

from __future__ import annotations

import threading

import pytest

from taskyard.errors import WrongKey
from taskyard.transport import QueueManager, RemoteQueue
from tests.contract.keyed_master import KeyedMaster
from tests.harness import InThread, task, wait_until


def test_who_waits_for_a_task_while_its_key_is_retired_is_given_none(keyed: KeyedMaster) -> None:
    with RemoteQueue(keyed.url, b"the key of the worker", 2.0) as thief, keyed.queue(role="client") as client:
        manager = QueueManager(("127.0.0.1", keyed.port), b"the key of the worker")
        manager.connect()
        thief.connect()
        is_connected = threading.Event()

        def get() -> None:
            tasks = manager.get_task_queue()  # type: ignore[attr-defined]
            tasks.qsize()
            is_connected.set()
            tasks.get(timeout=30)

        waiting = [InThread(lambda: thief.lease("t", 1, 30.0)), InThread(get)]
        assert is_connected.wait(10)
        keyed.write("worker", "a new key")
        wait_until(lambda: client.stats() is not None and "keys have changed" in keyed.log(), "the key is retired", 10)
        client.submit([task("one")])
        items = QueueManager(("127.0.0.1", keyed.port), b"the key of the client")
        items.connect()
        items.get_task_queue().put("one")  # type: ignore[attr-defined]
        for call in waiting:
            with pytest.raises((WrongKey, EOFError, ConnectionError)):
                call.result()
        with keyed.queue(role="worker") as worker:
            assert [lease.id for lease in worker.lease("s", 1, 5.0)] == ["one"]
