"""Tasks: by state, job and name, or by id."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from nicegui import ui
from nicegui.element import Element

from dashboard.page import words
from dashboard.page.frame import Empty, Page, Text
from dashboard.page.look import COLOURS, ICONS, STATES
from dashboard.page.paging import Pager
from taskyard.model import Found, State

ROWS = 50
LONGEST = 500
"""Characters of a filter."""
COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "label": "Task", "field": "id"},
    {"name": "state", "label": "State", "field": "state"},
    {"name": "name", "label": "Name", "field": "name"},
    {"name": "job", "label": "Job", "field": "job", "classes": "xs-off", "headerClasses": "xs-off"},
    {"name": "attempts", "label": "Attempts", "field": "attempts", "classes": "xs-off", "headerClasses": "xs-off"},
    {"name": "submitted", "label": "Submitted", "field": "submitted", "classes": "xs-off", "headerClasses": "xs-off"},
    {"name": "cause", "label": "Cause", "field": "cause", "classes": "xs-off", "headerClasses": "xs-off"},
]
ID = """<q-td :props="props"><a class="id" :href="props.row.href">{{ props.row.id }}</a></q-td>"""
JOB = """<q-td :props="props"><a class="id" :href="props.row.of">{{ props.row.job }}</a></q-td>"""
STATE = """<q-td :props="props"><span class="state"><q-icon :name="props.row.icon" :style="{color: props.row.colour}" />
{{ props.row.state }}</span></q-td>"""


async def tasks(request: Request, state: str = "", job: str = "", name: str = "", text: str = "", page: int = 1) -> None:
    """``/tasks``"""
    here = Page(request, "Tasks", "/tasks")
    wanted = next((one for one in STATES if one == state), None)
    job, name, text = job[:LONGEST], name[:LONGEST], text[:LONGEST]
    with Element("div").classes("top"):
        Text("h1", "Tasks")
        retry = _retry_all(here, job, name) if wanted == "failed" and here.acts and here.source.can("retry_all") else None
    _filters(here, wanted, job, name, text)
    empty = Empty("No task is here.", "" if wanted or job or name or text else "make job")
    table = ui.table(rows=[], columns=COLUMNS, column_defaults={"align": "left"}, pagination=0)
    table.props('flat hide-bottom aria-label="Tasks"')
    for column, cell in (("id", ID), ("job", JOB), ("state", STATE)):
        table.add_slot(f"body-cell-{column}", cell)
    pager = Pager(max(1, page), ROWS, "/tasks", state=wanted or "", job=job, name=name, text=text)

    async def tell() -> None:
        found = await here.source.tasks(wanted, job, name, text, ROWS + 1, pager.skipped)
        rows = list(map(_row, found[:ROWS]))
        if rows != table.rows:
            table.rows = rows
        table.set_visibility(bool(rows))
        pager.show(len(found) > ROWS)
        empty.show(not rows, _nothing(wanted, job, name, text, pager.number))
        if retry is not None:
            retry.set_visibility(bool(rows))

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
            ui.navigate.to(f"/task?id={quote(told, safe='')}")
        elif told and not page.source.can("attempts"):  # the release that finds tasks by a part of their id tells attempts too
            ui.notify(f"The queue knows no task {told}.", icon="search_off", color="dark")
        else:
            ui.navigate.to(address(state=state_field.value, job=job_field.value, name=name_field.value, text=told))

    with Element("div").classes("filters card").props('role="search" aria-label="Find tasks"'):
        options: dict[str, str] = {"": "any state"}
        options |= {one: one for one in STATES}
        state_field = ui.select(options, value=state or "", label="State", on_change=go)
        name_field = ui.input("Name", value=name)
        job_field = ui.input("Job", value=job)
        text_field = ui.input("Id, or a part of it", value=text)
        name_field.set_visibility(page.source.can("attempts"))
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


def _row(task: Found) -> dict[str, Any]:
    return {
        **task._asdict(),
        "submitted": words.ago(task.submitted),
        "cause": task.cause[:200],
        "icon": ICONS[task.state],
        "colour": COLOURS[task.state],
        "href": f"/task?id={quote(task.id, safe='')}",
        "of": address(job=task.job),
    }


def _nothing(state: State | None, job: str, name: str, text: str, number: int) -> str:
    if number > 1:
        return "There are no tasks on this page; go back."
    told = [state or "", f"of the job {job}" if job else "", f"with the name {name}" if name else "", f"with {text} in its id"]
    which = " ".join(filter(None, told[: 4 if text else 3]))
    return (
        f"There is no task that is {which}." if state else f"There is no task {which}." if which else "No task was submitted yet."
    )
