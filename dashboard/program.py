"""Serves the dashboard until a signal."""

from __future__ import annotations

import uvicorn

from dashboard.app import create_app
from taskyard.keys import follow_authkey
from taskyard.log import set_up_logging
from taskyard.settings import load_settings
from taskyard.transport import RemoteQueue

GRACE = 5
"""Seconds that requests may still take once it stops."""


def run() -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Raises `taskyard.errors.TaskyardError`."""
    settings = load_settings()
    set_up_logging(settings)
    queue = RemoteQueue(settings.taskyard_url, follow_authkey(settings), files=settings.tls_files)
    config = uvicorn.Config(
        create_app(settings, queue),
        host=settings.dashboard_host,
        port=settings.dashboard_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    uvicorn.Server(config).run()
    return 0
