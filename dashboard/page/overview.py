"""The first page: big numbers, and plots over time."""

from __future__ import annotations

import time

from fastapi import Request
from nicegui import ui
from nicegui.element import Element

from dashboard.page import charts, words
from dashboard.page.charts import PLOTS, RANGES
from dashboard.page.frame import Empty, Page, Text
from dashboard.page.look import COLOURS, ICONS
from dashboard.source import Snapshot
from taskyard.histogram import quantile

NUMBERS = ("done a second", "failed a second", "ready", "leased", "delayed", "failed", "workers", "wait, p99")
LINKS = {
    "ready": "/tasks?state=ready",
    "leased": "/tasks?state=leased",
    "delayed": "/tasks?state=delayed",
    "failed": "/tasks?state=failed",
    "workers": "/workers",
}


async def overview(request: Request, range: str = "10m") -> None:
    """``/``"""
    page = Page(request, "Overview", "/")
    shown = RANGES.get(range, RANGES["10m"])
    with Element("div").classes("top"):
        Text("h1", "Overview")
        with Element("nav").classes("themes").props('aria-label="Range of the plots"'):
            for key, one in RANGES.items():
                current = ' aria-current="true"' if one is shown else ""
                Text("a", one.label).props(f'href="/?range={key}"{current}')
    no_workers = Empty("No worker is there: tasks wait.", "make scale N=5")
    numbers = _numbers()
    plots = _plots(shown)
    last: list[object] = []

    async def tell() -> None:
        snapshot = page.source.now()
        no_workers.show(bool(snapshot.at) and all(worker.left for worker in snapshot.workers) and not page.source.lost_since)
        for name, (value, more) in _told(snapshot).items():
            numbers[name][0].say(value)
            numbers[name][1].say(more)

    async def draw() -> None:
        samples = await page.source.history(shown.span, shown.step)
        newest = samples[-1].at if samples else 0.0
        now = max(time.time(), newest)
        drawn = [newest, len(samples), now // shown.step if now % shown.step > charts.GRACE else 0]
        if drawn == last or (drawn[2] == 0 and last):
            return
        last[:] = drawn
        grid = charts.on_grid(samples, shown, now)
        for plot, chart in zip(PLOTS, plots, strict=True):
            chart.options.clear()
            chart.options.update(charts.options(plot, grid))
            chart.update()

    await page.live(tell, draw)


def _numbers() -> dict[str, tuple[Text, Text]]:
    made = {}
    with Element("section").classes("numbers").props('aria-label="Now"'):
        for name in NUMBERS:
            with Element("a" if name in LINKS else "div").classes("card") as card:
                if name in LINKS:
                    card.props(f'href="{LINKS[name]}"')
                value = Text("div", "–", "value")
                with Element("div").classes("state"):
                    state = name.split(" ")[0]
                    if state in ICONS:
                        ui.icon(ICONS[state]).style(f"color: {COLOURS[state]}")
                    Text("span", name)
                made[name] = value, Text("div", "", "soft small")
    return made


def _plots(shown: charts.Range) -> list[ui.echart]:
    made = []
    empty = charts.on_grid([], shown, time.time())
    with Element("section").classes("plots").props('aria-label="Plots"'):
        for plot in PLOTS:
            with Element("div").classes("card wide" if plot.wide else "card"):
                Text("h2", plot.title)
                made.append(ui.echart(charts.options(plot, empty), renderer="svg").classes("plot"))
    return made


def _told(snapshot: Snapshot) -> dict[str, tuple[str, str]]:
    stats, alive = snapshot.stats, [worker for worker in snapshot.workers if not worker.left]
    busy, slots = sum(worker.busy for worker in alive), sum(worker.slots for worker in alive)
    recent = [sample for sample in snapshot.samples if sample.at > snapshot.at - 600]
    waits = [sum(counts) for counts in zip(*(sample.wait for sample in recent), strict=True)]
    counts = {state: (words.number(stats.get(state, 0)), "") for state in ("ready", "leased", "delayed")}
    return {
        "done a second": (words.number(snapshot.done), f"{words.number(stats.get('done', 0))} kept"),
        "failed a second": (words.number(snapshot.failed), ""),
        **counts,
        "failed": (words.number(stats.get("failed", 0)), "kept"),
        "workers": (words.number(len(alive)), f"{busy} of {words.many(slots, 'slot')} busy"),
        "wait, p99": (words.short(quantile(waits, 0.99)) if any(waits) else "–", "last 10 min"),
    }
