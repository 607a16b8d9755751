"""Submit tasks that kill their workers among N harmless ones; print one JSON line: how each ended, after how many attempts."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import Future
from typing import Any

from taskyard import Cluster
from taskyard.keys import find_authkey
from taskyard.settings import load_settings
from taskyard.transport import RemoteQueue
from tests.cluster.driver.tasks import die_by, exhaust_memory, overrun, square_after


def main(harmless: int) -> None:
    started = time.monotonic()
    with Cluster() as cluster:
        poison: dict[str, Future[Any]] = {
            "signal": cluster.submit(die_by, 9),
            "memory": cluster.submit(exhaust_memory),
            "time": cluster.submit(overrun),
        }
        futures = [cluster.submit(square_after, n, 0.02) for n in range(harmless)]
        right = sum(future.result() == n * n for n, future in enumerate(futures))
        right_after = time.monotonic() - started
        causes = {kind: str(future.exception()) for kind, future in poison.items()}
    settings = load_settings()
    with RemoteQueue(settings.taskyard_url, find_authkey(settings)) as queue:
        results = queue.results(cluster.job_id, 0, 10_000, 0)
    failed = [(result.cause, result.attempts) for result in results if result.state == "failed"]
    print(json.dumps({"right": right, "right_after": right_after, "causes": causes, "failed": sorted(failed)}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
