"""Pages of a list: the queue tells so many rows at a time."""

from __future__ import annotations

from urllib.parse import urlencode

from nicegui.element import Element

from dashboard.page.frame import Text


class Pager:
    """Links to the page before and to the next one; ``number`` is this one's, from 1."""

    def __init__(self, number: int, rows: int, path: str, **query: str) -> None:
        self.number = number
        self.skipped = (number - 1) * rows
        with Element("nav").classes("pages").props('aria-label="Pages of the list"') as self._nav:
            given = {key: value for key, value in query.items() if value}
            self._before, self._next = (
                Text("a", name, "q-btn").props(f'href="{path}?{urlencode({**given, "page": to})}"').style("padding: .4rem .8rem")
                for name, to in (("Newer" if path == "/jobs" else "Before", number - 1), ("More", number + 1))
            )
            Text("span", f"page {number}", "soft small").move(self._nav, 1)
        self._before.set_visibility(number > 1)

    def show(self, more: bool) -> None:
        """Whether rows follow."""
        self._next.set_visibility(more)
        self._nav.set_visibility(more or self.number > 1)
