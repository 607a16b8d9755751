"""What reading one message may take of memory."""

from __future__ import annotations

import pickle
import resource
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from master import ration

ROOT = Path(__file__).parents[2]

LIMITS = resource.getrlimit(resource.RLIMIT_DATA)
HUGE = {
    "a table of 32 GB": b"\x80\x04]r" + struct.pack("<I", 2**31 - 1) + b".",
    "a table of 1 GB": b"\x80\x04]r" + struct.pack("<I", 2**26) + b".",
    "a table of 1 GB, told in digits": b"]p67108864\n.",
    "4 GB of text": b"\x80\x04\x8d" + struct.pack("<Q", 2**32) + b"x.",
    "8 EB of bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**63 - 100) + b"x.",
    "600 MB of empty sets": b"\x80\x04(" + b"\x8f" * 3_000_000 + b"t.",
}


@pytest.fixture(autouse=True)
def limits_are_as_before() -> Iterator[None]:
    """Whatever was read, the process may take as much as before."""
    yield
    assert resource.getrlimit(resource.RLIMIT_DATA) == LIMITS


@pytest.mark.parametrize("message", HUGE.values(), ids=HUGE)
def test_a_message_that_would_take_hundreds_of_megabytes_is_not_read(message: bytes) -> None:
    with pytest.raises((MemoryError, pickle.UnpicklingError, OverflowError)):
        ration.load(message)


IN_LITTLE_MEMORY = """
import pickle, resource
from pathlib import Path
from master import ration

message = b"\\x80\\x04(" + b"\\x8f" * 500_000 + b"t."  # 100 MB of empty sets
resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
ration.memory = (resident + 50_000_000) / ration.SHARE
try:
    print(len(ration.load(message)))
except MemoryError:
    print("refused")
ration.memory = 0
honest = [b"x" * 16_000_000]
print(ration.load(pickle.dumps(honest, protocol=5)) == honest)
ration.memory = float("inf")
print(len(ration.load(message)))
"""


def test_in_a_container_with_little_memory_less_is_read_than_would_be_its_end() -> None:
    """In a process of its own: another may have 100 MB at hand that it had before."""
    ended = subprocess.run([sys.executable, "-c", IN_LITTLE_MEMORY], cwd=ROOT, text=True, capture_output=True)
    assert ended.stdout.split() == ["refused", "True", "500000"], ended.stderr


@pytest.mark.parametrize(
    "value",
    [b"x" * 100_000_000, ["text"] * 1_000_000, [f"text {number}" for number in range(1_000_000)], {"a": [1, 2.5, None, ("y",)]}],
    ids=["bytes", "the same text", "short texts", "plain data"],
)
def test_a_message_of_a_size_that_honest_clients_send_is_read(value: object) -> None:
    assert ration.load(pickle.dumps(value, protocol=5)) == value


def test_messages_that_threads_read_at_the_same_time_are_bounded_each() -> None:
    message, good = HUGE["a table of 1 GB"], pickle.dumps(("queue", "stats", (), {}))
    refused: list[type[BaseException]] = []

    def read() -> None:
        for _ in range(200):
            assert ration.load(good)[1] == "stats"
            try:
                ration.load(message)
            except MemoryError as error:
                refused.append(type(error))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(refused) == 8 * 200
