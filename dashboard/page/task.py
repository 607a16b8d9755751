"""One task: what it was called with, its attempts one after another, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastapi import Request
from nicegui import ui
from nicegui.element import Element

from dashboard.page import words
from dashboard.page.frame import Chip, Empty, Moment, Page, Text
from dashboard.page.look import COLOURS, ICONS
from dashboard.page.rows import Bar
from dashboard.page.tasks import address
from dashboard.page.values import TaskText
from taskyard.model import BY_CAUSE, OPEN_STATES, Attempt, Details, Running


async def task(request: Request, id: str = "") -> None:
    """``/task?id=…``"""
    page = Page(request, f"Task {id[:60]}", "/tasks")
    with Element("div").classes("top"):
        Text("h1", f"Task {id}")
        with Element("div").classes("pages"):
            retry = ui.button("Retry", icon="replay", on_click=lambda: _retry(page, id)).props("outline")
            cancel = (
                ui.button("Cancel", icon="block", on_click=lambda: _cancel(page, id), color=None).props("outline").classes("bad")
            )
    unknown = Empty("The queue knows no task of this id: it was forgotten, has outlived its result, or never was.")
    content = Element("div").style("display: grid; gap: .75rem")
    progress = _Progress()
    seen: list[object] = []

    async def tell() -> None:
        known = await page.source.task(id)
        attempts = await page.source.attempts(id) if known else []
        state = known.details.state if known else None
        retry.set_visibility(page.acts and state == "failed")
        cancel.set_visibility(page.acts and state in OPEN_STATES)
        unknown.show(known is None)
        progress.show(next((one for one in page.source.now().running if one.id == id), None))
        if seen != [known, list(attempts)]:
            seen[:] = [known, list(attempts)]
            content.clear()
            with content:
                if known is not None:
                    _show(known, attempts, _host_of(page, known.details.session))

    for button in (retry, cancel):
        button.set_visibility(False)
    unknown.show(False)
    await page.live(tell)


async def _retry(page: Page, task: str) -> None:
    await page.do(
        lambda queue: queue.retry([task]),
        lambda count: "The task is ready again." if count else "It has not failed; nothing to do.",
    )


async def _cancel(page: Page, task: str) -> None:
    text = "It ends as cancelled, and is stopped if it runs. This can't be undone."
    if await page.confirmed("Cancel this task?", text, "Cancel the task"):
        await page.do(
            lambda queue: queue.cancel([task]), lambda count: "The task is cancelled." if count else "It had ended already."
        )


class _Progress:
    """What a running task tells of itself."""

    def __init__(self) -> None:
        with Element("div").classes("card") as self._card:
            Text("h2", "Under way")
            self._bar = Bar(COLOURS["leased"])
            self._text = Text("p", "", "small")
        self._card.set_visibility(False)

    def show(self, running: Running | None) -> None:
        """Its progress; None: it does not run."""
        self._card.set_visibility(running is not None)
        if running is None:
            return
        percent = words.percent(running.done, running.total)
        self._bar.element.set_visibility(running.total > 0)
        self._bar.show("Progress", percent, percent)
        told = words.progress(running)
        since = f"attempt {running.attempt}, for {words.duration(round(running.seconds))}"
        self._text.say(" · ".join(filter(None, (told, running.note[:300], since))))


def _show(told: TaskText, attempts: Sequence[Attempt], host: str) -> None:
    task = told.details
    with Element("div").classes("two"):
        with Element("section").classes("card"):
            Text("h2", "What it is")
            _facts(task)
        with Element("section").classes("card"):
            Text("h2", "What happened")
            _timeline(task, attempts, host)
    nothing = "It is done: its arguments are not kept any more." if task.state == "done" else "It has no arguments."
    _code("Call", told.call or nothing)
    if task.state == "done":
        _code("Result", told.result)
    if told.traceback:
        _code("Traceback", told.traceback)


def _code(title: str, text: str) -> None:
    with Element("section").classes("card"):
        Text("h2", title)
        Text("pre", text, "code").props(f'tabindex=0 role=region aria-label="{title}"')


def _facts(task: Details) -> None:
    retries = "by its cause" if task.retries == BY_CAUSE else words.number(task.retries)
    facts = {
        "Name": task.name,
        "Priority": str(task.priority) if task.priority else "",
        "Attempts": f"{task.attempts}, retries: {retries}",
        "Time limit": words.duration(task.time_limit) if task.time_limit else "",
        "Cause": task.cause,
    }
    with Element("dl").classes("facts"):
        Text("dt", "State")
        with Element("dd"):
            Chip(task.state)
        Text("dt", "Job")
        with Element("dd"):
            Text("a", task.job, "id").props["href"] = address(job=task.job)
        for name, text in facts.items():
            if text:
                Text("dt", name)
                Text("dd", text)
        if task.forgotten:
            Text("dt", "Kept until")
            with Element("dd"):
                Moment(task.forgotten)


def _timeline(task: Details, attempts: Sequence[Attempt], host: str) -> None:
    with Element("ol").classes("line"):
        _event("ready", "Submitted", task.submitted)
        for attempt in attempts:
            by = attempt.host or (host if attempt.kind == "leased" else "")
            _event("leased", f"Attempt {attempt.number} leased" + (f" by {by}" if by else ""), attempt.leased)
            if attempt.ended:
                took = f", after {words.duration(max(0.0, attempt.ended - attempt.leased))}" if attempt.leased else ""
                _event(attempt.kind, f"Attempt {attempt.number}: {attempt.cause or attempt.kind}{took}", attempt.ended)
        if task.state == "delayed":
            _event("delayed", "Next attempt due", task.due)
        if task.ended:
            _event(task.state, f"Ended: {task.state}" + (f", {task.cause}" if task.cause and not attempts else ""), task.ended)


def _event(state: str, what: str, moment: float) -> None:
    with Element("li"):
        ui.icon(ICONS[state]).style(f"color: {COLOURS[state]}")
        Text("div", what)
        if moment:
            with Element("div").classes("soft small"):
                Moment(moment)
                Text("span", "" if moment > time.time() else f" · {words.ago(moment)}")


def _host_of(page: Page, session: str) -> str:
    return next((worker.host for worker in page.source.now().workers if worker.session == session), "")
