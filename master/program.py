"""Puts a master together: settings, key, store, engine, port, signals."""

from __future__ import annotations

import os
import resource
import signal
import ssl
import threading
from functools import partial
from pathlib import Path
from types import FrameType

from master.committer import Committer
from master.engine import Engine
from master.keyring import Keyring, keyring_of
from master.server import QueueServer
from master.store import Store
from taskyard import tls
from taskyard.errors import SettingsError, TaskyardError
from taskyard.log import get_logger, set_up_logging
from taskyard.pulse import BEAT_SECONDS
from taskyard.settings import SYSTEM_CAS, Settings, TlsFiles, load_settings
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
    allow_descriptors()
    store = Store(settings.master_data)
    engine = Engine(
        store,
        lease_time=settings.master_lease,
        bound=settings.master_bound,
        payload_limit=settings.master_payload_limit,
    )
    committer = Committer(engine)
    keyring = keyring_of(settings)
    context = tls_context(settings)
    try:
        server = QueueServer(committer, (settings.master_host, settings.master_port), keyring, context)
    except OSError as error:
        address, why = f"{settings.master_host}:{settings.master_port}", os.strerror(error.errno or 0)
        raise SettingsError(f"can't listen on {address} (MASTER_HOST, MASTER_PORT): {why}") from None
    host, port = server.listener.address
    if settings.master_address_file is not None:  # who connects now is answered in a moment
        tell_address(settings.master_address_file, f"{host}:{port}")
    counts = engine.stats()
    committer.start()
    server.start()
    logger.info("serving", address=f"{host}:{port}", data=str(store.path), ready=counts["ready"], delayed=counts["delayed"])
    threading.Thread(target=show_pulse, args=(settings, keyring, port), name="pulse", daemon=True).start()
    while not stop.wait(0.2) and not committer.ended.is_set():
        pass
    logger.info("stopping")
    server.close()
    committer.stop()
    return getattr(committer.broken, "exit_code", 1) if committer.broken else 0


def allow_descriptors() -> None:
    """Let this process have as many as the system allows it: each connection is one, and the usual limit is 1,024."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def tell_address(path: Path, address: str) -> None:
    """Write the address into a file, whole or not at all. Raises `SettingsError`."""
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.write_text(address + "\n")
        fresh.replace(path)
    except OSError as error:
        raise SettingsError(f"MASTER_ADDRESS_FILE={str(path)!r} can't be written: {error.strerror}") from None


def show_pulse(settings: Settings, keyring: Keyring, port: int) -> None:
    """Ask this master as any client would, over its port, and touch the health file after each answer.

    With TLS it trusts exactly the master's own certificate. It shows the same, unless it is given another for clients: one for
    servers alone, as public CAs make them, is no client's.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.master_host, settings.master_host)
    scheme, files = "manager", SYSTEM_CAS
    if settings.master_tls_cert is not None:
        own = (settings.master_tls_cert, settings.master_tls_key)
        shown = (settings.taskyard_tls_cert, settings.taskyard_tls_key) if settings.taskyard_tls_cert else own
        scheme, files = "managers", TlsFiles(own[0], *shown, pinned=True)
    authkey = partial(keyring.any_of, "shared", "admin", "client")
    told = ""
    while True:
        try:
            with RemoteQueue(f"{scheme}://{host}:{port}", authkey, files=files) as queue:
                while True:
                    queue.stats()
                    told = ""
                    settings.master_health_file.touch()
                    threading.Event().wait(BEAT_SECONDS)
        except TaskyardError as error:  # such as an expired certificate, for which clients refuse this master too
            if str(error) != told:
                told = str(error)
                get_logger("master").error("this master can't reach itself, and turns unhealthy", error=told)
        threading.Event().wait(BEAT_SECONDS)


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What the port shows and whom it lets in; None: it speaks without TLS. Raises `SettingsError`."""
    if settings.master_tls_cert is not None:
        return tls.server_context(settings.master_tls_cert, settings.master_tls_key, settings.master_tls_client_ca)
    if settings.master_tls_key is not None or settings.master_tls_client_ca is not None:
        raise SettingsError("MASTER_TLS_KEY and MASTER_TLS_CLIENT_CA are of no use without MASTER_TLS_CERT")
    return None
