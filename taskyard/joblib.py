"""joblib on the workers, and with it scikit-learn: ``import taskyard.joblib`` makes the backend known (joblib 1.3 or newer).

>>> with joblib.parallel_config(backend="taskyard"):  # the settings say where the cluster is
...     search.fit(X, y)

A batch of joblib's calls is one task, its function goes by value. The workers need joblib, and what the calls import.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib import register_parallel_backend
from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, SequentialBackend

from taskyard.calls import BY_VALUE
from taskyard.client import Cluster
from taskyard.errors import SettingsError
from taskyard.options import Options

SMALLEST = 2
"""Calls under way at the same time, at least: what has only one job joblib runs in its own process, not on the workers."""


class TaskyardBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Made by ``parallel_config(backend="taskyard", ...)``.

    ``cluster``: a `Cluster` or `LocalCluster` that is open, and stays so; without one the settings say where the cluster is,
    and each ``Parallel`` connects on its own. ``options``: of the tasks, see `taskyard.options.Options`.
    ``n_jobs``: -1, the default, stands for all slots of the workers that are alive; 1 for this process. Raises TypeError and
    `SettingsError` for options that make no sense.
    """

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(
        self,
        cluster: Cluster | None = None,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        Options().changed(**options)  # refuses now what makes no sense
        if options.get("key"):
            raise SettingsError("a key is one call's: joblib makes many")
        self._options = options
        self._cluster = cluster
        self._given = cluster is not None
        self._open: set[Future[Any]] = set()

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """Called when a ``Parallel`` begins; returns how many calls are to be under way."""
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many calls run at the same time. Raises ValueError for 0, and what connecting raises."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            n_jobs = self.default_n_jobs
        if n_jobs > 0:
            return n_jobs
        slots = sum(worker.slots for worker in self._connected().workers() if BY_VALUE in worker.tasks)
        return max(SMALLEST, slots + 1 + n_jobs)

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None) -> Future[Any]:
        """Send a batch of calls. What keeps it from being sent is raised by its future, as joblib expects."""
        try:
            # As an argument, since workers keep functions for the next call.
            future: Future[Any] = self._connected().options(**self._options).submit(operator.call, func)
        except Exception as error:
            future = Future()
            future.set_exception(error)
        self._open.add(future)
        if callback is not None:
            future.add_done_callback(callback)
        future.add_done_callback(self._open.discard)  # after the callback, which may submit the next batch
        return future

    apply_async = submit  # its name up to joblib 1.4

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """Results of a batch. Raises what one of its calls raised, `TaskFailed` where it ended without an exception."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel what is under way; the cluster can be used again."""
        for future in list(self._open):
            future.cancel()

    def terminate(self) -> None:
        """Called when a ``Parallel`` has ended."""
        self.reset_batch_stats()
        if self._cluster is not None and not self._given and not self._open:  # else another Parallel uses it
            self._cluster.shutdown()
            self._cluster = None

    def get_nested_backend(self) -> tuple[Any, None]:
        """A ``Parallel`` within a call: runs in that call's slot, which is all that was reserved for it."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    def _connected(self) -> Cluster:
        if self._cluster is None:
            self._cluster = Cluster()
        return self._cluster


register_parallel_backend("taskyard", TaskyardBackend)
