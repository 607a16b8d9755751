"""Dask: its local cluster of two processes."""

from __future__ import annotations

from pathlib import Path

from distributed import Client, LocalCluster

from bench.work import square


class Dask:
    """See `bench.systems.System`."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        assert not keeps
        self._cluster = LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, local_directory=str(folder)
        )
        self._client = Client(self._cluster)

    def run(self, way: str, calls: int) -> list[int]:
        # Not pure: else a call with the arguments of a former one would not be made.
        results: list[int] = self._client.gather(self._client.map(square, range(calls), pure=False))
        return results

    def stop(self) -> None:
        self._client.close()
        self._cluster.close()
