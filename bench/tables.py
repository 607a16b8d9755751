"""The page's tables, each made of the file of one measure: figures are medians over its rounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from bench.systems import CHUNKED, OURS, SINGLE

Record = dict[str, Any]
Row = Sequence[str]


def table(heading: Row, rows: Iterable[Row], words: int = 1) -> str:
    """Markdown; all columns behind the first ``words`` are numbers."""
    lines = [heading, ["---"] * words + ["---:"] * (len(heading) - words), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Three digits that count, but never fewer than the integer has."""
    if value >= 100:
        return f"{round(value, -max(0, len(str(int(value))) - 3)):,.0f}"
    return f"{value:.{2 if value < 10 else 1}f}"


def rate(answer: Any, way: str) -> float:
    """Tasks a second of one round."""
    calls = answer["calls"]
    return float((calls[way] if isinstance(calls, dict) else calls) / answer["seconds"][way])


def ours_of(record: Record) -> Record:
    """Taskyard's own point among those of several systems."""
    return next(point for point in record["points"] if point["system"] == OURS.name)


def ratio(record: Record, point: Record, way: str) -> float:
    """How many times the rate of a way Taskyard has, in the way it is compared with, in the same round."""
    pairs = zip(ours_of(record)["rounds"], point["rounds"], strict=False)
    return median(rate(ours, point["beside"][way]) / rate(its, way) for ours, its in pairs)


def rates(record: Record) -> str:
    """A row for each way of each system, the quickest first; keeping nothing and durable side by side."""
    found: dict[tuple[str, str], dict[bool, tuple[str, float]]] = {}
    beside = {}
    for point in record["points"]:
        for way in point["beside"]:
            cells = found.setdefault((point["system"], way), {})
            beside[point["system"], way] = point["beside"][way]
            if point["error"]:
                cells[point["keeps"]] = f"did not run: {last_line(point['error'])}", 0.0
            else:
                value = median(rate(answer, way) for answer in point["rounds"])
                cells[point["keeps"]] = f"{number(value)} ({number(ratio(record, point, way))} x)", value
    rows = [
        (system, f"`{way}`", f"`{beside[system, way]}`", *(cells.get(keeps, ("", 0.0))[0] for keeps in (False, True)))
        for (system, way), cells in sorted(found.items(), key=lambda item: -max(value for _, value in item[1].values()))
    ]
    marked = [tuple(f"**{cell}**" if row[0] == OURS.name and cell else cell for cell in row) for row in rows]
    return table(("system", "way of calling", "compared with Taskyard's", "nothing kept", "durable"), marked, words=3)


def last_line(text: str) -> str:
    """Of an error, fit for a cell."""
    return text.strip().splitlines()[-1].replace("|", "/")[:120]


def roundtrip(record: Record) -> str:
    """Milliseconds of one call at a time, the quickest first; over the bare cost in the same round, where that was measured."""
    points = [point for point in record["points"] if point["rounds"]]
    bare: list[Any] = next((point["rounds"] for point in points if "keeps" not in point), [])
    rows = []
    for point in sorted(points, key=lambda point: median(a["trips"]["p50"] for a in point["rounds"])):
        kept = {True: ", durable", False: ", nothing kept"}.get(point.get("keeps", None), " (the bare cost)")
        row = [point["system"] + kept, *(number(median(a["trips"][p] for a in point["rounds"])) for p in ("p50", "p99"))]
        if bare:
            row.append(number(median(a["trips"]["p50"] / b["trips"]["p50"] for a, b in zip(point["rounds"], bare, strict=False))))
        rows.append(row)
    return table(("system", "p50, ms", "p99, ms", *(["p50 over the bare cost"] if bare else [])), rows)


def cpu(record: Record) -> str:
    """Microseconds of a task, by process."""
    kinds = list(record["points"][0]["rounds"][0]["cpu"])

    def micros(point: Record, of: Sequence[str]) -> float:
        return 1e6 * median(sum(float(a["cpu"][kind]) for kind in of) / float(a["calls"]) for a in point["rounds"])

    rows = [
        (f"`{point['way']}`", *(number(micros(point, [kind])) for kind in kinds), number(micros(point, kinds)))
        for point in record["points"]
    ]
    return table(("way of calling", *kinds, "sum"), rows)


def growth(record: Record) -> str:
    """Tasks a second by how many there are, and that over the rate of the row before in the same round."""
    rows = []
    for before, point in zip([None, *record["points"]], record["points"], strict=False):
        row = [f"{point['calls']:,}"]
        for way in (SINGLE, CHUNKED):
            row.append(number(median(rate(a, way) for a in point["rounds"])))
            pairs = zip(point["rounds"], before["rounds"], strict=False) if before else []
            row.append(number(median(rate(a, way) / rate(b, way) for a, b in pairs)) if before else "")
        rows.append(row)
    return table(("calls", f"`{SINGLE}`, tasks/s", "over the row before", f"`{CHUNKED}`, calls/s", "over the row before"), rows)


def replicas(record: Record) -> str:
    """Tasks a second by servers of NATS and workers, and over one worker's with as many servers in the same round."""
    rows: list[Row] = []
    first: dict[int, Any] = {}
    for point in record["points"]:
        if "servers" not in point:  # the system that it is compared with
            way = next(iter(point["beside"]))
            told = [rate(answer, way) for answer in point["rounds"]]
            kept = "durable" if point["keeps"] else "nothing kept"
            rows.append((f"{point['system']}, {kept}", "2", number(median(told)) if told else "did not run", "", "", "", ""))
            continue
        one = first.setdefault(point["servers"], point)
        columns = []
        for calls, seconds in (("squares", "seconds"), ("naps", "nap_seconds")):
            rates = [a[calls] / a[seconds] for a in point["rounds"]]
            over = [value * a[seconds] / a[calls] for value, a in zip(rates, one["rounds"], strict=False)]
            columns += [number(median(rates)), number(median(over))]
        name = f"Taskyard, {point['servers']} NATS servers" if point["servers"] else "Taskyard, one master alone"
        rows.append((name, str(point["workers"]), *columns, number(median(a["trip"] for a in point["rounds"]))))
    heading = ("queue", "workers", "tasks/s", "over one worker", "tasks of 10 ms, a second", "over one worker", "round trip, ms")
    return table(heading, rows)


def slots(record: Record) -> str:
    """What each slot and the master has to do, by how many slots there are."""
    cost = {point["slots"]: median(1e6 * a["cpu"]["master"] / a["tasks"] for a in point["rounds"]) for point in record["points"]}
    rows = [
        (
            str(point["slots"]),
            f"{100 * median(a['least seconds'] / a['seconds'] for a in point['rounds']):.0f} %",
            f"{median(min(a['tasks of slots']) * point['slots'] / a['tasks'] for a in point['rounds']):.2f}",
            number(cost[point["slots"]]),
            f"{cost[point['slots']] / (cost[2] or 1):.2f}",
        )
        for point in record["points"]
    ]
    return table(("slots", "of the possible rate", "least over mean", "master, µs of CPU a task", "over that with 2"), rows)


def payloads(record: Record) -> str:
    """Tasks and megabytes a second by the size of a payload."""
    rows = []
    for point in record["points"]:
        per_second = median(a["calls"] / a["seconds"] for a in point["rounds"])
        rows.append((f"{point['size']:,}", number(per_second), number(per_second * point["size"] / 1e6)))
    return table(("bytes there and back", "tasks/s", "MB/s each way"), rows)


def backlog(record: Record) -> str:
    """The master by how many tasks wait."""
    rows = []
    for point in record["points"]:
        taken_in = median(a["waiting"] / a["filling"] for a in point["rounds"])
        memory = [f"{median(a[key] / 1e6 for a in point['rounds']):.0f}" for key in ("memory", "memory after start")]
        begins = [f"{median(a[key] for a in point['rounds']):.2f}" for key in ("serves", "lends")]
        rows.append((f"{point['waiting']:,}", number(taken_in) if point["waiting"] else "", *memory, *begins))
    heading = ("waiting", "taken in, tasks/s", "memory, MB", "after a start, MB", "serves after, s", "lends after, s")
    return table(heading, rows)


def joins(record: Record) -> str:
    """Connections a second."""
    rows = [
        (str(point["at once"]), number(median(a["joins"] / a["seconds"] for a in point["rounds"]))) for point in record["points"]
    ]
    return table(("at the same time", "joins/s"), rows)


def sharing(record: Record) -> str:
    """Long tasks, and short ones beside them."""
    long, alone, beside = record["points"]
    rows = [("time that 8 slots with tasks of 1 s were busy", f"{100 * median(a['busy'] for a in long['rounds']):.2f} %")]
    rows.append(("longest pause of a slot between two tasks", f"{1000 * median(a['gap'] for a in long['rounds']):.1f} ms"))
    for point, words in ((alone, "alone"), (beside, "beside another client's tasks of 1 s on 4 of the 8 slots")):
        p50, p99 = (number(median(a["trips"][p] for a in point["rounds"])) for p in ("p50", "p99"))
        rows.append((f"tasks of 1 ms, one at a time, {words}: p50, p99", f"{p50} ms, {p99} ms"))
    pairs = zip(beside["rounds"], alone["rounds"], strict=False)
    rows.append(
        (
            "their p99 beside the long ones over that alone",
            number(median(b["trips"]["p99"] / a["trips"]["p99"] for b, a in pairs)),
        )
    )
    return table(("", ""), rows)
