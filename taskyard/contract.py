"""The queue's contract: the verbs that every engine has. docs/contract.md tells each one's possible outcomes.

Everything is in batches, since a round trip costs more than a short task. Ids are made by the caller, so that a call
whose reply was lost can be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from taskyard.model import (
    Attempt,
    Details,
    Found,
    JobInfo,
    Kind,
    Lease,
    Orders,
    Outcome,
    Result,
    Running,
    Sample,
    ScheduleInfo,
    Task,
    WorkerInfo,
)


class Queue(Protocol):
    """What clients and workers may ask of a queue. Every verb may raise `taskyard.errors.TaskyardError`."""

    def submit(self, tasks: Sequence[Task]) -> int:
        """Take tasks; on return they are durable. Returns how many were new (an id already known is not taken again).

        Raises `QueueFull`, `StoreFull` (nothing was taken), `PayloadTooLarge`, `BadRequest`.
        """

    def lease(self, session: str, limit: int, wait: float, names: Sequence[str] | None = None) -> list[Lease]:
        """Lend up to ``limit`` ready tasks to ``session``, by priority then age; wait at most ``wait`` seconds for the first.

        ``names``: only tasks of these names; None means any.
        """

    def settle(self, session: str, outcomes: Sequence[Outcome]) -> int:
        """Take outcomes; on return they are durable. Returns how many counted (a lost lease's failure does not).

        Raises `StoreFull` (nothing was taken: keep the outcomes and settle them again), `PayloadTooLarge`.
        """

    def heartbeat(self, session: str, info: dict[str, Any]) -> Orders:
        """Keep all leases of ``session`` for another lease time. Returns what it is to do: stop tasks, drain.

        ``info``: host, slots, busy, tasks, draining, python, version, pid, cpu, memory, started (see `WorkerInfo`), schedules
        (`Schedule` tuples), and progress: (done, total, note) by the id of the task.
        """

    def leave(self, session: str) -> int:
        """End a session; what it still holds is given back and no attempt is counted. Returns how many were held."""

    def results(self, job: str, after: int, limit: int, wait: float) -> list[Result]:
        """Results of a job behind the cursor ``after`` (0: from the first), at most ``limit``; waits up to ``wait`` s for one."""

    def cancel(self, ids: Sequence[str]) -> int:
        """Cancel open tasks. Returns how many were open."""

    def find(
        self, state: str | None, job: str | None, limit: int, after: int, name: str | None = None, text: str | None = None
    ) -> list[Found]:
        """Tasks in a state, of a job, of a name, with a text in their ids (None: any), oldest first, skipping ``after``."""

    def show(self, ids: Sequence[str], payloads: bool = True) -> list[Details]:
        """All that is known of these tasks, without ``payloads`` but for those; what is not known is left out."""

    def attempts(self, ids: Sequence[str]) -> list[Attempt]:
        """Attempts of these tasks, each task's in their order: the last 20 that failed, a last one that ended well, and the one
        that is under way."""

    def running(self, job: str | None, limit: int) -> list[Running]:
        """Leased tasks of a job (None: any) with their progress, the longest lease first."""

    def jobs(self, job: str | None, limit: int, after: int) -> list[JobInfo]:
        """Counts of one job (None: of all), the newest first, skipping ``after``."""

    def schedules(self) -> list[ScheduleInfo]:
        """Periodic tasks that some worker announces."""

    def retry(self, ids: Sequence[str]) -> int:
        """Move failed tasks back to ready with their attempts forgotten. Returns how many."""

    def retry_all(self, name: str | None, job: str | None, cause: str | None) -> int:
        """The same for all failed tasks of a name, of a job, with a cause that begins so (None: any). Returns how many."""

    def forget(self, job: str) -> int:
        """Delete the ended tasks of a job. Returns how many."""

    def pause(self, paused: bool) -> bool:
        """Lend nothing more, until it is called with False; durable, and what runs goes on. Returns whether that was news."""

    def drain(self, sessions: Sequence[str]) -> int:
        """Let these workers take nothing more, finish what they run, and end. Returns how many of them are alive."""

    def stats(self) -> dict[str, Any]:
        """Counts by state, totals since the store was made, the bound, sessions, and the file's size."""

    def workers(self) -> list[WorkerInfo]:
        """Workers that are alive, then the last 50 that left or were lost, the latest first."""

    def history(self, since: float, step: float) -> list[Sample]:
        """What the queue did since then (epoch s), oldest first, in steps of at least ``step`` seconds that are over."""

    def kinds(self) -> list[Kind]:
        """Counters of each name of tasks, since the master's start; of the names beyond 200 together, as ``(others)``."""

    def backup(self, token: str, offset: int, limit: int) -> bytes:
        """Up to ``limit`` bytes, from ``offset`` on, of a copy of the store as it was when ``token``, made by the caller, was
        first heard of, with offset 0; empty at its end. There is one copy at a time.

        Raises `StoreFull` (no room for the copy), `BadRequest` (this copy is not kept any more).
        """
