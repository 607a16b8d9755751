"""TASKYARD_URL: which engine the queue has, and where it is."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from taskyard.errors import SettingsError

TLS_SCHEMES, NATS_SCHEMES = ("managers", "natss"), ("nats", "natss")
NATS_PORT, MASTER_PORT = 4222, 5000
QUEUE = "taskyard"
"""The name of a queue on NATS where the URL has none."""


class NatsUrl(NamedTuple):
    """What a ``nats://`` URL says."""

    servers: list[str]
    """Each as ``host:port``."""
    queue: str
    """Its name: one NATS may keep several queues."""
    user: str
    """Empty: the role's own."""
    password: str
    """Empty: that of the role's file."""


def parse_url(url: str) -> tuple[str, int]:
    """Host and port of a ``manager://host:port`` or ``managers://`` URL (port 5000 when absent). Raises `SettingsError`."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, MASTER_PORT if parts.port is None else parts.port
    except ValueError:  # a port that is none, half a pair of brackets
        scheme, host, port = "", None, 0
    if scheme not in ("manager", "managers") or not host or not port:
        raise SettingsError(
            f"TASKYARD_URL={shown(url)!r}: expected manager://HOST:PORT, for instance manager://master:5000, or nats://HOST:PORT,HOST:PORT"
        )
    return host, port


def parse_nats_url(url: str) -> NatsUrl:
    """What a ``nats://[user:password@]host[:port],host...[/queue]`` or ``natss://`` URL says. Raises `SettingsError`."""
    try:
        parts = urlsplit(url)
    except ValueError:  # which would show what it is about
        raise SettingsError(f"TASKYARD_URL={shown(url)!r} is no URL; expected nats://HOST:PORT,HOST:PORT") from None
    credentials, _, hosts = parts.netloc.rpartition("@")
    try:
        if "@" in parts.path + parts.query + parts.fragment:
            raise ValueError("in a user's name or password / ? # are written %2F %3F %23")
        servers = [_server(host) for host in hosts.split(",")]
    except ValueError as error:
        raise SettingsError(f"TASKYARD_URL={shown(url)!r}: {error}; expected nats://HOST:PORT,HOST:PORT") from None
    queue = parts.path.strip("/") or QUEUE
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", queue):
        why = f"the queue's name {queue!r} may have letters, digits, - and _, at most 64"
        raise SettingsError(f"TASKYARD_URL={shown(url)!r}: {why}")
    user, _, password = credentials.partition(":")
    return NatsUrl(servers, queue, unquote(user), unquote(password))


def _server(host: str) -> str:
    parts = SplitResult("nats", host, "", "", "")
    if not parts.hostname:
        raise ValueError("a host is missing")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{name}:{NATS_PORT if parts.port is None else parts.port}"


def shown(url: str) -> str:
    """A URL as it may be told: without user and password."""
    return re.sub("//.*@", "//", url)


def is_tls(url: str) -> bool:
    """Whether a URL means TLS."""
    return _scheme(url) in TLS_SCHEMES


def is_nats(url: str) -> bool:
    """Whether a URL means the replicated engine."""
    return _scheme(url) in NATS_SCHEMES


def _scheme(url: str) -> str:
    return url.partition(":")[0].lower()
