"""Lists whose rows stay the same elements while what they tell changes, so that the keyboard's focus stays where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from nicegui.element import Element

from dashboard.page.frame import Text

T = TypeVar("T")
Shown = TypeVar("Shown", contravariant=True)


class Row(Protocol[Shown]):
    """What stands for one item. Its elements are made with it, within one that is ``element``."""

    @property
    def element(self) -> Element: ...

    def show(self, item: Shown) -> None:
        """Tell what the item is now."""


class Rows(Generic[T]):
    """Rows within ``parent``, made by ``make``, each for one ``key``."""

    def __init__(self, parent: Element, key: Callable[[T], str], make: Callable[[T], Row[T]]) -> None:
        self._parent = parent
        self._key = key
        self._make = make
        self._rows: dict[str, Row[T]] = {}
        self._told: dict[str, T] = {}

    def show(self, items: Iterable[T]) -> None:
        """Let there be a row for each of these, in this order."""
        wanted = {self._key(item): item for item in items}
        for key in self._rows.keys() - wanted.keys():
            self._rows.pop(key).element.delete()
            del self._told[key]
        for key, item in wanted.items():
            if key not in self._rows:
                with self._parent:
                    self._rows[key] = self._make(item)
            if self._told.get(key) != item:
                self._rows[key].show(item)
                self._told[key] = item
        if list(self._rows) != list(wanted):
            self._rows = {key: self._rows[key] for key in wanted}
            for index, row in enumerate(self._rows.values()):
                row.element.move(self._parent, index)


class Bar:
    """How far something is: parts of a whole, each in its colour. ``hatched``: which of them has stripes too."""

    def __init__(self, *colours: str, hatched: int = -1) -> None:
        self.element = Element("div").classes("bar").props("role=progressbar aria-valuemin=0 aria-valuemax=100")
        with self.element:
            self._parts = [Element("i").style(f"background-color: {colour}") for colour in colours]
        if hatched >= 0:
            self._parts[hatched].classes("hatched")

    def show(self, label: str, percent: float, *parts: float) -> None:
        """The parts, in hundredths of the whole, and what is said of it to those who don't see it."""
        self.element.props["aria-label"] = label
        self.element.props["aria-valuenow"] = str(int(percent))
        for part, width in zip(self._parts, parts, strict=True):
            part.style["width"] = f"{width:.2f}%"


class Link(Text):
    """A link whose address may change with its text."""

    def __init__(self, classes: str = "") -> None:
        super().__init__("a", "", classes)

    def lead(self, text: str, address: str) -> None:
        """Say this, and lead there."""
        self.say(text)
        if self.props.get("href") != address:
            self.props["href"] = address
