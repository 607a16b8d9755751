"""Ports for servers that are started for a while."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """A port of this host that is free now, below those that the system gives to outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            pass  # taken
