"""Jobs: how far each has come, when it will be through, and what can be done to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui
from nicegui.element import Element

from dashboard.page import words
from dashboard.page.frame import Empty, Page, Text
from dashboard.page.look import COLOURS
from dashboard.page.paging import Pager
from dashboard.page.rows import Bar, Link, Rows
from taskyard.jobs import Job
from taskyard.model import JobInfo

ROWS = 25


@dataclass(frozen=True, slots=True)
class Item:
    """A job with what is told beside its counts."""

    job: JobInfo
    since: str
    time: str


async def jobs(request: Request, page: int = 1) -> None:
    """``/jobs``"""
    here = Page(request, "Jobs", "/jobs")
    source = here.source
    Text("h1", "Jobs")
    empty = Empty("No job was submitted yet.", "make job")
    empty.show(False)
    stack = Element("div").classes("stack").props('role=list aria-label="Jobs"')
    rows: Rows[Item] = Rows(stack, lambda item: item.job.job, lambda item: _Row(here, item))
    pager = Pager(max(1, page), ROWS, "/jobs")

    async def tell() -> None:
        if pager.number == 1 and not source.lost_since:
            found = list(source.now().jobs)[: ROWS + 1]
        else:
            found = await source.jobs(ROWS + 1, pager.skipped)
        paused = bool(source.now().stats.get("paused"))
        rows.show(
            Item(job, f"submitted {words.ago(job.created)}" if job.created else "", time_to_go(job, source.rate(job.job), paused))
            for job in found[:ROWS]
        )
        pager.show(len(found) > ROWS)
        nothing = "No job was submitted yet." if pager.number == 1 else "There are no jobs on this page; go back."
        empty.show(not found and bool(source.now().at), nothing)

    await here.live(tell)


class _Row:
    """One job."""

    def __init__(self, page: Page, item: Item) -> None:
        self._page = page
        self._job = item.job.job
        self.element = Element("div").classes("card item job").props("role=listitem")
        with self.element:
            with Element("div"):
                Link("id").lead(self._job, f"/tasks?{urlencode({'job': self._job})}")
                self._since = Text("div", "", "soft small")
            with Element("div").classes("progress"):
                self._bar = Bar(COLOURS["done"], COLOURS["failed"], COLOURS["cancelled"], hatched=1)
                self._told = Text("div", "", "small")
            self._time = Text("div", "", "small")
            with Element("div").classes("acts"):
                self._buttons = self._acts() if page.acts else []

    def _acts(self) -> list[ui.button]:
        buttons = [
            ui.button("Retry failed", icon="replay", on_click=self._retry),
            ui.button("Cancel", icon="block", on_click=self._cancel, color=None).classes("bad"),
            ui.button("Forget", icon="delete", on_click=self._forget, color=None).classes("bad"),
        ]
        for button in buttons:
            button.props("flat dense").props["aria-label"] = f"{button.text} {self._job}"
        return buttons

    def show(self, item: Item) -> None:
        """Its counts."""
        job = item.job
        share = 100 / max(1, job.tasks)
        counts = f"{job.tasks - job.open:,} of {words.many(job.tasks, 'task')}"
        counts += f" · {job.failed:,} failed" if job.failed else ""
        counts += f" · {job.cancelled:,} cancelled" if job.cancelled else ""
        self._bar.show(
            f"{job.job}: {counts}", (job.tasks - job.open) * share, job.done * share, job.failed * share, job.cancelled * share
        )
        self._told.say(counts)
        self._since.say(item.since)
        self._time.say(item.time)
        for button, is_there in zip(self._buttons, (job.failed > 0, job.open > 0, job.open < job.tasks), strict=False):
            button.set_visibility(is_there)

    async def _retry(self) -> None:
        await self._page.do(lambda queue: queue.retry_all(None, self._job, None), told("ready again"))

    async def _cancel(self) -> None:
        text = f"All tasks of {self._job} that have not ended are cancelled; those that run are stopped."
        if await self._page.confirmed("Cancel this job?", text, "Cancel the job"):
            await self._page.do(lambda queue: Job(queue, self._job).cancel(), told("cancelled"))

    async def _forget(self) -> None:
        text = f"The ended tasks of {self._job} are deleted, with their results and tracebacks."
        if await self._page.confirmed("Forget this job?", text, "Forget the job"):
            await self._page.do(lambda queue: queue.forget(self._job), told("forgotten"))


def told(what: str) -> Callable[[int], str]:
    """What came of something that was done to so many tasks."""
    return lambda count: f"{words.many(count, 'task')} {what}."


def time_to_go(job: JobInfo, rate: float, paused: bool) -> str:
    """When a job will be through if it goes on as lately, ``rate`` being tasks a second."""
    if not job.open:
        return "through"
    if paused:
        return "waits: the queue is paused"
    if rate > 0:
        return f"{words.duration(max(1.0, round(job.open / rate)))} to go, {words.number(rate)} a second"
    return f"{job.open:,} open"
