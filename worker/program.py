"""Puts a worker together: settings, key, signals, supervisor."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from time import monotonic
from types import FrameType

from taskyard.errors import SettingsError
from taskyard.keys import follow_authkey
from taskyard.log import get_logger, set_up_logging
from taskyard.pulse import BEAT_SECONDS
from taskyard.settings import Settings, load_settings
from worker.supervisor import Supervisor

SIGNALLED = 143
"""The exit code of who ended by a signal, as shells tell it."""
KEY_SECONDS = 60.0
"""How long to wait for the file in which the master puts the key that it makes."""


def run() -> int:
    """Serve until a signal; returns the exit code. Raises `taskyard.errors.TaskyardError`."""
    settings = load_settings()
    set_up_logging(settings)
    stopping = threading.Event()
    supervisor: list[Supervisor] = []

    def on_signal(_: int, __: FrameType | None) -> None:
        stopping.set()
        for running in supervisor:
            running.drain()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    authkey = wait_for_authkey(settings, stopping)
    if authkey is None:
        return _code(settings, drained=False)
    settings.worker_health_file.unlink(missing_ok=True)
    supervisor.append(Supervisor(settings, authkey))
    if stopping.is_set():
        supervisor[0].drain()
    supervisor[0].run()
    if supervisor[0].told_to_drain and settings.worker_after_drain == "stay":
        stay(settings, stopping)
    return _code(settings, supervisor[0].told_to_drain)


def _code(settings: Settings, drained: bool) -> int:
    """Swarm starts what was told to end again unless its code is 0, whoever told it: a health check, or an engine that stops."""
    return SIGNALLED if settings.worker_after_drain == "complete" and not drained else 0


def stay(settings: Settings, stopping: threading.Event) -> None:
    """Do nothing until a signal: whatever would start an ended worker again is to leave this one drained."""
    get_logger("worker").info("drained; start this worker again to let it work")
    while not stopping.wait(BEAT_SECONDS):
        settings.worker_health_file.touch()


def wait_for_authkey(settings: Settings, stopping: threading.Event) -> Callable[[], bytes] | None:
    """What tells the key; None when a signal came first. Raises `SettingsError` when there is none after `KEY_SECONDS`."""
    deadline, told = monotonic() + KEY_SECONDS, False
    while not stopping.is_set():
        try:
            return follow_authkey(settings)
        except SettingsError as error:
            if monotonic() >= deadline:
                raise
            if not told:
                get_logger("worker").info("waiting for the master's authkey", why=str(error))
                told = True
        stopping.wait(0.2)
    return None
