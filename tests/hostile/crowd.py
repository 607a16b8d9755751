"""A crowd of strangers in a process of its own: ``python crowd.py PORT MANY RATE`` connects and says nothing.

Whoever is hung up on knocks again, but all of them together no more than RATE times a second. Prints how many it is once
each has knocked; ends when its input does.
"""

from __future__ import annotations

import resource
import selectors
import socket
import sys
import time

port, many, rate = map(int, sys.argv[1:])
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
many = min(many, most - 20)  # some descriptors are Python's
waiting = selectors.DefaultSelector()
waiting.register(sys.stdin, selectors.EVENT_READ)


def knock() -> None:
    """Connect, without waiting for it."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex(("127.0.0.1", port))
    waiting.register(sock, selectors.EVENT_READ)


for _ in range(many):
    knock()
print(many, flush=True)
allowed, last = 0.0, time.monotonic()
missing = 0
while True:
    for key, _ in waiting.select(0.02):
        if key.fileobj is sys.stdin:
            sys.exit()
        sock = key.fileobj
        assert isinstance(sock, socket.socket)
        try:
            if sock.recv(4096):
                continue  # the challenge
        except OSError:
            pass  # reset
        waiting.unregister(sock)
        sock.close()
        missing += 1
    now = time.monotonic()
    allowed = min(allowed + (now - last) * rate, max(1.0, rate / 10))
    last = now
    for _ in range(min(missing, int(allowed))):
        knock()
        missing -= 1
        allowed -= 1
