"""Taskyard: a master and a worker with two slots, as programs, on a folder of the disk."""

from __future__ import annotations

from pathlib import Path

from bench import cluster
from bench.systems import CHUNKED, FUTURES, SINGLE
from bench.tasks import square


class Ours:
    """See `bench.systems.System`; it keeps everything in any case."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        assert keeps, "there is no way to run it that keeps nothing"
        self._cluster = cluster.start(folder)

    def run(self, way: str, calls: int) -> list[int]:
        if way == FUTURES:
            futures = [self._cluster.submit(square, n) for n in range(calls)]
            return [future.result() for future in futures]
        return list(self._cluster.map(square, range(calls), chunksize={SINGLE: 1, CHUNKED: None}[way]))

    def stop(self) -> None:
        self._cluster.shutdown(cancel_futures=True)
