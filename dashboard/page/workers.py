"""Workers: what each one does, and those that have left."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import Request
from nicegui import ui

from dashboard.page import words
from dashboard.page.frame import Empty, Page, Text
from dashboard.page.look import COLOURS
from dashboard.source import Snapshot
from taskyard.model import Running, WorkerInfo

SILENT = 10.0
"""Seconds without a heartbeat that are worth a word."""
DRAIN = """<q-btn v-if="props.row.drains" flat dense icon="logout" label="Drain"
  @click="$parent.$emit('drain', props.row.session)"
  :aria-label="'Drain ' + props.row.host" />"""
WORKER = f"""<div :class="'card' + (props.row.gone ? ' gone' : '')" role="listitem">
  <div class="top" style="flex-wrap: nowrap"><h2 class="id" style="font-size: 1rem">{{{{ props.row.host }}}}</h2>
    <span class="state"><q-icon :name="props.row.icon" :style="{{color: props.row.colour}}" />{{{{ props.row.state }}}}</span>
  </div>
  <div class="soft small">{{{{ props.row.about }}}}</div>
  <div v-if="!props.row.gone" class="bar" style="margin: .6rem 0 .3rem" role="progressbar" aria-valuemin="0"
    :aria-valuemax="props.row.slots" :aria-valuenow="props.row.busy" :aria-label="'Busy slots of ' + props.row.host">
    <i :style="{{width: props.row.share + '%', background: '{COLOURS["leased"]}'}}"></i></div>
  <div v-if="!props.row.gone" class="small">{{{{ props.row.load }}}}</div>
  <div v-if="props.row.task" class="small" style="margin-top: .5rem">
    <a class="id" :href="props.row.href">{{{{ props.row.task }}}}</a><div>{{{{ props.row.progress }}}}</div></div>
  <div v-else-if="!props.row.gone && !props.row.busy" class="small soft" style="margin-top: .5rem">waits for a task</div>
  <div class="top" style="margin-top: .5rem; min-height: 2.25rem">
    <span class="soft small">{{{{ props.row.heard }}}}</span>DRAIN</div>
</div>"""


async def workers(request: Request) -> None:
    """``/workers``"""
    page = Page(request, "Workers", "/workers")
    Text("h1", "Workers")
    empty = Empty("No worker is there: tasks wait.", "make scale N=5")
    alive = _table(page, "Workers that are there")
    left_title = Text("h2", "Left or lost")
    left = _table(page, "Workers that left or were lost")

    async def tell() -> None:
        snapshot = page.source.now()
        rows = [_row(worker, snapshot) for worker in snapshot.workers]
        there, gone = [row for row in rows if not row["gone"]], [row for row in rows if row["gone"]]
        for table, shown in ((alive, there), (left, gone)):
            if table.rows != shown:
                table.rows = shown
        left_title.set_visibility(bool(gone))
        empty.show(not there and bool(snapshot.at))

    await page.live(tell)


def _table(page: Page, label: str) -> ui.table:
    table = ui.table(rows=[], columns=[], row_key="session", pagination=0).classes("workers")
    table.props(f'grid hide-bottom role="list" aria-label="{label}"')
    table.add_slot("item", WORKER.replace("DRAIN", DRAIN if page.acts else ""))

    async def drain(session: str) -> None:
        text = (
            "It takes nothing more, finishes what it runs, and ends. Where something starts it again, it comes back as a new one."
        )
        if await page.confirmed("Drain this worker?", text, "Drain it"):
            await page.do(
                lambda queue: queue.drain([session]), lambda count: "The worker was told." if count else "It had left already."
            )

    table.on("drain", lambda event: drain(str(event.args)))
    return table


def _row(worker: WorkerInfo, snapshot: Snapshot) -> dict[str, Any]:
    running = [one for one in snapshot.running if one.session == worker.session]
    state, icon, colour = _state(worker)
    used = (f"CPU {worker.cpu:.1f}", words.size(worker.memory)) if worker.memory else ()
    since = f"up {words.duration(round(snapshot.at - worker.started))}" if worker.started and not worker.left else ""
    about = (f"Taskyard {worker.version}", f"Python {worker.python}", f"pid {worker.pid}" if worker.pid else "", since)
    return {
        "session": worker.session,
        "host": worker.host,
        "gone": bool(worker.left),
        "state": state,
        "icon": icon,
        "colour": colour,
        "about": " · ".join(filter(None, about)),
        "slots": worker.slots,
        "busy": worker.busy,
        "share": round(100 * worker.busy / max(1, worker.slots)),
        "load": " · ".join(filter(None, (f"{worker.busy} of {words.many(worker.slots, 'slot')} busy", *used))),
        "task": running[0].name if running and not worker.left else "",
        "href": f"/task?id={quote(running[0].id, safe='')}" if running else "",
        "progress": _progress(running),
        "heard": f"{state} {words.ago(worker.left)}" if worker.left else _heard(worker.silent),
        "drains": not worker.left and not worker.draining,
    }


def _state(worker: WorkerInfo) -> tuple[str, str, str]:
    if worker.left:
        return ("lost", "error", COLOURS["failed"]) if worker.lost else ("left", "logout", COLOURS["cancelled"])
    if worker.draining:
        return "draining", "logout", COLOURS["delayed"]
    if worker.silent > SILENT:
        return "silent", "warning", COLOURS["failed"]
    return ("busy", "play_arrow", COLOURS["leased"]) if worker.busy else ("idle", "check_circle", COLOURS["done"])


def _heard(silent: float) -> str:
    return f"last heard of {words.duration(round(silent))} ago" if silent >= 1.5 else "last heard of just now"


def _progress(running: list[Running]) -> str:
    if not running:
        return ""
    one = running[0]
    told = f"{words.number(one.done)} of {words.number(one.total)}" if one.total else ""
    more = f"and {len(running) - 1:,} more" if len(running) > 1 else ""
    return " · ".join(filter(None, (told, one.note[:120], f"for {words.duration(round(one.seconds))}", more)))
