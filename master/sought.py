"""Which tasks `find` looks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from master.series import Series
from taskyard.series import join_id


class Sought(NamedTuple):
    """Of a job, of a name, with a text in their ids; None: any."""

    job: str | None = None
    name: str | None = None
    text: str | None = None

    def fits(self, job: str, name: str, prefix: str, number: int) -> bool:
        """Whether it is one of them."""
        return (
            self.job in (None, job) and self.name in (None, name) and (self.text is None or self.text in join_id(prefix, number))
        )

    def runs(self, series: Series, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Those of a series' tasks from seq ``begin`` up to ``end``, as ranges. Most series are dealt with as a whole."""
        if self.name not in (None, series.name):
            return
        if self.text is None or self.text in f"{series.prefix}-":
            yield begin, end
            return
        head, dash, digits = self.text.rpartition("-")
        if not digits.isdigit() or (dash and not series.prefix.endswith(head)):
            return
        first = series.first - series.seq
        fits = str.startswith if dash else str.__contains__
        for seq in range(begin, end):
            if fits(str(first + seq), digits):
                yield seq, seq + 1
