"""Puts a master together: settings, key, store, engine, port, signals."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import FrameType

from master.committer import Committer
from master.engine import Engine
from master.server import QueueServer
from master.store import Store
from taskyard.errors import SettingsError
from taskyard.log import get_logger, set_up_logging
from taskyard.pulse import BEAT_SECONDS
from taskyard.settings import KEY_FILES, Settings, find_authkey, is_there, load_settings, make_authkey
from taskyard.transport import RemoteQueue


def run() -> int:
    """Serve until a signal; returns the exit code. Raises `taskyard.errors.TaskyardError`."""
    settings = load_settings()
    set_up_logging(settings)
    logger = get_logger("master")
    stop = threading.Event()

    def on_signal(number: int, _: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    for stale in filter(None, (settings.master_health_file, settings.master_address_file)):
        stale.unlink(missing_ok=True)
    store = Store(settings.master_data)
    engine = Engine(
        store,
        lease_time=settings.master_lease,
        bound=settings.master_bound,
        payload_limit=settings.master_payload_limit,
    )
    committer = Committer(engine)
    authkey = authkey_of(settings)
    try:
        server = QueueServer(committer, (settings.master_host, settings.master_port), authkey)
    except OSError as error:
        address, why = f"{settings.master_host}:{settings.master_port}", os.strerror(error.errno or 0)
        raise SettingsError(f"can't listen on {address} (MASTER_HOST, MASTER_PORT): {why}") from None
    host, port = server.listener.address
    if settings.master_address_file is not None:  # who connects now is answered in a moment
        tell_address(settings.master_address_file, f"{host}:{port}")
    committer.start()
    server.start()
    counts = engine.stats()
    logger.info("serving", address=f"{host}:{port}", data=str(store.path), ready=counts["ready"], delayed=counts["delayed"])
    threading.Thread(target=show_pulse, args=(settings, authkey, port), name="pulse", daemon=True).start()
    while not stop.wait(0.2) and not committer.ended.is_set():
        pass
    logger.info("stopping")
    server.close()
    committer.stop()
    return getattr(committer.broken, "exit_code", 1) if committer.broken else 0


def tell_address(path: Path, address: str) -> None:
    """Write the address into a file, whole or not at all. Raises `SettingsError`."""
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.write_text(address + "\n")
        fresh.replace(path)
    except OSError as error:
        raise SettingsError(f"MASTER_ADDRESS_FILE={str(path)!r} can't be written: {error.strerror}") from None


def show_pulse(settings: Settings, authkey: bytes, port: int) -> None:
    """Ask this master as any client would, over its port, and touch the health file after each answer."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.master_host, settings.master_host)
    with RemoteQueue(f"manager://{host}:{port}", authkey) as queue:
        while True:
            queue.workers()
            settings.master_health_file.touch()
            threading.Event().wait(BEAT_SECONDS)


def authkey_of(settings: Settings) -> bytes:
    """The key that the settings name; a key is made where its file is missing. Raises `SettingsError`."""
    path = settings.taskyard_authkey_file or Path(KEY_FILES[-1])
    if not settings.taskyard_authkey and not any(map(is_there, (path, *map(Path, KEY_FILES)))):
        try:
            return make_authkey(path)
        except OSError as error:
            raise SettingsError(
                f"no authkey, and none can be made at {path}: {error.strerror}; set TASKYARD_AUTHKEY or TASKYARD_AUTHKEY_FILE"
            ) from None
    return find_authkey(settings)
