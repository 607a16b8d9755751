"""Whether all NATS servers have what the others have: asked before one of them is stopped, since the other two have to go on."""

from __future__ import annotations

import time

import nats.errors
from nats.js.api import StreamInfo

from master.replica.program import log_of
from taskyard.broker import Broker
from taskyard.errors import SettingsError, Unreachable
from taskyard.settings import load_settings
from taskyard.urls import is_nats

ANSWER_SECONDS = 8.0
LOOK_SECONDS = 0.5


def wait_for_copies(seconds: float, but: str = "") -> int:
    """Wait for so many seconds at most until no copy of any queue lacks anything, but those of the server ``but``; returns 0.

    Raises `Unreachable` when one still does or NATS does not answer, `SettingsError`, `taskyard.errors.WrongKey`.
    """
    settings = load_settings()
    if not is_nats(settings.taskyard_url):
        raise SettingsError(f"TASKYARD_URL={settings.taskyard_url} names no NATS servers: their copies are what is looked at")
    deadline = time.monotonic() + seconds
    _, broker, _ = log_of(settings)
    try:
        while True:
            try:
                behind = [line for info in _streams(broker) for line in lacking(info, but)]
            except Unreachable as error:
                behind = [str(error)]
            if not behind:
                return 0
            if time.monotonic() >= deadline:
                raise Unreachable("; ".join(behind))
            time.sleep(LOOK_SECONDS)
    finally:
        broker.close()


def lacking(info: StreamInfo, but: str = "") -> list[str]:
    """Of a stream, which copies lack something, in words; that of the server ``but`` may."""
    cluster = info.cluster
    if cluster is None:
        return []
    if not cluster.leader:
        return [f"no NATS server leads {info.config.name}"]
    others = [one.name for one in cluster.replicas or () if one.name != but and not one.current]
    return [f"{name} is away or has not caught up ({info.config.name})" for name in others]


def _streams(broker: Broker) -> list[StreamInfo]:
    """Of every queue on this NATS, as the servers that lead them see them."""
    broker.open(ANSWER_SECONDS)
    try:
        # The list comes late, though it comes, where nobody leads a stream.
        return broker.run(broker.client.jetstream(timeout=ANSWER_SECONDS).streams_info())
    except (nats.errors.Error, TimeoutError) as error:
        raise Unreachable(f"NATS at {broker.servers} does not answer ({error or type(error).__name__})") from None
