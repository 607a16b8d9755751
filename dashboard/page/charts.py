"""The plots of the overview: the queue's samples on an even grid of time, and each plot's options for ECharts."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

from dashboard.page.look import COLOURS
from taskyard.histogram import EMPTY, quantile
from taskyard.model import Sample
from taskyard.samples import merged, only_levels

GRACE = 3.0
"""Seconds after the end of a step within which its sample may still come."""
LINE, FAINT = "#80868f66", "#80868f33"
SECONDS = (
    "value => value >= 3600 ? +(value / 3600).toPrecision(3) + ' h' : value >= 60 ? +(value / 60).toPrecision(3) + ' min'"
    " : value >= 1 ? +value.toPrecision(3) + ' s' : +(value * 1000).toPrecision(3) + ' ms'"
)
NUMBER = "value => (+value.toPrecision(3)).toLocaleString('en')"
OR_NONE = "value => value === null || value === undefined || Number.isNaN(+value) ? 'none' : ({})(+value)"


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of time that plots show, and the step between its points, both in seconds."""

    label: str
    span: float
    step: float


RANGES = {
    "10m": Range("10 min", 600.0, 10.0),
    "1h": Range("1 h", 3600.0, 30.0),
    "1d": Range("1 day", 86400.0, 600.0),
    "14d": Range("14 days", 14 * 86400.0, 7200.0),
}


@dataclass(frozen=True, slots=True)
class Series:
    """One line or row of bars: a value for each point, told apart by colour, by dash and by the shape in the legend."""

    name: str
    colour: str
    value: Callable[[Sample], float | None]
    dash: str = "solid"
    shape: str = "circle"


@dataclass(frozen=True, slots=True)
class Plot:
    """What a plot shows."""

    title: str
    what: str
    """Said of it to those who don't see it."""
    series: tuple[Series, ...]
    seconds: bool = False
    bars: bool = False
    wide: bool = False


def _rate(field: str) -> Callable[[Sample], float]:
    return lambda sample: float(getattr(sample, field) / sample.seconds)


def _level(field: str) -> Callable[[Sample], float]:
    return lambda sample: float(getattr(sample, field))


def _quantile(field: str, share: float) -> Callable[[Sample], float | None]:
    return lambda sample: float(f"{quantile(getattr(sample, field), share):.3g}") if any(getattr(sample, field)) else None


def _of(field: str) -> tuple[Series, ...]:
    return (
        Series("half (p50)", COLOURS["ready"], _quantile(field, 0.5)),
        Series("slowest 1% (p99)", COLOURS["failed"], _quantile(field, 0.99), "dashed", "triangle"),
    )


PLOTS = (
    Plot(
        "Ends a second",
        "tasks that were done and that failed, a second",
        (
            Series("done", COLOURS["done"], _rate("done")),
            Series("failed", COLOURS["failed"], _rate("failed"), "dashed", "triangle"),
        ),
        wide=True,
    ),
    Plot(
        "Open tasks",
        "tasks that are ready, leased and delayed",
        (
            Series("ready", COLOURS["ready"], _level("ready")),
            Series("leased", COLOURS["leased"], _level("leased"), "dashed", "triangle"),
            Series("delayed", COLOURS["delayed"], _level("delayed"), "dotted", "diamond"),
        ),
    ),
    Plot(
        "Failures",
        "tasks that failed or were cancelled, by step of time",
        (
            Series("failed", COLOURS["failed"], _level("failed"), shape="triangle"),
            Series("cancelled", COLOURS["cancelled"], _level("cancelled"), shape="rect"),
        ),
        bars=True,
    ),
    Plot("Wait until leased", "how long tasks were ready before they were leased", _of("wait"), seconds=True),
    Plot("Run time", "how long attempts ran", _of("run"), seconds=True),
)


def on_grid(samples: Sequence[Sample], shown: Range, now: float) -> list[Sample]:
    """One sample for each step of the range. Where the queue kept none, nothing has changed."""
    end = floor((now - GRACE) / shown.step) * shown.step
    count = ceil(shown.span / shown.step)
    begin = end - count * shown.step
    levels = [sample for sample in samples if sample.at <= begin][-1:]
    last = levels[0] if levels else Sample(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, EMPTY, EMPTY)
    moments = [sample.at for sample in samples]
    grid = []
    for number in range(1, count + 1):
        at = begin + number * shown.step
        within = samples[bisect_left(moments, at - shown.step + 1e-6) : bisect_left(moments, at + 1e-6)]
        grid.append(merged([only_levels(last), *within], at, shown.step))
        last = grid[-1]
    return grid


def options(plot: Plot, grid: Sequence[Sample]) -> dict[str, Any]:
    """The plot of these samples."""
    formatter = SECONDS if plot.seconds else NUMBER
    return {
        "animation": False,
        "aria": {"enabled": True, "label": {"description": f"Plot over time: {plot.what}."}},
        "grid": {"left": 8, "right": 14, "top": 34, "bottom": 4, "containLabel": True},
        "legend": {
            "top": 0,
            "left": 0,
            "itemWidth": 22,
            "data": [{"name": one.name, "icon": one.shape} for one in plot.series],
        },
        "tooltip": {
            "trigger": "axis",
            "className": "tip",
            "confine": True,
            ":valueFormatter": OR_NONE.format(formatter),
        },
        "xAxis": {
            "type": "time",
            "min": int(grid[0].at * 1000),
            "max": int(grid[-1].at * 1000),
            "splitNumber": 5,
            "axisLine": {"lineStyle": {"color": LINE}},
            "axisLabel": {"hideOverlap": True},
        },
        "yAxis": {
            "type": "value",
            "min": 0,
            "minInterval": 1 if plot.bars else 0,
            "splitNumber": 4,
            "splitLine": {"lineStyle": {"color": FAINT}},
            "axisLabel": {":formatter": formatter},
        },
        "series": [_series(plot, one, grid) for one in plot.series],
    }


def _series(plot: Plot, one: Series, grid: Sequence[Sample]) -> dict[str, Any]:
    drawn: dict[str, Any] = {
        "name": one.name,
        "data": [[int(sample.at * 1000), one.value(sample)] for sample in grid],
        "itemStyle": {"color": one.colour},
    }
    if plot.bars:
        decal = {"decal": {"symbol": "rect", "dashArrayX": [1, 0], "dashArrayY": [2, 4], "rotation": 0.8}}
        hatched = {"itemStyle": {"color": one.colour, **(decal if one.name == "failed" else {})}}
        return {**drawn, **hatched, "type": "bar", "stack": "all", "barMaxWidth": 14}
    return {
        **drawn,
        "type": "line",
        "symbol": one.shape,
        "symbolSize": 6,
        "showSymbol": plot.seconds and sum(one.value(sample) is not None for sample in grid) < 40,
        "connectNulls": False,
        "lineStyle": {"width": 2, "type": one.dash},
        "areaStyle": {"opacity": 0.08} if one.dash == "solid" and not plot.seconds else None,
    }
