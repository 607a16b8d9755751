"""The standard library's two pools of processes."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench.work import square


class Processes:
    """``multiprocessing.Pool(2)``; see `bench.systems.System`."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        assert not keeps
        self._pool = multiprocessing.Pool(2)

    def run(self, way: str, calls: int) -> list[int]:
        if way == "apply_async":
            handles = [self._pool.apply_async(square, (n,)) for n in range(calls)]
            return [handle.get() for handle in handles]
        chunksize = {"imap_unordered(chunksize=1)": 1, "imap_unordered(chunksize=100)": 100}[way]
        return list(self._pool.imap_unordered(square, range(calls), chunksize))

    def stop(self) -> None:
        self._pool.terminate()
        self._pool.join()


class Executor:
    """``ProcessPoolExecutor(2)``; see `bench.systems.System`."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        assert not keeps
        self._pool = ProcessPoolExecutor(2)

    def run(self, way: str, calls: int) -> list[int]:
        if way == "submit":
            futures = [self._pool.submit(square, n) for n in range(calls)]
            return [future.result() for future in futures]
        chunksize = {"map(chunksize=1)": 1, "map(chunksize=100)": 100}[way]
        return list(self._pool.map(square, range(calls), chunksize=chunksize))

    def stop(self) -> None:
        self._pool.shutdown(cancel_futures=True)
