"""One of several masters: stands by, leads, and stands by again when another one leads."""

from __future__ import annotations

import secrets
import socket
import ssl
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nats.errors

from master.keyring import Keyring
from master.program import Serving, check_port
from master.replica.lead import Lead, stand_by
from master.replica.log import Log
from master.replica.store import ReplicaStore
from master.store import LeadLost
from taskyard import __version__, tls
from taskyard.broker import Broker
from taskyard.errors import SettingsError, StoreFull, Unreachable
from taskyard.keys import find_nats_password
from taskyard.log import get_logger
from taskyard.settings import Settings
from taskyard.urls import NatsUrl, is_tls, parse_nats_url

OPEN_SECONDS = 10.0
"""For one try to reach NATS; then the log tells of it, and it goes on."""
PAUSE_SECONDS = 1.0
"""Before another try to lead."""
ANYWHERE = ("0.0.0.0", "::")
logger = get_logger("master")


def run_one_of_many(settings: Settings, keyring: Keyring, context: ssl.SSLContext | None, stop: threading.Event) -> int:
    """Serve whenever this master leads, until ``stop``; returns the exit code. Raises `taskyard.errors.TaskyardError`."""
    check_port(settings)  # before it takes the place of one that has its port
    url, broker, log = log_of(settings)
    try:
        if not _open(log, stop):
            return 0
        member = Member(settings, url, broker, log, stop)
        while not stop.is_set():
            broken = member.take_part(lambda store: Serving(settings, store, keyring, context))
            if broken is not None and not isinstance(broken, LeadLost | Unreachable | StoreFull):
                return getattr(broken, "exit_code", 1)
        return 0
    finally:
        log.close()


def log_of(settings: Settings) -> tuple[NatsUrl, Broker, Log]:
    """The log of the queue that the settings name, not open yet, and the way to it. Raises `SettingsError`."""
    url = parse_nats_url(settings.taskyard_url)
    secure = tls.client_context(settings.tls_files) if is_tls(settings.taskyard_url) else None
    password = (lambda: url.password) if url.password else partial(find_nats_password, "master")
    broker = Broker(url, url.user or "master", password, secure)
    return url, broker, Log(broker, url.queue, settings.master_replicas)


class Member:
    """This master among the others. Raises `SettingsError`."""

    def __init__(self, settings: Settings, url: NatsUrl, broker: Broker, log: Log, stop: threading.Event) -> None:
        self._settings = settings
        self._queue = url.queue
        self._broker = broker
        self._log = log
        self._stop = stop
        self._me = _identity(settings.master_data)
        self._host = _host(settings, url)

    def take_part(self, serve: Callable[[ReplicaStore], Serving]) -> BaseException | None:
        """Stand by, then lead, until another one does or all stops; returns what has ended it, None when it was told to stop.
        Raises `StoreBroken`, `SettingsError`."""
        store = ReplicaStore(self._settings.master_data, self._log)
        lead: Lead | None = None
        try:
            address = self._address(self._settings.master_port)
            revision = stand_by(self._log, store, self._me, address, self._stop, self._settings.master_health_file.touch)
            if not revision:
                store.close()
                return None
            lead = Lead(self._log, self._broker, self._queue, self._me, revision)
            lead.begin()
            store.lead(self._me, __version__)
            serving = serve(store)
        except BaseException as error:
            store.close()
            if lead is not None:
                lead.end()
            if isinstance(error, Unreachable | StoreFull):
                logger.warning("can't lead", why=str(error))
                self._stop.wait(PAUSE_SECONDS)
                return error
            raise
        self._serve(serving, store, lead)
        return serving.committer.broken

    def _serve(self, serving: Serving, store: ReplicaStore, lead: Lead) -> None:
        try:
            serving.start()
            lead.serve(self._address(serving.port), serving.committer, store)
            while not self._stop.wait(0.1) and not lead.lost.is_set() and not serving.committer.ended.is_set():
                pass
        except (TimeoutError, nats.errors.Error) as error:  # NATS is away again: clients could not find this master
            logger.warning("can't lead", why=str(error) or type(error).__name__)
        finally:
            serving.stop()
            lead.end()

    def _address(self, port: int) -> str:
        return self._settings.master_advertise or f"{self._host}:{port}"


def _open(log: Log, stop: threading.Event) -> bool:
    """Connect to NATS, however long that takes; returns whether that was before ``stop``. Raises `SettingsError`, `WrongKey`."""
    while not stop.is_set():
        try:
            log.open(OPEN_SECONDS)
            return True
        except Unreachable as error:
            logger.warning("waits for NATS", why=str(error))
            stop.wait(1.0)
    return False


def _identity(folder: Path) -> str:
    """What this master's folder is called among all; made once. Raises `SettingsError`."""
    path = folder / "master"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(f"{socket.gethostname()}-{secrets.token_hex(4)}\n")
        return path.read_text().strip()
    except OSError as error:
        raise SettingsError(f"MASTER_DATA={str(folder)!r} can't be written: {error.strerror}") from None


def _host(settings: Settings, url: NatsUrl) -> str:
    """Under which others reach this master, where no setting says so: by the way that leads to NATS."""
    if settings.master_advertise or settings.master_host not in ANYWHERE:
        return settings.master_host
    return _own_address(url.servers)


def _own_address(servers: list[str]) -> str:
    for server in servers:
        name, _, port = server.rpartition(":")
        try:
            for family, kind, _, _, address in socket.getaddrinfo(name.strip("[]"), int(port), type=socket.SOCK_DGRAM):
                with socket.socket(family, kind) as sock:
                    sock.connect(address)  # sends nothing: it only chooses the way
                    found = str(sock.getsockname()[0])
                    return f"[{found}]" if ":" in found else found
        except OSError:
            continue
    raise SettingsError(
        "none of NATS's servers can be looked up: set MASTER_ADVERTISE to the address at which others reach this master"
    )
