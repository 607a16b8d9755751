"""Your job: what to submit, and what to do with the results."""

import argparse
import random
import sys
import time

from app.tasks import square
from taskyard import Cluster, as_completed
from taskyard.errors import TaskyardError


def main(count: int = 10) -> int:
    """Square some random numbers; returns 0 when every result came."""
    started = time.monotonic()
    with Cluster() as cluster:
        futures = []
        for n in random.choices(range(10_000), k=count):
            print(f"Put task {n}...")
            futures.append(cluster.submit(square, n))
        came = 0
        for future in as_completed(futures):
            try:
                print(f"Result: {future.result()}")
                came += 1
            except Exception as error:
                print(f"Failed: {error}")
        workers = len(cluster.workers())
    print(f"{came} of {count} results in {time.monotonic() - started:.2f} s, by {workers} workers")
    return 0 if came == count else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m app.job", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=10, help="how many tasks to run; 10 if not said")
    try:
        sys.exit(main(parser.parse_args().count))
    except TaskyardError as error:
        print(f"job: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
