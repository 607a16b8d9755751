"""The three streams that a queue has on NATS: made where they are missing, refused where they are others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nats.js import JetStreamContext, api
from nats.js import errors as js_errors

from taskyard.errors import SettingsError, Unreachable

LOG_BYTES = 4 * 2**30
"""Far more than is written between two snapshots; then the queue takes nothing more, as on a full disk."""
KEEPING: dict[str, Any] = {
    "storage": api.StorageType.FILE,
    "retention": api.RetentionPolicy.LIMITS,
    "max_age": 0,
    "max_msgs": -1,
    "max_msg_size": -1,
    "max_bytes": -1,
}
"""Of every stream: what is written stays until it is deleted."""
CHECKED = ("subjects", "discard", "num_replicas", "max_msgs_per_subject", *KEEPING)
SETTINGS = {"num_replicas": "MASTER_REPLICAS", "subjects": "TASKYARD_URL"}
"""What a difference may come from."""
NOT_YET = (10005, 10008, 10009, 10023, 10047)
"""What JetStream says when servers are missing, or have no room."""


class Streams:
    """Names and subjects; ``log_subject`` is before each leader's number."""

    def __init__(self, queue: str, replicas: int) -> None:
        self._replicas = replicas
        self.log_subject, self.lead_subject, self.snapshot_subject = (f"{queue}.{what}" for what in ("log", "lead", "snapshot"))
        self.log, self.lead, self.snapshots = (f"taskyard-{queue}-{what}" for what in ("log", "lead", "snapshots"))

    async def make(self, js: JetStreamContext) -> None:
        """Make what is missing, and check what is there. Raises `SettingsError`, `Unreachable`, and what nats-py does."""
        for wanted in self._wanted():
            await self._make_one(js, wanted)

    def _wanted(self) -> Iterator[api.StreamConfig]:
        for name, subject, more in (
            (self.log, f"{self.log_subject}.*", {"discard": api.DiscardPolicy.NEW, "max_bytes": LOG_BYTES}),
            (self.lead, self.lead_subject, {"max_msgs_per_subject": 1}),
            (self.snapshots, f"{self.snapshot_subject}.>", {}),
        ):
            settings: dict[str, Any] = {"num_replicas": self._replicas, **KEEPING, **more}
            yield api.StreamConfig(name=name, subjects=[subject], **settings)

    async def _make_one(self, js: JetStreamContext, wanted: api.StreamConfig) -> None:
        assert wanted.name is not None
        try:
            found = (await js.stream_info(wanted.name)).config
        except js_errors.NotFoundError:
            try:
                await js.add_stream(wanted)
            except js_errors.APIError as error:
                why = f"NATS can't keep the stream {wanted.name!r} {self._replicas} times (MASTER_REPLICAS): {error.description}"
                if error.err_code in NOT_YET or error.code == 503:  # its servers may not all have started
                    raise Unreachable(why) from None
                raise SettingsError(why) from None
            return
        for what in CHECKED:
            has, wants = getattr(found, what), getattr(wanted, what)
            if what == "max_bytes" and wants == LOG_BYTES:  # it refuses what has no room, and may have less or more
                continue
            if _plain(has) != _plain(wants):
                where = SETTINGS.get(what)
                mend = f"set {where} as it was when the stream was made, or change the stream" if where else "change the stream"
                raise SettingsError(
                    f"the stream {wanted.name!r} on NATS has {what} {_shown(has)}, expected is {_shown(wants)}: {mend}"
                    f" (nats stream edit {wanted.name}); masters could not rely on it"
                )


def _plain(value: Any) -> Any:
    """The same for all that mean no limit."""
    return None if value in (None, 0, -1) else value


def _shown(value: Any) -> str:
    return str(getattr(value, "value", value))
