"""Ray on this machine, with two processors."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import ray

from bench.work import square


class Ray:
    """See `bench.systems.System`."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        assert not keeps
        # The names of its sockets have to be short, so that `folder` will not do.
        self._own = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
        try:
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=self._own)
        except BaseException:
            self.stop()
            raise
        self._square = ray.remote(square)

    def run(self, way: str, calls: int) -> list[int]:
        results: list[int] = ray.get([self._square.remote(n) for n in range(calls)])
        return results

    def stop(self) -> None:
        ray.shutdown()
        shutil.rmtree(self._own, ignore_errors=True)
