"""``docs/benchmarks.md``, made of the files that the measures have written."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

from bench import tables
from bench.measures import MEASURES
from bench.tables import Record

HEAD = """# Benchmarks, made by `make bench bench-peers`

What Taskyard costs, and what others cost on the same work. Everything ran on one machine, client and workers included, with
two worker processes. One *round* runs every system once, each in fresh processes that have the machine for themselves. Figures
are medians over rounds; ratios are taken within a round before their median, since the machine's own speed drifts. Differences
under about 25 % mean nothing. The figures of each round lie beside this page, in [benchmarks](benchmarks).

The work is N calls of `n * n`; each result can be got by itself, and each is checked. The clock runs from the first submit to the
last result in the client's hand, and the workers are warm when it starts. N is such that a round takes a second or two. *Durable*
means that what was acknowledged is on the disk: SQLite with `synchronous=FULL`, Redis with `appendfsync always`.
"""
SECTIONS = {
    "peers": (
        "Tasks a second, beside others",
        tables.rates,
        """In brackets: how many times that rate Taskyard has, durable, in the way named in the third column. `map` and the ways
of pools with `chunksize=100` send many calls as one task. Each of the others is set up as its documentation or its users say
is quick: `bench/systems` has a module for each. Ray and Dask keep nothing on disk. Redis is Debian's, on the same machine.""",
    ),
    "rates": (
        "Tasks a second, beside the standard library",
        tables.rates,
        """In brackets: how many times that rate Taskyard has, durable, in the way named in the third column. *The tutorial's two
queues* are two `queue.Queue` on a `BaseManager`, as the tutorial on distributed processes has them, with one task a call.""",
    ),
    "roundtrip": (
        "One call at a time",
        tables.roundtrip,
        """From the call to its result, with nothing else to do. A durable round trip needs two fsyncs and four calls over a
connection; what these cost bare, on the same disk and loopback, is a row of the table.""",
    ),
    "cpu": (
        "CPU of a task, by process",
        tables.cpu,
        """Microseconds of user and system time together. With two processors, their sum is what bounds the rate.""",
    ),
    "growth": ("Many calls", tables.growth, "Each number of calls on a queue that was empty before."),
    "replicas": (
        "One host and three",
        tables.replicas,
        """Each worker is a process with one slot. With NATS servers there are as many masters, one of which leads; each server
keeps a copy: an answer comes once most of them have it. One alone syncs its disk for each entry of the log. All run on this one
machine, so that more servers and workers share its processors.""",
    ),
    "slots": (
        "Many slots",
        tables.slots,
        """Tasks that sleep, the longer the more slots there are, so that all slots together could run 1,000 a second in each row.
*Least over mean* compares the slot that got the fewest tasks with the average.""",
    ),
    "payloads": (
        "Large payloads",
        tables.payloads,
        "Single tasks, `map(chunksize=1)`: so many bytes of arguments, and the same as the result.",
    ),
    "backlog": (
        "Tasks waiting",
        tables.backlog,
        """A master without workers, filled through `submit`, and then started again on the same folder. *Serves*: its port is
open. *Lends*: a worker would have its first task.""",
    ),
    "joins": ("Joining", tables.joins, "Connect, prove the key, have the first call answered, leave."),
    "sharing": (
        "Long tasks",
        tables.sharing,
        "What a slot leases ahead must not wait for a long task while another slot is free.",
    ),
}
"""Title, table and text of each measure, in the page's order."""


def make(out: Path) -> Path:
    """Write the page into ``out``, its plots into the folder beside that has the measures' files; returns its path."""
    folder = out / "benchmarks"
    records = {name: json.loads(path.read_text()) for name in MEASURES if (path := folder / f"{name}.json").exists()}
    sections = [section(records[name], draw(records[name], folder)) for name in SECTIONS if name in records]
    page = out / "benchmarks.md"
    page.write_text("\n".join([HEAD, *sections, runs(list(records.values()))]))
    return page


def draw(record: Record, folder: Path) -> Path | None:
    """See `bench.plots.draw`; without matplotlib the page has no plots."""
    if find_spec("matplotlib") is None:
        return None
    from bench import plots

    return plots.draw(record, folder)


def section(record: Record, plot: Path | None) -> str:
    """One measure: title, text, table, plot."""
    title, make_table, text = SECTIONS[record["measure"]]
    parts = [f"## {title}\n", f"{text}\n", f"{make_table(record)}\n"]
    if record["measure"] == "peers":
        parts += ["One call at a time, in the same rounds:\n", f"{tables.roundtrip(record)}\n"]
    if plot is not None:
        parts.append(f"![{title}](benchmarks/{plot.name})\n")
    return "\n".join(parts)


def runs(records: list[Record]) -> str:
    """When and on what each measure was run."""
    rows = [
        (
            f"[{record['measure']}](benchmarks/{record['measure']}.json)",
            f"`{record['command']}`",
            record["machine"]["date"].replace("T", " ").removesuffix("+00:00"),
            str(record["rounds"]),
            f"{record['scale']:g}",
            record["machine"]["versions"]["taskyard"],
        )
        for record in records
    ]
    heading = ("measure", "command", "begun, UTC", "rounds", "scale", "Taskyard")
    text = f"## The runs\n\n{tables.table(heading, rows, words=3)}\n"
    if any(record["scale"] != 1 for record in records):
        text += "\nA scale other than 1 multiplies the numbers of calls; below 1 the figures are a look, no more.\n"
    return "\n".join([text, *dict.fromkeys(map(machine, records)), f"Versions: {', '.join(versions(records))}.\n"])


def machine(record: Record) -> str:
    """What a measure ran on, in a sentence."""
    told = record["machine"]
    return (
        f"Machine: {told['processors']} processors ({told['processor']}), {told['memory'] / 2**30:.0f} GiB, {told['system']},"
        f" the queue on {told['file system']}.\n"
    )


def versions(records: list[Record]) -> list[str]:
    """All packages and programs that had a part, each with its version; several where it had several."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        answers = [answer for point in record["points"] for answer in point["rounds"]]
        for told in (record["machine"]["versions"], *(answer.get("versions", {}) for answer in answers)):
            for package, version in told.items():
                if package != "taskyard":
                    found.setdefault("redis (Python)" if package == "redis" else package, {})[version] = None
    return [f"{package} {' and '.join(those)}" for package, those in found.items()]
