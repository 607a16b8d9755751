"""What every page has: the header, the banner of a queue that is lost, what buttons do, and what is asked each second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request
from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from dashboard.access.tokens import Role
from dashboard.page.look import COLOURS, FAVICON, ICONS, RELOAD_SCRIPT, STYLE, THEME_SCRIPT
from dashboard.source import PERIOD, Source
from taskyard.contract import Queue
from taskyard.errors import TaskyardError
from taskyard.log import get_logger

T = TypeVar("T")
FIRST_SECONDS = 2.0
"""How long a page's first look may take before it is sent without it."""
PAGES = (("Overview", "/"), ("Workers", "/workers"), ("Jobs", "/jobs"), ("Tasks", "/tasks"))
THEMES = (
    ("auto", "brightness_auto", "Colours as the system has them"),
    ("light", "light_mode", "Light"),
    ("dark", "dark_mode", "Dark"),
)
RoleOf = Callable[[Request], Role | None]


class Text(TextElement):
    """Text in an element of its own: never HTML, whatever a task put into it."""

    def __init__(self, tag: str, text: str = "", classes: str = "") -> None:
        super().__init__(tag=tag, text=text)
        self.classes(classes)

    def say(self, text: str) -> None:
        """Change it, where it has changed."""
        if text != self.text:
            self.text = text


class Moment(Element):
    """A moment (epoch seconds) in the words and the time zone of whoever looks."""

    def __init__(self, moment: float) -> None:
        super().__init__("time")
        self.set(moment)

    def set(self, moment: float) -> None:
        """Tell another one."""
        told = f"new Date({int(moment * 1000)}).toLocaleString([], {{dateStyle: 'medium', timeStyle: 'medium'}})"
        if self.props.get(":textContent") != told:
            self.props["datetime"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
            self.props[":textContent"] = told


class Page:
    """One open page. ``acts``: whether it has buttons that change something."""

    def __init__(self, request: Request, title: str, here: str) -> None:
        self.source: Source = request.state.source
        self._request = request
        self._role_of: RoleOf = request.state.role_of
        self.acts = self._role_of(request) == "full"
        self._updates: list[Callable[[], Awaitable[None]]] = []
        ui.page_title(f"{title}: Taskyard")
        ui.add_head_html(RELOAD_SCRIPT + THEME_SCRIPT)
        ui.add_css(STYLE)
        ui.colors(primary="#0b5f96")
        self._header(here)
        self._lost = _Banner("lost", "cloud_off", "alert")
        self._paused = _Banner("", "pause_circle", "status")
        self._wrong = _Banner("lost", "error", "alert")

    async def live(self, *updates: Callable[[], Awaitable[None]]) -> None:
        """Do these now and each second; what they raise of the queue's errors is told above the page's content."""
        self._updates += updates
        try:
            await asyncio.wait_for(self._update(), FIRST_SECONDS)
        except TimeoutError:
            pass  # the timer goes on
        self._timer = ui.timer(PERIOD, self._renew, immediate=False)

    async def _renew(self) -> None:
        if self._role_of(self._request) is None:  # a page may stay open for longer than its token counts
            self._timer.deactivate()
            ui.navigate.reload()  # the guard leads it to where one signs in, and back
        else:
            await self._update()

    async def _update(self) -> None:
        self._tell_state()
        trouble = ""
        for update in self._updates:
            try:
                await update()
            except TaskyardError as error:
                trouble = sentence(str(error))
        self._wrong.show("" if self.source.lost_since else trouble)

    async def do(self, ask: Callable[[Queue], T], said: Callable[[T], str]) -> bool:
        """Let the queue do something, and tell the user what came of it; returns whether it was done."""
        if self._role_of(self._request) != "full":
            ui.notify("You may look on here, but change nothing: sign in with the full token.", icon="lock", type="warning")
            return False
        try:
            answer = await self.source.act(ask)
        except TaskyardError as error:
            ui.notify(f"Not done: {sentence(str(error))}", icon="error", color="negative", timeout=10_000, close_button="Close")
            return False
        except Exception:
            get_logger("dashboard").exception("an action failed")
            ui.notify("Not done: the dashboard failed at this; its log says why.", icon="error", color="negative", timeout=10_000)
            return False
        ui.notify(said(answer), icon="check", color="dark")
        await self._update()
        return True

    async def confirmed(self, title: str, text: str, button: str) -> bool:
        """Ask before what can't be undone."""
        with ui.dialog().props(f'aria-label="{title}"') as dialog, ui.card():
            Text("h2", title)
            Text("p", text)
            with ui.row().classes("w-full justify-end"):
                ui.button("Leave it", on_click=lambda: dialog.submit(False)).props("flat autofocus")
                ui.button(button, on_click=lambda: dialog.submit(True), color=None).props("outline").classes("bad")
        answer = await dialog
        if not dialog.is_deleted:  # it is with its page, where that was left unanswered
            dialog.delete()
        return bool(answer)

    # The header

    def _header(self, here: str) -> None:
        with ui.header(fixed=False):
            Text("a", "Skip to the content", "skip").props('href="#content"')
            with Element("a").classes("brand").props('href="/"'):
                ui.html(FAVICON, sanitize=False).props('aria-hidden="true"')
                Text("span", "Taskyard")
            with Element("nav").classes("nav").props('aria-label="Pages"'):
                for name, path in PAGES:
                    current = ' aria-current="page"' if path == here else ""
                    Text("a", name).props(f'href="{path}"{current}')
            with Element("div").classes("tools"):
                self._pause_button()
                with Element("div").classes("themes").props('role="group" aria-label="Colours"'):
                    for theme, icon, label in THEMES:
                        button = ui.button(icon=icon).props(
                            f'flat dense aria-label="{label}" data-theme={theme} aria-pressed=false'
                        )
                        button.tooltip(label)
                        button.on("click", js_handler=f'() => taskyardTheme("{theme}")')
                with Element("form").props('method="post" action="/sign-out"'):
                    ui.button(icon="logout").props('flat dense type="submit" aria-label="Sign out"').tooltip("Sign out")
        Element("span").props("id=content tabindex=-1").style("position:absolute")

    def _pause_button(self) -> None:
        self._pause: ui.button | None = None
        self._says_paused = False
        if self.acts:
            self._pause = ui.button("Pause", icon="pause", on_click=self._switch).props("flat dense")

    async def _switch(self) -> None:
        paused = not self._says_paused  # what the button has said: somebody else may have been quicker
        said = "Paused: what runs goes on, nothing new begins." if paused else "The queue lends tasks again."
        await self.do(lambda queue: queue.pause(paused), lambda _: said)

    def _tell_state(self) -> None:
        snapshot, since = self.source.now(), self.source.lost_since
        self._says_paused = paused = bool(snapshot.stats.get("paused", False))
        self._paused.show(
            "The queue is paused: what runs goes on, and nothing new begins until somebody resumes it." if paused else ""
        )
        if self._pause is not None:
            self._pause.set_text("Resume" if paused else "Pause")
            self._pause.set_icon("play_arrow" if paused else "pause")
        why = f" ({self.source.why[:300]})" if self.source.why else ""
        self._lost.show(
            "The queue does not answer since " if since else "", since, f"{why}; the page goes on by itself when it is back."
        )


class _Banner:
    """A line above the content, there only while it has something to say."""

    def __init__(self, classes: str, icon: str, role: str) -> None:
        with Element("div").props(f"role={role}") as self._region:
            with Element("div").classes(f"banner {classes}") as self._line:
                ui.icon(icon).props('size="1.5rem"')
                with Element("span"):
                    self._text = Text("span")
                    self._moment = Moment(0.0)
                    self._rest = Text("span")
        self._region.set_visibility(False)

    def show(self, text: str, moment: float = 0.0, rest: str = "") -> None:
        """Say this, or nothing."""
        self._text.say(text)
        self._rest.say(rest)
        self._moment.set(moment)
        self._moment.set_visibility(bool(moment))
        if self._region.visible != bool(text):
            self._region.set_visibility(bool(text))


def sentence(text: str) -> str:
    """An error's message, begun and ended as a sentence."""
    text = text.strip() or "no reason is told"
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


class Chip:
    """A state by name, shape and colour."""

    def __init__(self, state: str = "") -> None:
        with Element("span").classes("state"):
            self._icon = ui.icon("")
            self._text = Text("span")
        if state:
            self.show(state, ICONS[state], COLOURS[state])

    def show(self, state: str, icon: str, colour: str) -> None:
        """Another one."""
        self._text.say(state)
        if self._icon.name != icon:
            self._icon.set_name(icon)
        self._icon.style["color"] = colour


class Empty:
    """Says what to do where there is nothing to see; ``command`` is one for a shell."""

    def __init__(self, text: str, command: str = "") -> None:
        with Element("div").classes("card empty") as self._card:
            self._text = Text("p", text)
            if command:
                with Element("p"):
                    Text("span", "Run ")
                    Text("code", command)
                    Text("span", " beside compose.yaml.")

    def show(self, empty: bool, text: str = "") -> None:
        """Whether there is nothing to see."""
        if text:
            self._text.say(text)
        self._card.set_visibility(empty)
