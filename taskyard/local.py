"""`LocalCluster`: a cluster without Docker, whose master and workers are processes of this program."""

from __future__ import annotations

import os
import threading
import weakref
from functools import partial
from time import monotonic
from types import TracebackType

from taskyard.client import Cluster
from taskyard.errors import SettingsError
from taskyard.exchange import Exchange
from taskyard.processes import LocalProcesses


class LocalCluster(Cluster):
    """A `Cluster` with a master and workers of its own, as plain processes; they end with it, or with this program.

    ``workers``: processes, of ``slots`` tasks each at the same time. ``folder``: keeps the tasks and results, and the next
    start with it goes on; without one they end with the cluster. ``app``: the module with ``@task`` functions; without
    one only functions by value are run. ``accepts``: as WORKER_ACCEPTS. ``log_level``: from which on the programs' logs
    go to standard error. Raises `SettingsError`, `StoreBroken`, or `TaskyardError` with the last log lines of a program
    that did not start.
    """

    def __init__(
        self,
        workers: int = 4,
        *,
        slots: int = 1,
        folder: str | os.PathLike[str] | None = None,
        app: str | None = None,
        accepts: str = "names,functions",
        log_level: str = "error",
    ) -> None:
        self._durable = folder is not None
        self._processes = LocalProcesses(workers, slots=slots, folder=folder, app=app, accepts=accepts, log_level=log_level)
        try:
            super().__init__(self._processes.url, self._processes.authkey)
        except BaseException:
            self._processes.stop(at_once=True)
            raise
        self._processes.before_end = partial(_wait_at_exit, self._exchange)
        self._end = weakref.finalize(self, _stop_after, self._exchange, self._processes)
        self._end.atexit = False  # `before_end` waits

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As `Cluster.shutdown`; the processes end once all futures have, without ``wait`` in the background."""
        if not wait:
            super().shutdown(False, cancel_futures=cancel_futures)
            self._end()
            return
        try:
            super().shutdown(cancel_futures=cancel_futures)
        except BaseException:  # whoever presses Ctrl-C waits for nothing more
            self._exchange.abandon()
            self._processes.stop(at_once=True)
            raise
        self._processes.stop()

    def detach(self) -> str:
        """As `Cluster.detach`; the processes end, and the next cluster with this folder goes on. Raises `SettingsError`."""
        if not self._durable:
            raise SettingsError("the tasks of this cluster end with it: LocalCluster(folder=...) keeps them")
        try:
            return super().detach()
        finally:
            self._processes.stop()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        try:
            return super().__exit__(kind, error, traceback)
        finally:
            self._processes.stop(at_once=kind is not None)


def _stop_after(exchange: Exchange, processes: LocalProcesses) -> None:
    """Stop the processes once all futures have ended."""

    def wait_and_stop() -> None:
        exchange.wait()
        processes.stop()

    exchange.stop()
    threading.Thread(target=wait_and_stop, name="taskyard-local", daemon=True).start()


def _wait_at_exit(exchange: Exchange) -> None:
    try:
        exchange.wait_at_exit(monotonic())
    except KeyboardInterrupt:  # whoever presses it wants the prompt
        exchange.abandon()
