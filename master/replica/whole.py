"""The whole queue at once: read from NATS where no master leads, or replaced there by another one, for all masters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from secrets import token_hex
from time import monotonic, sleep
from typing import NamedTuple

from nats.errors import Error, NoRespondersError

from master.replica.lead import GIVE_UP_SECONDS, SAY_SECONDS, Lead
from master.replica.log import Log
from master.replica.program import log_of
from master.replica.store import ReplicaStore
from master.store import FILE, LeadLost
from taskyard import __version__
from taskyard.broker import Broker
from taskyard.errors import StoreBroken, TaskyardError, Unreachable
from taskyard.finder import where_subject
from taskyard.log import get_logger
from taskyard.settings import Settings

OPEN_SECONDS = 60.0
"""Servers that have just been started need some until they have agreed on who leads."""
logger = get_logger("master")


class _Nats(NamedTuple):
    broker: Broker
    log: Log
    queue: str


def fetch(settings: Settings, folder: Path) -> Path | None:
    """A copy of the queue as NATS has it, in a folder that is empty; None: NATS has none. Raises `Unreachable`, `StoreBroken`."""
    with _connected(settings) as nats:
        if not nats.log.state().last:
            return None
        with closing(ReplicaStore(folder, nats.log)) as store:
            store.catch_up()
        return store.path


def replace(settings: Settings, path: Path, kept: Path) -> bool:
    """Let the queue in the file ``path``, which is used up, be that of all masters; returns whether there was one before, which
    is the file ``kept`` from now on, with all that was ever answered.

    Masters may run: none leads meanwhile, and each begins with that queue then. Raises `StoreBroken` (what is there can't be
    read, or is to be brought to NATS first; a master took the lead), `StoreFull`, `Unreachable`; then the queue is as it was,
    and it can be done again. Where NATS falls silent at the very last, it may be that of the file already.
    """
    with _connected(settings) as nats:
        was_there = nats.log.state().last > 0
        if not was_there and (settings.master_data / FILE).exists():
            raise StoreBroken(
                f"{settings.master_data / FILE} has a queue that NATS lacks: start the masters, so that they bring it there, and"
                " restore then; or move that file away"
            )
        if was_there:  # the longest part, while the queue goes on
            with closing(_former(path, nats)) as store:
                store.catch_up()
        me = f"restore-{token_hex(4)}"
        lead = Lead(nats.log, nats.broker, nats.queue, me, _take_lead(nats.log, me))
        lead.begin()
        try:
            _wait_until_nobody_answers(nats)
            after = _keep_former(path, kept, nats, me) if was_there else 0
            with closing(ReplicaStore(path.parent, nats.log, after)) as store:
                try:
                    store.lead(me, __version__)
                except TaskyardError as error:
                    if not store.leads:
                        raise
                    logger.warning("masters need longer: what the log had could not be dropped", why=str(error))
        finally:
            lead.end()
    return was_there


def _keep_former(path: Path, kept: Path, nats: _Nats, me: str) -> int:
    """Keep the queue of now; returns where the log ends with it."""
    with closing(_former(path, nats)) as store:
        store.lead(me, __version__)  # nobody else can write any more: it is whole
    store.path.replace(kept)
    return store.applied


def _former(path: Path, nats: _Nats) -> ReplicaStore:
    return ReplicaStore(path.parent / "former", nats.log)


def _take_lead(log: Log, me: str) -> int:
    """The revision under which this program leads, whoever did: it answers nobody, so that clients wait."""
    while True:
        try:
            return log.hold(me, "", log.holder().revision)
        except LeadLost:  # the leader has said just then that it leads
            continue


def _wait_until_nobody_answers(nats: _Nats) -> None:
    """The former leader tells what it has until it knows that it leads no more. A frozen one is not waited for."""
    deadline = monotonic() + GIVE_UP_SECONDS
    while monotonic() < deadline:
        try:
            nats.broker.run(nats.broker.client.request(where_subject(nats.queue), b"", SAY_SECONDS), GIVE_UP_SECONDS)
        except NoRespondersError:
            return
        except (Error, TimeoutError):  # it hears, and does not answer any more
            pass
        sleep(0.05)


@contextmanager
def _connected(settings: Settings) -> Iterator[_Nats]:
    url, broker, log = log_of(settings)
    deadline = monotonic() + OPEN_SECONDS
    try:
        while True:
            try:
                log.open(OPEN_SECONDS)
                break
            except Unreachable:
                if monotonic() > deadline:
                    raise
                sleep(0.5)
        yield _Nats(broker, log, url.queue)
    finally:
        log.close()
