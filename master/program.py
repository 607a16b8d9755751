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
from taskyard import tls, wire
from taskyard.errors import SettingsError, TaskyardError
from taskyard.keys import Authkey
from taskyard.log import get_logger, set_up_logging
from taskyard.pulse import BEAT_SECONDS
from taskyard.settings import SYSTEM_CAS, Settings, TlsFiles, load_settings
from taskyard.transport import RemoteQueue
from taskyard.urls import is_nats


def run() -> int:
    """Serve until a signal; returns the exit code. Raises `taskyard.errors.TaskyardError`."""
    settings = load_settings()
    set_up_logging(settings)
    stop = threading.Event()

    def on_signal(number: int, _: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    for stale in filter(None, (settings.master_health_file, settings.master_address_file)):
        stale.unlink(missing_ok=True)
    allow_descriptors()
    keyring, context = keyring_of(settings), tls_context(settings)
    if is_nats(settings.taskyard_url):
        from master.replica.program import run_one_of_many

        return run_one_of_many(settings, keyring, context, stop)
    serving = Serving(settings, Store(settings.master_data), keyring, context)
    serving.start()
    while not stop.wait(0.2) and not serving.committer.ended.is_set():
        pass
    serving.stop()
    broken = serving.committer.broken
    return getattr(broken, "exit_code", 1) if broken else 0


class Serving:
    """A store behind the port, from `start` until `stop`. Raises `SettingsError` when the port can't be had."""

    def __init__(self, settings: Settings, store: Store, keyring: Keyring, context: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._keyring = keyring
        self._stopped = threading.Event()
        engine = Engine(
            store,
            lease_time=settings.master_lease,
            bound=settings.master_bound,
            payload_limit=settings.master_payload_limit,
        )
        self.committer = Committer(engine)
        try:
            self._server = QueueServer(self.committer, (settings.master_host, settings.master_port), keyring, context)
        except OSError as error:
            raise _cannot_listen(settings, error) from None
        self.host, self.port = self._server.listener.address

    def start(self) -> None:
        """Serve, and show that all is well."""
        settings, store = self._settings, self.committer.engine.store
        if settings.master_address_file is not None:  # who connects now is answered in a moment
            tell_address(settings.master_address_file, f"{self.host}:{self.port}")
        counts = self.committer.engine.stats()
        self.committer.start()
        self._server.start()
        told = {"data": str(store.path), "ready": counts["ready"], "delayed": counts["delayed"]}
        get_logger("master").info("serving", address=f"{self.host}:{self.port}", **told)
        arguments = (settings, self._keyring, self.port, self._stopped)
        threading.Thread(target=show_pulse, args=arguments, name="pulse", daemon=True).start()

    def stop(self) -> None:
        """Answer what was asked, then end all connections and close the store."""
        get_logger("master").info("stopping")
        self._stopped.set()
        self._server.close()
        self.committer.stop()


def allow_descriptors() -> None:
    """Let this process have as many as the system allows it: each connection is one, and the usual limit is 1,024."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def check_port(settings: Settings) -> None:
    """Raises `SettingsError` when the port can't be had."""
    try:
        wire.PlainListener((settings.master_host, settings.master_port)).close()
    except OSError as error:
        raise _cannot_listen(settings, error) from None


def _cannot_listen(settings: Settings, error: OSError) -> SettingsError:
    address, why = f"{settings.master_host}:{settings.master_port}", os.strerror(error.errno or 0)
    return SettingsError(f"can't listen on {address} (MASTER_HOST, MASTER_PORT): {why}")


def tell_address(path: Path, address: str) -> None:
    """Write the address into a file, whole or not at all. Raises `SettingsError`."""
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.write_text(address + "\n")
        fresh.replace(path)
    except OSError as error:
        raise SettingsError(f"MASTER_ADDRESS_FILE={str(path)!r} can't be written: {error.strerror}") from None


def own_queue(settings: Settings, authkey: Authkey, port: int, patience: float) -> RemoteQueue:
    """A client of the master on this host, over its port.

    With TLS it trusts exactly the master's own certificate. It shows the same, unless it is given another for clients: one for
    servers alone, as public CAs make them, is no client's.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.master_host, settings.master_host)
    scheme, files = "manager", SYSTEM_CAS
    if settings.master_tls_cert is not None:
        own = (settings.master_tls_cert, settings.master_tls_key)
        shown = (settings.taskyard_tls_cert, settings.taskyard_tls_key) if settings.taskyard_tls_cert else own
        scheme, files = "managers", TlsFiles(own[0], *shown, pinned=True)
    return RemoteQueue(f"{scheme}://{host}:{port}", authkey, patience, files=files)


def show_pulse(settings: Settings, keyring: Keyring, port: int, stopped: threading.Event) -> None:
    """Ask this master as any client would, over its port, and touch the health file after each answer, until it stops."""
    authkey = partial(keyring.any_of, "shared", "admin", "client")
    told = ""
    while not stopped.is_set():
        try:
            with own_queue(settings, authkey, port, 2 * BEAT_SECONDS) as queue:
                while not stopped.is_set():
                    queue.stats()
                    told = ""
                    settings.master_health_file.touch()
                    stopped.wait(BEAT_SECONDS)
        except TaskyardError as error:  # such as an expired certificate, for which clients refuse this master too
            if str(error) != told and not stopped.is_set():
                told = str(error)
                get_logger("master").error("this master can't reach itself, and turns unhealthy", error=told)
        stopped.wait(BEAT_SECONDS)


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What the port shows and whom it lets in; None: it speaks without TLS. Raises `SettingsError`."""
    if settings.master_tls_cert is not None:
        return tls.server_context(settings.master_tls_cert, settings.master_tls_key, settings.master_tls_client_ca)
    if settings.master_tls_key is not None or settings.master_tls_client_ca is not None:
        raise SettingsError("MASTER_TLS_KEY and MASTER_TLS_CLIENT_CA are of no use without MASTER_TLS_CERT")
    return None
