"""The page's plots, as SVG whose text stays text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from bench.systems import CHUNKED, OURS, SINGLE
from bench.tables import Record, rate

OURS_COLOUR, OTHERS_COLOUR, FAINT = "#d1495b", "#30638e", 0.45
matplotlib.rcParams.update(
    {"svg.fonttype": "none", "svg.hashsalt": "bench", "axes.spines.top": False, "axes.spines.right": False}
)


def rates(record: Record, axes: Any) -> None:
    """Bars of tasks a second; faint where nothing is kept."""
    bars = [
        (median(rate(a, way) for a in point["rounds"]), f"{point['system']}: {way}", point)
        for point in record["points"]
        if point["rounds"]
        for way in point["beside"]
    ]
    bars.sort(key=lambda bar: bar[0])
    names = [f"{name}, durable" if point["keeps"] else name for _, name, point in bars]
    axes.barh(
        names,
        [value for value, _, _ in bars],
        color=[OURS_COLOUR if point["system"] == OURS.name else OTHERS_COLOUR for _, _, point in bars],
    )
    for bar, (value, _, point) in zip(axes.patches, bars, strict=True):
        bar.set_alpha(1.0 if point["keeps"] else FAINT)
        axes.text(value, bar.get_y() + bar.get_height() / 2, f" {value:,.0f}", va="center", fontsize=7)
    axes.set(xscale="log", xlabel="tasks a second; faint: nothing is kept on disk")
    axes.tick_params(axis="y", labelsize=7)
    axes.figure.set_size_inches(9, 1 + 0.22 * len(bars))


def growth(record: Record, axes: Any) -> None:
    """Tasks a second over the number of calls."""
    calls = [point["calls"] for point in record["points"]]
    for way, colour in ((SINGLE, OURS_COLOUR), (CHUNKED, OTHERS_COLOUR)):
        values = [median(rate(a, way) for a in point["rounds"]) for point in record["points"]]
        axes.plot(calls, values, "o-", label=way, color=colour)
    axes.set(xscale="log", yscale="log", xlabel="calls", ylabel="calls a second")
    axes.legend()


def slots(record: Record, axes: Any) -> None:
    """What a task costs the master over the number of slots."""
    costs = [median(1e6 * a["cpu"]["master"] / a["tasks"] for a in point["rounds"]) for point in record["points"]]
    axes.plot([point["slots"] for point in record["points"]], costs, "o-", color=OURS_COLOUR)
    axes.set(xscale="log", xlabel="slots", ylabel="the master's CPU, µs a task", ylim=(0, None))


def payloads(record: Record, axes: Any) -> None:
    """Megabytes a second over the size of a payload."""
    sizes = [point["size"] for point in record["points"]]
    values = [median(point["size"] * a["calls"] / a["seconds"] / 1e6 for a in point["rounds"]) for point in record["points"]]
    axes.plot(sizes, values, "o-", color=OURS_COLOUR)
    axes.set(xscale="log", yscale="log", xlabel="bytes of a payload", ylabel="MB a second, each way")


def backlog(record: Record, axes: Any) -> None:
    """The master's memory over the number of tasks that wait."""
    waiting = [point["waiting"] for point in record["points"]]
    memory = [median(a["memory"] / 1e6 for a in point["rounds"]) for point in record["points"]]
    axes.plot(waiting, memory, "o-", color=OURS_COLOUR)
    axes.set(xlabel="tasks waiting", ylabel="the master's memory, MB", ylim=(0, None))


DRAWN: dict[str, Callable[[Record, Any], None]] = {
    "rates": rates,
    "peers": rates,
    "growth": growth,
    "slots": slots,
    "payloads": payloads,
    "backlog": backlog,
}


def draw(record: Record, folder: Path) -> Path | None:
    """Write the plot of a measure into ``folder``; returns its path, None for a measure that has none."""
    drawing = DRAWN.get(record["measure"])
    if drawing is None:
        return None
    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    drawing(record, axes)
    path = folder / f"{record['measure']}.svg"
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
    return path
