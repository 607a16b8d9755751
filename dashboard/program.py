"""Serves the dashboard until a signal."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from types import FrameType

import uvicorn
from fastapi import FastAPI

from dashboard.access.sign_in import link
from dashboard.access.tokens import Tokens
from dashboard.app import create_app
from dashboard.protocol import BoundedProtocol
from taskyard.errors import SettingsError
from taskyard.keys import follow_authkey
from taskyard.log import get_logger, set_up_logging
from taskyard.settings import Settings, load_settings
from taskyard.transport import RemoteQueue

BACKLOG = 512
HEADER_BYTES = 32 * 1024
"""Of a request's first line and headers."""
GRACE = 5
"""Seconds that requests may still take once it stops."""
KEY_SECONDS = 60.0
"""How long to wait for the file in which the master puts the key that it makes."""


class Server(uvicorn.Server):
    """Ends streams at the first signal: they would last for as long as their jobs. A second one ends everything at once."""

    def __init__(self, config: uvicorn.Config, stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals end the program with exit code 0, rather than by the same signal again."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        yield

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
            return
        self.should_exit = True
        get_logger("dashboard").info("stopping")
        self._stop()


def run() -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Raises `taskyard.errors.TaskyardError`."""
    settings = load_settings()
    set_up_logging(settings)
    logger = get_logger("dashboard")
    queue = RemoteQueue(settings.taskyard_url, wait_for_authkey(settings), files=settings.tls_files)
    listener = listen(settings)
    host, port = listener.getsockname()[:2]
    if not settings.dashboard_port:  # the system has chosen one
        settings.dashboard_port = port
    app = create_app(settings, queue)
    logger.info("serving", address=f"{host}:{port}", url=settings.dashboard_base)
    if "full" in app.state.tokens.made:
        logger.info("sign in", link=link(settings, app.state.tokens.of("full")[0]))
    Server(server_config(app), app.state.stop).run([listener])
    return 0


def server_config(app: FastAPI) -> uvicorn.Config:
    """How it is served: requests are told by `dashboard.log`, and the server says nothing of itself."""
    return uvicorn.Config(
        app,
        http=BoundedProtocol,  # by h11, which bounds headers: the other parser takes one without end from anybody
        h11_max_incomplete_event_size=HEADER_BYTES,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
    )


def print_links() -> int:
    """Print what signs a browser in: for everything, and for looking only. Raises `SettingsError`."""
    settings = load_settings()
    tokens = Tokens(settings)
    print(f"everything:  {link(settings, tokens.of('full')[0])}")
    print(f"to look on:  {link(settings, tokens.of('read')[0])}")
    return 0


def listen(settings: Settings) -> socket.socket:
    """The socket that is served. Raises `SettingsError`."""
    where = settings.dashboard_listen or f"127.0.0.1:{settings.dashboard_port}"
    host, _, port = where.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise SettingsError(f"DASHBOARD_LISTEN={where!r}: expected HOST:PORT, for instance 0.0.0.0:8080")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(f"can't listen on {where} (DASHBOARD_LISTEN, DASHBOARD_PORT): {error.strerror}") from None


def wait_for_authkey(settings: Settings) -> Callable[[], bytes]:
    """What tells the key. Raises `SettingsError` when there is none after `KEY_SECONDS`."""
    deadline, told = monotonic() + KEY_SECONDS, False
    while True:
        try:
            return follow_authkey(settings)
        except SettingsError as error:
            if monotonic() >= deadline:
                raise
            if not told:
                get_logger("dashboard").info("waiting for the master's authkey", why=str(error))
                told = True
        sleep(0.2)
