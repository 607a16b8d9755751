"""The supervisor: leases tasks, hands them to slots, settles what comes back, and survives whatever a task does.

One thread runs the loop below; three more talk to the queue (`worker.links`). The one that leases hands what has come to
idle slots itself. User code runs in the slots only.
"""

from __future__ import annotations

import selectors
import threading
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from math import inf
from time import monotonic
from typing import Any, Literal

from taskyard.bell import Bell
from taskyard.errors import SettingsError, TaskyardError, Unreachable
from taskyard.keys import Authkey
from taskyard.log import get_logger
from taskyard.series import LeaseSeries, OutcomeSeries, join_id
from taskyard.settings import Settings
from taskyard.transport import RemoteQueue
from worker import death
from worker.buffer import Buffer
from worker.handle import Slot
from worker.links import Heart, Leaser, Settler
from worker.offer import Offer
from worker.pace import STALE_SECONDS, Pace
from worker.reports import Report
from worker.usage import Meter

TURN_SECONDS = 0.5
"""The loop turns at least so often."""
WATCH_SECONDS = 0.02
"""The same while a time limit has to be watched or something is being taken back from a slot."""
STARTS = 3
"""Slots that may die in a row before they are ready."""
LAST_WORDS_SECONDS = 5.0
"""What a stop waits for the queue to take the last outcomes, beyond the grace period."""
STUCK_SECONDS = 10.0
"""A loop that has not turned for so long is not well."""

Kind = Literal["done", "failed", "released"]

logger = get_logger("worker")


class Supervisor:
    """Runs until `drain` was called and all is given back."""

    def __init__(self, settings: Settings, authkey: Authkey) -> None:
        self._settings = settings
        self._pace = Pace(settings.worker_slots)
        self._oom = death.OomCounter()
        self._buffer = Buffer()
        self._slots: list[Slot] = []
        self._failed_starts = 0
        self._drain_by: float | None = None
        self.told_to_drain = False
        """Whether it was the queue that said so."""
        self._turned = self._looked = monotonic()
        self._failure: BaseException | None = None
        self._selector = selectors.DefaultSelector()
        self._bell = Bell()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._cancelled: deque[str] = deque()  # by the heart's thread
        self._turning = threading.Lock()
        """Held by whoever uses the slots and the buffer."""
        session = uuid.uuid4().hex
        # Only the heart, which always has something to say, tells in the log that there is no master.
        self._heart_queue = RemoteQueue(settings.taskyard_url, authkey, name="worker", files=settings.tls_files)
        self._lease_queue = self._heart_queue.another()
        self._settle_queue = self._heart_queue.another()
        self._leaser = Leaser(self._lease_queue, session, self._take_leases)
        self._settler = Settler(self._settle_queue, session)
        self._heart = Heart(self._heart_queue, session, settings.worker_health_file, self._note_cancelled)
        self._heart.is_well = lambda: monotonic() - self._turned < STUCK_SECONDS
        self._heart.measure = Meter().look
        self._heart.told_to_drain = self._drain_in_peace
        self._leasing = threading.Thread(target=self._guard, args=(self._leaser.run,), name="leaser", daemon=True)

    def run(self) -> None:
        """Serve until drained. Raises `SettingsError` when the app can't be used, and what the queue raises for good."""
        try:
            for _ in range(self._settings.worker_slots):
                self._start_slot()
            while not self._finished():
                self._turn()
            self._say_goodbye()
        finally:
            for queue in (self._lease_queue, self._settle_queue, self._heart_queue):
                queue.close()
            for slot in self._slots:
                slot.close()

    def drain(self) -> None:
        """Lease nothing more, give back what has not begun, let finish what runs; called again: stop at once.

        Safe in a signal handler.
        """
        grace = self._settings.worker_grace if self._drain_by in (None, inf) else 0.0
        self._drain_by = monotonic() + grace
        self._bell.ring()

    # The loop

    def _turn(self) -> None:
        watching = any(slot.watched for slot in self._slots)
        events = self._selector.select(WATCH_SECONDS if watching else TURN_SECONDS)
        with self._turning:
            self._take_turn(events)

    def _take_turn(self, events: Iterable[tuple[selectors.SelectorKey, int]]) -> None:
        for key, _ in events:
            if key.data is None:
                self._bell.hush()
            elif key.data in self._slots:
                self._hear(key.data, key.fileobj is not key.data.conn)
        self._turned = monotonic()
        if self._failure is not None:
            raise self._failure
        self._take_arrived()
        self._take_cancelled()
        self._watch_slots()
        self._heart.tell_progress(dict(word for slot in self._slots if (word := slot.progress()) is not None))
        if self._drain_by is not None:
            self._go_on_draining(self._drain_by)
        else:
            self._leave_to_others()
            self._feed()

    def _take_arrived(self) -> None:
        for lease in self._buffer.arrived(self._lease_queue.generation):
            # What a slot holds had its lease lost with a connection; the work goes on under the new one.
            others = [lease]
            for slot in self._slots:
                others = [other for one in others for other in slot.adopt(one)]
            for other in others:
                self._buffer.append(other)

    def _take_cancelled(self) -> None:
        while self._cancelled:
            task_id = self._cancelled.popleft()
            self._buffer.drop(task_id)
            for slot in self._slots:
                lease = slot.cancel(task_id)
                if lease is not None:
                    logger.info("cancelled", task=task_id, name=lease.name)

    def _watch_slots(self) -> None:
        stuck = 0
        for slot in self._slots:
            self._release(slot.retracted())
            slot.watch()
            running = slot.running()
            if running is not None and running[1] > STALE_SECONDS:
                stuck += 1
                self._pace.is_long(running[0].name, running[1])
                if slot.has_waiting():
                    slot.retract()
        if stuck == len(self._slots):
            self._release(self._buffer.take(self._buffer.tasks))

    def _leave_to_others(self) -> None:
        """Give back what turns out to be far more work than was to be held; a slot all of it, since it is soon given more."""
        elapsed = self._turned - self._looked
        if elapsed < STALE_SECONDS:
            return
        self._looked = self._turned
        rate = sum(slot.ended for slot in self._slots) / elapsed / len(self._slots)
        tasks = self._pace.too_many(self._buffer, self._buffer.tasks, len(self._slots), rate)
        self._release(self._buffer.take_last(tasks))
        for slot in self._slots:
            if slot.has_waiting() and self._pace.too_many(slot.waiting(), slot.holding(), 1, slot.ended / elapsed):
                slot.retract()
                tasks += slot.holding() - 1
            slot.ended = 0
        if tasks:
            logger.debug("gives back tasks that take longer than was thought", tasks=tasks)

    def _feed(self) -> None:
        ready = any(slot.ready for slot in self._slots)
        if not ready:  # all have died, and others need not wait for new ones
            self._release(self._buffer.take(self._buffer.tasks))
        idle = [slot for slot in self._slots if slot.idle]
        while idle and self._buffer.tasks:
            chunk = self._buffer.take(self._pace.chunk(self._buffer, self._buffer.tasks, len(idle)))
            slot = idle.pop()
            try:
                slot.give(chunk)
            except OSError:  # it has just died; its sentinel will tell
                self._buffer.put_back(slot.end_chunk())
        held = self._buffer.tasks + sum(slot.holding() for slot in self._slots)
        self._leaser.want(self._pace.room(held) if ready else 0)
        self._heart.info["busy"] = sum(slot.busy for slot in self._slots)

    def _go_on_draining(self, by: float) -> None:
        if not self._heart.draining:
            running = [slot.running() for slot in self._slots]
            logger.info("draining", running=sum(task is not None for task in running), given_back=self._buffer.tasks)
            self._heart.drain()
            self._leaser.stop()
        self._release(self._buffer.take(self._buffer.tasks))
        for slot in self._slots:
            slot.retract()
            if slot.busy and monotonic() >= by:
                slot.kill()

    def _finished(self) -> bool:
        if self._drain_by is None or not self._heart.draining:
            return False
        waits_for_leaser = self._leasing.is_alive() and monotonic() < self._drain_by + LAST_WORDS_SECONDS
        if waits_for_leaser and monotonic() < self._drain_by and not self._lease_queue.connected:
            waits_for_leaser = False
        return not (any(slot.busy for slot in self._slots) or self._buffer.has_arrived or waits_for_leaser)

    def _say_goodbye(self) -> None:
        left = self._settler.stop(LAST_WORDS_SECONDS)
        if left and self._drain_by == inf:
            logger.warning("the queue can't be reached: its last outcomes wait, until a signal", outcomes=left)
        while left and self._drain_by == inf:  # nobody is about to kill it
            left = self._settler.stop(LAST_WORDS_SECONDS)
        if left:
            logger.warning("the queue can't be reached: these outcomes are lost, their tasks will run again", outcomes=left)
        else:
            self._heart.leave(LAST_WORDS_SECONDS)
        logger.info("stopped")

    # Slots

    def _start_slot(self) -> None:
        slot = Slot(self._settings.worker_app)
        self._slots.append(slot)
        self._selector.register(slot.conn, selectors.EVENT_READ, slot)
        self._selector.register(slot.process.sentinel, selectors.EVENT_READ, slot)

    def _hear(self, slot: Slot, died: bool) -> None:
        """Take in what a slot has sent: the next message, or all that is left of one that has died."""
        try:
            while not died or slot.conn.poll():
                self._take_message(slot, *slot.conn.recv())
                if not died:
                    return
        except (EOFError, OSError):
            pass
        slot.process.join(1.0)  # the pipes of a process close before its exit code is known
        self._slot_has_died(slot)

    def _take_message(self, slot: Slot, kind: str, content: Any) -> None:
        if kind == "ready":
            self._slot_is_ready(slot, Offer(*content))
        elif kind == "broken":
            raise SettingsError(content)
        elif kind == "progress":
            slot.told(*content)
        else:
            self._take_reports(slot, content)
            if kind == "end":
                self._release(slot.end_chunk())

    def _slot_is_ready(self, slot: Slot, offer: Offer) -> None:
        slot.ready = True
        self._failed_starts = 0
        if self._leaser.names:
            return
        self._leaser.names = offer.names
        self._heart.introduce(self._settings.worker_slots, offer)
        logger.info("ready", slots=self._settings.worker_slots, tasks=offer.names, queue=self._heart_queue.url)
        self._leasing.start()
        for loop in (self._settler.run, self._heart.run):
            threading.Thread(target=self._guard, args=(loop,), daemon=True).start()

    def _take_reports(self, slot: Slot, reports: list[tuple[Any, ...]]) -> None:
        outcomes: list[OutcomeSeries] = []
        counts: Counter[str] = Counter()
        seconds: dict[str, float] = defaultdict(float)
        for report in map(Report._make, reports):
            ended = slot.reported(report.first, report.values)
            for lease, values in ended:
                took = report.seconds * len(values) / len(report.values)
                outcomes.append(_outcome(lease, report.kind, values, report.cause, report.final, took))
                if report.kind == "failed":
                    self._tell_failed(lease, report.cause)
            if ended:
                name = ended[0][0].name  # it is that of all
                counts[name] += len(report.values)
                seconds[name] += report.seconds
        for name, count in counts.items():
            self._pace.learn(name, seconds[name] / count)
        self._settler.add(outcomes)

    def _slot_has_died(self, slot: Slot) -> None:
        for watched in (slot.conn, slot.process.sentinel):
            self._selector.unregister(watched)
        self._slots.remove(slot)
        cause = death.cause_of(slot.process.exitcode, slot.killed_for, self._oom.has_grown())
        culprit = None if slot.stopped else slot.end_running()
        if culprit is not None:
            lease, seconds = culprit
            self._tell_failed(lease, cause)
            self._settler.add([_outcome(lease, "failed", [b""], cause, seconds=seconds)])
        self._release(slot.end_chunk())
        ready = slot.ready
        slot.close()
        if not ready:
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                raise SettingsError(f"slots die while they import WORKER_APP={self._settings.worker_app!r} ({cause})")
        if self._drain_by is None:
            self._start_slot()

    def _release(self, leases: Iterable[LeaseSeries]) -> None:
        self._settler.add([_outcome(lease, "released", [b""] * len(lease.payloads)) for lease in leases])

    @staticmethod
    def _tell_failed(lease: LeaseSeries, cause: str) -> None:
        task_id = join_id(lease.prefix, lease.first)
        logger.warning("attempt failed", task=task_id, name=lease.name, attempt=lease.attempt, cause=cause)

    # What other threads call

    def _take_leases(self, generation: int, leases: list[LeaseSeries]) -> None:
        """Leases have come: give them to slots that are idle, without waking the loop, unless that is awake."""
        self._buffer.arrive(generation, leases)
        if not self._turning.acquire(blocking=False):
            self._bell.ring()
            return
        try:
            if self._drain_by is None:
                self._take_arrived()
                self._feed()
            if self._drain_by is not None or any(slot.watched for slot in self._slots):
                self._bell.ring()
        finally:
            self._turning.release()

    def _drain_in_peace(self) -> None:
        """The queue wants this worker gone: nobody is going to kill it, so that what runs has all the time it needs."""
        if self._drain_by is None:
            self.told_to_drain = True
            self._drain_by = inf
            self._bell.ring()

    def _note_cancelled(self, ids: list[str]) -> None:
        self._cancelled.extend(ids)
        self._bell.ring()

    def _guard(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except Unreachable as error:
            if self._drain_by is None:
                self._failure = error
        except BaseException as error:
            if not isinstance(error, TaskyardError):
                logger.exception("the worker failed")
            self._failure = error
        finally:
            self._bell.ring()


def _outcome(
    lease: LeaseSeries, kind: Kind, values: list[bytes], cause: str = "", final: bool = False, seconds: float = 0.0
) -> OutcomeSeries:
    return OutcomeSeries(lease.prefix, lease.first, lease.token, kind, values, cause, final=final, seconds=seconds)
