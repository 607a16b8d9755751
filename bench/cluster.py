"""Taskyard as its users start it: real programs, durable, on a folder; and the processes it consists of."""

from __future__ import annotations

from pathlib import Path

import psutil

from bench.tasks import square
from taskyard import Cluster, LocalCluster

WARM_CALLS = 2000


def start(folder: Path, workers: int = 1, slots: int = 2) -> LocalCluster:
    """A master and workers that have run their first calls."""
    cluster = LocalCluster(workers, slots=slots, folder=folder / "data", app="bench.tasks")
    try:
        list(cluster.map(square, range(WARM_CALLS), chunksize=1))
    except BaseException:
        cluster.shutdown(cancel_futures=True)
        raise
    return cluster


def another_client(ours: LocalCluster) -> Cluster:
    """A second client of a local cluster, which tells its key to nobody but its programs."""
    return Cluster(ours.queue.url, ours.queue._authkey)


def processes() -> dict[str, list[psutil.Process]]:
    """This process and those of its local cluster, by what they are."""
    client = psutil.Process()
    found: dict[str, list[psutil.Process]] = {"client": [client], "master": [], "supervisor": [], "slots": []}
    for child in client.children():
        words = child.cmdline()
        if "master" in words:
            found["master"].append(child)
        elif "worker" in words:
            found["supervisor"].append(child)
            found["slots"] += [slot for slot in child.children() if "spawn_main" in " ".join(slot.cmdline())]
    return found


def cpu_seconds() -> dict[str, float]:
    """What each kind of process has used so far, with what its threads and ended children had."""
    return {kind: sum(sum(process.cpu_times()[:4]) for process in those) for kind, those in processes().items()}
