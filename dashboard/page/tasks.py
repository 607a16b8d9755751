"""Tasks: by state, job and name, or by id."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui
from nicegui.element import Element

from dashboard.page import words
from dashboard.page.frame import Chip, Empty, Page, Text
from dashboard.page.look import COLOURS, ICONS
from dashboard.page.paging import Pager
from dashboard.page.rows import Link, Rows
from taskyard.model import STATES, Found, State

ROWS = 50
LONGEST = 500
"""Characters of a filter."""
COLUMNS = ("Task", "State", "Name", "Job", "Attempts", "Submitted", "Cause")
ON_PHONES = 3
"""Of the columns, those that a phone has room for."""


@dataclass(frozen=True, slots=True)
class Item:
    """A task with what is told beside it."""

    task: Found
    since: str


async def tasks(request: Request, state: str = "", job: str = "", name: str = "", text: str = "", page: int = 1) -> None:
    """``/tasks``"""
    here = Page(request, "Tasks", "/tasks")
    wanted = next((one for one in STATES if one == state), None)
    job, name, text = job[:LONGEST], name[:LONGEST], text[:LONGEST]
    with Element("div").classes("top"):
        Text("h1", "Tasks")
        retry = _retry_all(here, job, name) if wanted == "failed" and here.acts and not text else None
    _filters(here, wanted, job, name, text)
    empty = Empty("No task is here.", "" if wanted or job or name or text else "make job")
    table, rows = _table()
    pager = Pager(max(1, page), ROWS, "/tasks", state=wanted or "", job=job, name=name, text=text)

    async def tell() -> None:
        found = await here.source.tasks(wanted, job, name, text, ROWS + 1, pager.skipped)
        rows.show(Item(task, words.ago(task.submitted)) for task in found[:ROWS])
        table.set_visibility(bool(found))
        pager.show(len(found) > ROWS)
        empty.show(not found, _nothing(wanted, job, name, text, pager.number))
        if retry is not None:
            retry.set_visibility(bool(found))

    empty.show(False)
    await here.live(tell)


def address(**query: str) -> str:
    """The page's, with these filters."""
    given = {key: value for key, value in query.items() if value}
    return f"/tasks?{urlencode(given)}" if given else "/tasks"


def _filters(page: Page, state: State | None, job: str, name: str, text: str) -> None:
    """Fields that lead to another address, so that each list has one."""

    async def go() -> None:
        told = text_field.value.strip()
        if told and await page.source.task(told):
            ui.navigate.to(f"/task?{urlencode({'id': told})}")
        else:
            ui.navigate.to(address(state=state_field.value, job=job_field.value, name=name_field.value, text=told))

    with Element("div").classes("filters card").props('role="search" aria-label="Find tasks"'):
        options: dict[str, str] = {"": "any state"}
        options |= {one: one for one in STATES}
        state_field = ui.select(options, value=state or "", label="State", on_change=go)
        name_field = ui.input("Name", value=name)
        job_field = ui.input("Job", value=job)
        text_field = ui.input("Id, or a part of it", value=text)
        for field in (state_field, name_field, job_field, text_field):
            field.props("outlined dense")
            field.on("keydown.enter", go)
        ui.button("Find", icon="search", on_click=go).props("outline")


def _retry_all(page: Page, job: str, name: str) -> ui.button:
    async def retry() -> None:
        which = "All failed tasks" + (f" of the job {job}" if job else "") + (f" with the name {name}" if name else "")
        if await page.confirmed("Retry them all?", f"{which} become ready again, their attempts forgotten.", "Retry all"):
            await page.do(
                lambda queue: queue.retry_all(name or None, job or None, None),
                lambda count: f"{words.many(count, 'task')} ready again.",
            )

    return ui.button("Retry all of these", icon="replay", on_click=retry).props("outline")


def _table() -> tuple[Element, Rows[Item]]:
    with Element("div").classes("card sheet") as card:
        with Element("table").props('aria-label="Tasks"'):
            with Element("thead"):
                with Element("tr"):
                    for index, name in enumerate(COLUMNS):
                        Text("th", name, "" if index < ON_PHONES else "xs-off").props("scope=col")
            body = Element("tbody")
    return card, Rows(body, lambda item: item.task.id, _Row)


class _Row:
    """One task."""

    def __init__(self, item: Item) -> None:
        task = item.task
        self.element = Element("tr")
        with self.element:
            with Element("td"):
                Link("id").lead(task.id, f"/task?{urlencode({'id': task.id})}")
            with Element("td"):
                self._chip = Chip()
            Text("td", task.name, "name")
            with Element("td").classes("xs-off"):
                Link("id").lead(task.job, address(job=task.job))
            self._attempts, self._since, self._cause = (Text("td", "", "xs-off") for _ in range(3))

    def show(self, item: Item) -> None:
        """What it has come to."""
        task = item.task
        self._chip.show(task.state, ICONS[task.state], COLOURS[task.state])
        self._attempts.say(f"{task.attempts}")
        self._since.say(item.since)
        self._cause.say(task.cause[:200])


def _nothing(state: State | None, job: str, name: str, text: str, number: int) -> str:
    if number > 1:
        return "There are no tasks on this page; go back."
    told = [state or "", f"of the job {job}" if job else "", f"with the name {name}" if name else "", f"with {text} in its id"]
    which = " ".join(filter(None, told[: 4 if text else 3]))
    return (
        f"There is no task that is {which}." if state else f"There is no task {which}." if which else "No task was submitted yet."
    )
