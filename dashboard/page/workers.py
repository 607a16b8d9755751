"""Workers: what each one does, and those that have left."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui
from nicegui.element import Element

from dashboard.page import words
from dashboard.page.frame import Chip, Empty, Page, Text
from dashboard.page.look import COLOURS
from dashboard.page.paging import Pager
from dashboard.page.rows import Bar, Link, Rows
from taskyard.model import Running, WorkerInfo

ROWS = 48
"""Cards of a page, which may be beside each other by two, three or four. Those who left follow behind the last of them."""
SILENT = 10.0
"""Seconds without a heartbeat that are worth a word."""


@dataclass(frozen=True, slots=True)
class Item:
    """A worker with what it runs."""

    worker: WorkerInfo
    running: tuple[Running, ...]
    about: str
    heard: str


async def workers(request: Request, page: int = 1) -> None:
    """``/workers``"""
    here = Page(request, "Workers", "/workers")
    Text("h1", "Workers")
    empty = Empty("No worker is there: tasks wait.", "make scale N=5")
    empty.show(False)
    alive = _list(here, "Workers that are there")
    left_title = Text("h2", "Left or lost")
    left = _list(here, "Workers that left or were lost")
    pager = Pager(max(1, page), ROWS, "/workers")

    async def tell() -> None:
        snapshot = here.source.now()
        there = [worker for worker in snapshot.workers if not worker.left]
        more = len(there) > pager.skipped + ROWS
        gone = [] if more else [worker for worker in snapshot.workers if worker.left]
        running: dict[str, list[Running]] = {}
        for one in snapshot.running:
            running.setdefault(one.session, []).append(one)
        alive.show(_item(worker, running, snapshot.at) for worker in there[pager.skipped : pager.skipped + ROWS])
        left.show(_item(worker, running, snapshot.at) for worker in gone)
        left_title.set_visibility(bool(gone))
        pager.show(more)
        empty.show(not there and bool(snapshot.at) and not here.source.lost_since)

    await here.live(tell)


def _item(worker: WorkerInfo, running: dict[str, list[Running]], now: float) -> Item:
    return Item(worker, tuple(running.get(worker.session, ())), _about(worker, now), _heard(worker, now))


def _list(page: Page, label: str) -> Rows[Item]:
    parent = Element("div").classes("workers").props(f'role=list aria-label="{label}"')
    return Rows(parent, lambda item: item.worker.session, lambda item: _Card(page, item))


class _Card:
    """One worker."""

    def __init__(self, page: Page, item: Item) -> None:
        self._page = page
        self._session = item.worker.session
        self.element = Element("div").classes("card gone" if item.worker.left else "card").props("role=listitem")
        with self.element:
            with Element("div").classes("top"):
                Text("h2", item.worker.host or "a worker without a name", "id")
                self._chip = Chip()
            self._about = Text("div", "", "soft small")
            self._work = Element("div").classes("work")
            with self._work:
                self._bar = Bar(COLOURS["leased"])
                self._load = Text("div", "", "small")
                self._task = Link("id small")
                self._progress = Text("div", "", "small")
            with Element("div").classes("top foot"):
                self._heard = Text("span", "", "soft small")
                self._drain: ui.button | None = None
                if page.acts and not item.worker.left:
                    self._drain = ui.button("Drain", icon="logout", on_click=self._ask).props("flat dense")
                    self._drain.props["aria-label"] = f"Drain {item.worker.host}"

    def show(self, item: Item) -> None:
        """What it does."""
        worker = item.worker
        self._chip.show(*_state(worker))
        self._about.say(item.about)
        self._heard.say(item.heard)
        self._work.set_visibility(not worker.left)
        used = (f"CPU {worker.cpu:.1f}", words.size(worker.memory)) if worker.memory else ()
        self._load.say(" · ".join((f"{worker.busy} of {words.many(worker.slots, 'slot')} busy", *used)))
        share = 100 * worker.busy / max(1, worker.slots)
        self._bar.show(f"Busy slots of {worker.host}", share, share)
        if item.running:
            self._task.lead(item.running[0].name, f"/task?{urlencode({'id': item.running[0].id})}")
        self._task.set_visibility(bool(item.running))
        self._progress.say(_progress(item.running) if item.running else "" if worker.busy else "waits for a task")
        if self._drain is not None:
            self._drain.set_visibility(not worker.draining)

    async def _ask(self) -> None:
        text = (
            "It takes nothing more, finishes what it runs, and ends. Where something starts it again, it comes back as a new one."
        )
        if await self._page.confirmed("Drain this worker?", text, "Drain it"):
            await self._page.do(
                lambda queue: queue.drain([self._session]),
                lambda count: "The worker was told." if count else "It had left already.",
            )


def _state(worker: WorkerInfo) -> tuple[str, str, str]:
    """Its word, shape and colour."""
    if worker.left:
        return ("lost", "error", COLOURS["failed"]) if worker.lost else ("left", "logout", COLOURS["cancelled"])
    if worker.draining:
        return "draining", "logout", COLOURS["delayed"]
    if worker.silent > SILENT:
        return "silent", "warning", COLOURS["failed"]
    return ("busy", "play_arrow", COLOURS["leased"]) if worker.busy else ("idle", "check_circle", COLOURS["done"])


def _about(worker: WorkerInfo, now: float) -> str:
    told = (
        f"Taskyard {worker.version}" if worker.version else "",
        f"Python {worker.python}" if worker.python else "",
        f"pid {worker.pid}" if worker.pid else "",
        f"up {words.duration(max(1, round(now - worker.started)))}" if worker.started and not worker.left else "",
    )
    return " · ".join(filter(None, told))


def _heard(worker: WorkerInfo, now: float) -> str:
    if worker.left:
        return f"{'lost' if worker.lost else 'left'} {words.ago(worker.left, now)}"
    return f"last heard of {words.duration(round(worker.silent))} ago" if worker.silent >= 1.5 else "last heard of just now"


def _progress(running: tuple[Running, ...]) -> str:
    one = running[0]
    more = f"and {len(running) - 1:,} more" if len(running) > 1 else ""
    return " · ".join(filter(None, (words.progress(one), one.note[:120], f"for {words.duration(round(one.seconds))}", more)))
