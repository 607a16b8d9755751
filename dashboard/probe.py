"""``python -m dashboard health``. Imports next to nothing: health checks start a process every few seconds."""

from __future__ import annotations

import socket

SECONDS = 5.0
"""How long the dashboard may take to answer."""


def check(listen: str, port: str) -> int:
    """Ask the dashboard on this host; ``listen``: DASHBOARD_LISTEN, else ``port``: DASHBOARD_PORT. Prints what it says and
    returns the exit code of a ``health`` command: 0 well, 1 not.
    """
    host, _, given = listen.rpartition(":")
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))
    try:
        with socket.create_connection((host, int(given or port)), SECONDS) as asked:
            asked.settimeout(SECONDS)
            asked.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            well = b" 200 " in asked.recv(100).split(b"\r\n")[0]
    except (OSError, ValueError) as error:
        print(f"not well: {error}")
        return 1
    print("well" if well else "not well: it answers, but not as it should")
    return 0 if well else 1
