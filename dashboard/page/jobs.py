"""Jobs: how far each has come, when it will be through, and what can be done to it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import Request
from nicegui import ui

from dashboard.page import words
from dashboard.page.frame import Empty, Page, Text
from dashboard.page.look import COLOURS
from dashboard.page.paging import Pager
from dashboard.source import Asked
from taskyard.model import OPEN_STATES, JobInfo

ROWS = 25
CANCELLED_AT_ONCE = 1000
ACTS = """<span class="acts">
  <q-btn v-if="props.row.retries" flat dense icon="replay" label="Retry failed" @click="$parent.$emit('retry', props.row.job)"
    :aria-label="'Retry failed tasks of ' + props.row.job" />
  <q-btn v-if="props.row.open" flat dense class="bad" icon="block" label="Cancel" @click="$parent.$emit('cancel', props.row.job)"
    :aria-label="'Cancel ' + props.row.job" />
  <q-btn v-if="props.row.open < props.row.tasks" flat dense class="bad" icon="delete" label="Forget"
    @click="$parent.$emit('forget', props.row.job)" :aria-label="'Forget ' + props.row.job" />
</span>"""
JOB = f"""<div class="card item job" role="listitem">
  <div><a class="id" :href="props.row.href">{{{{ props.row.job }}}}</a>
    <div class="soft small">{{{{ props.row.created }}}}</div></div>
  <div class="progress">
    <div class="bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" :aria-valuenow="props.row.percent"
      :aria-label="props.row.job + ': ' + props.row.told">
      <i :style="{{width: props.row.done + '%', background: '{COLOURS["done"]}'}}"></i>
      <i class="failed" :style="{{width: props.row.failed + '%', background: '{COLOURS["failed"]}'}}"></i>
      <i :style="{{width: props.row.cancelled + '%', background: '{COLOURS["cancelled"]}'}}"></i>
    </div>
    <div class="small">{{{{ props.row.told }}}}</div>
  </div>
  <div class="small">{{{{ props.row.time }}}}</div>
  ACTS
</div>"""


async def jobs(request: Request, page: int = 1) -> None:
    """``/jobs``"""
    here = Page(request, "Jobs", "/jobs")
    Text("h1", "Jobs")
    empty = Empty("No job was submitted yet.", "make job")
    table = ui.table(rows=[], columns=[], row_key="job", pagination=0).props('grid hide-bottom role="list" aria-label="Jobs"')
    table.add_slot("item", JOB.replace("ACTS", ACTS if here.acts else "<span></span>"))
    pager = Pager(max(1, page), ROWS, "/jobs")

    async def tell() -> None:
        if pager.number == 1 and not here.source.lost_since:
            found = list(here.source.now().jobs)[: ROWS + 1]
        else:
            found = await here.source.jobs(ROWS + 1, pager.skipped)
        rows = [_row(job, here) for job in found[:ROWS]]
        if rows != table.rows:
            table.rows = rows
        pager.show(len(found) > ROWS)
        empty.show(
            not rows and bool(here.source.now().at), "" if pager.number == 1 else "There are no jobs on this page; go back."
        )

    _connect(here, table)
    await here.live(tell)


def _connect(page: Page, table: ui.table) -> None:
    async def cancel(job: str) -> None:
        text = f"All tasks of {job} that have not ended are cancelled; those that run are stopped."
        if await page.confirmed("Cancel this job?", text, "Cancel the job"):
            await page.do(lambda queue: cancel_job(queue, job), lambda count: f"{words.many(count, 'task')} cancelled.")

    async def forget(job: str) -> None:
        text = f"The ended tasks of {job} are deleted, with their results and tracebacks."
        if await page.confirmed("Forget this job?", text, "Forget the job"):
            await page.do(lambda queue: queue.forget(job), lambda count: f"{words.many(count, 'task')} forgotten.")

    async def retry(job: str) -> None:
        await page.do(lambda queue: queue.retry_all(None, job, None), lambda count: f"{words.many(count, 'task')} ready again.")

    table.on("cancel", lambda event: cancel(str(event.args)))
    table.on("forget", lambda event: forget(str(event.args)))
    table.on("retry", lambda event: retry(str(event.args)))


def cancel_job(queue: Asked, job: str) -> int:
    """Cancel all open tasks of a job; returns how many were open."""
    count = 0
    for state in OPEN_STATES:
        while found := queue.find(state, job, CANCELLED_AT_ONCE, 0):
            count += queue.cancel([task.id for task in found])
    return count


def _row(job: JobInfo, page: Page) -> dict[str, Any]:
    share = 100 / max(1, job.tasks)
    told = f"{job.tasks - job.open:,} of {words.many(job.tasks, 'task')}"
    told += f" · {job.failed:,} failed" if job.failed else ""
    told += f" · {job.cancelled:,} cancelled" if job.cancelled else ""
    return {
        "job": job.job,
        "href": f"/tasks?job={quote(job.job, safe='')}",
        "created": f"submitted {words.ago(job.created)}" if job.created else "",
        "tasks": job.tasks,
        "open": job.open,
        "done": round(job.done * share, 2),
        "failed": round(job.failed * share, 2),
        "cancelled": round(job.cancelled * share, 2),
        "percent": int((job.tasks - job.open) * share),
        "told": told,
        "time": time_to_go(job, page.source.rate(job.job), bool(page.source.now().stats.get("paused"))),
        "retries": bool(job.failed) and page.source.can("retry_all"),
    }


def time_to_go(job: JobInfo, rate: float, paused: bool) -> str:
    """When a job will be through if it goes on as lately, ``rate`` being tasks a second."""
    if not job.open:
        return "through"
    if rate > 0:
        return f"{words.duration(max(1.0, round(job.open / rate)))} to go, {words.number(rate)} a second"
    return "waits: the queue is paused" if paused else f"{job.open:,} open"
