"""``/metrics`` for Prometheus: what the queue says when it is asked, and what is asked of the dashboard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import Scope

from dashboard.connections import PROBE_SECONDS, Connections
from taskyard.errors import TaskyardError
from taskyard.histogram import BOUNDS
from taskyard.model import END_STATES, OPEN_STATES, Kind, WorkerInfo
from taskyard.transport import RemoteQueue

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each counter, that nobody asks for
BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OTHER = "other"


class Metrics:
    """What is counted here between two scrapes; the rest is asked for at each."""

    def __init__(self) -> None:
        labels = ("method", "route", "status")
        self._requests = Counter("taskyard_dashboard_requests", "Requests that were answered.", labels, registry=None)
        self._seconds = Histogram(
            "taskyard_dashboard_request_seconds", "How long an answer took.", ("route",), buckets=BUCKETS, registry=None
        )
        self._own: list[Any] = [self._requests, self._seconds]
        unused = CollectorRegistry()
        self._own += [ProcessCollector(registry=unused), PlatformCollector(registry=unused), GCCollector(registry=unused)]

    def note(self, scope: Scope, status: int, seconds: float | None) -> None:
        """Count a request by the template of its route: a path could be anything; None: it lasted for as long as somebody
        listened, which says nothing of the dashboard.
        """
        route = getattr(scope.get("route"), "path", None) or OTHER
        method = scope["method"] if scope["method"] in METHODS else OTHER
        self._requests.labels(method, route, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(route).observe(seconds)

    def registry(self, queue: RemoteQueue | None) -> CollectorRegistry:
        """For one scrape; None: the queue does not answer in time."""
        registry = CollectorRegistry(auto_describe=False)
        for collector in (SilentQueue() if queue is None else QueueCollector(queue), *self._own):
            registry.register(collector)
        return registry


class SilentQueue(Collector):
    """In place of one that answers."""

    def collect(self) -> Iterator[Metric]:
        """Just that it does not."""
        yield GaugeMetricFamily("taskyard_up", "Whether the queue answers the dashboard.", 0)


class QueueCollector(Collector):
    """Asks the queue when it is scraped."""

    def __init__(self, queue: RemoteQueue) -> None:
        self._queue = queue

    def collect(self) -> Iterator[Metric]:
        """What the queue says; of one that does not answer, just that."""
        up = GaugeMetricFamily("taskyard_up", "Whether the queue answers the dashboard.")
        try:
            stats, kinds = self._queue.stats(), self._queue.kinds()
            workers = [worker for worker in self._queue.workers() if not worker.left]
        except TaskyardError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from of_stats(stats)
        yield from of_workers(workers)
        yield from of_kinds(kinds)


def of_stats(stats: dict[str, Any]) -> Iterator[Metric]:
    """Counts of the queue."""
    tasks = GaugeMetricFamily("taskyard_tasks", "Tasks that the queue holds, by state.", labels=["state"])
    for state in (*OPEN_STATES, *END_STATES):
        tasks.add_metric([state], stats[state])
    yield tasks
    yield GaugeMetricFamily("taskyard_open_tasks_limit", "Open tasks that the queue takes.", stats["bound"])
    yield GaugeMetricFamily("taskyard_payload_limit_bytes", "What the arguments of one task may have.", stats["payload_limit"])
    yield GaugeMetricFamily("taskyard_lease_seconds", "After which a silent worker loses its tasks.", stats["lease"])
    yield GaugeMetricFamily("taskyard_store_bytes", "Size of the queue's file.", stats["bytes"])


def of_workers(workers: list[WorkerInfo]) -> Iterator[Metric]:
    """Sums over the workers: one of them comes and goes, and would leave a series behind."""
    yield GaugeMetricFamily("taskyard_workers", "Workers that are alive.", len(workers))
    yield GaugeMetricFamily("taskyard_slots", "Tasks that they can run at a time.", sum(worker.slots for worker in workers))
    yield GaugeMetricFamily("taskyard_slots_busy", "Those that run one.", sum(worker.busy for worker in workers))
    silent = max((worker.silent for worker in workers), default=0.0)
    yield GaugeMetricFamily("taskyard_workers_silent_seconds", "Since the last heartbeat of the most silent one.", silent)


def of_kinds(kinds: list[Kind]) -> Iterator[Metric]:
    """By name of the task, since the master's start. Of names the queue tells 200 at most."""
    submitted = CounterMetricFamily("taskyard_tasks_submitted", "Tasks that were submitted.", labels=["name"])
    ended = CounterMetricFamily("taskyard_tasks_ended", "Tasks that have ended, by how.", labels=["name", "state"])
    failed = CounterMetricFamily("taskyard_attempts_failed", "Attempts that failed, also of tasks tried again.", labels=["name"])
    wait = HistogramMetricFamily("taskyard_task_wait_seconds", "From ready to lent, of each attempt.", labels=["name"])
    run = HistogramMetricFamily("taskyard_task_run_seconds", "How long attempts ran, as workers tell.", labels=["name"])
    for kind in kinds:
        submitted.add_metric([kind.name], kind.submitted)
        for state in END_STATES:
            ended.add_metric([kind.name, state], getattr(kind, state))
        failed.add_metric([kind.name], kind.attempts_failed)
        wait.add_metric([kind.name], _buckets(kind.wait), kind.wait_seconds)
        run.add_metric([kind.name], _buckets(kind.run), kind.run_seconds)
    yield from (submitted, ended, failed, wait, run)


def _buckets(counts: Sequence[int]) -> list[tuple[str, float]]:
    """Of the queue's buckets every second bound, two a decade: each is a series for each name."""
    upto = list(accumulate(counts))
    told = [(str(bound), float(upto[index])) for index, bound in enumerate(BOUNDS) if index % 2 == 0]
    return [*told, ("+Inf", float(upto[-1]))]


def metrics_router(connections: Connections, metrics: Metrics) -> APIRouter:
    """``/metrics``."""
    router = APIRouter(include_in_schema=False)

    @router.get("/metrics")
    async def expose(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        try:
            text = await connections.call(lambda queue: encode(metrics.registry(queue)), PROBE_SECONDS)
        except TaskyardError:  # it answers too slowly, or too many ask
            text = encode(metrics.registry(None))
        return Response(text, headers={"Content-Type": content_type})

    return router
