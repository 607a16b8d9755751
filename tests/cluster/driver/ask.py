"""A client for tests to talk to: one JSON line in, ``[task, args, timeout]``; one out, ``{value or error, seconds}``."""

from __future__ import annotations

import json
import sys
import time

from taskyard import Cluster


def main() -> None:
    with Cluster() as cluster:
        print(json.dumps({"ready": True}), flush=True)
        for line in sys.stdin:
            question = json.loads(line)
            started = time.monotonic()
            answer: dict[str, object] = {}
            try:
                if question[0] == "workers":
                    answer["value"] = [worker._asdict() for worker in cluster.workers()]
                else:
                    name, args, timeout = question
                    answer["value"] = cluster.submit(name, *args).result(timeout)
            except Exception as error:
                answer["error"] = f"{type(error).__name__}: {error}"
            answer["seconds"] = time.monotonic() - started
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
