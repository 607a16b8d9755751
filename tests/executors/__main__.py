"""Runs the whole list, on `taskyard.Cluster` or on the kind that is named: one JSON line for each behaviour."""

import json
import sys
import time
import traceback

from tests.executors.behaviours import BEHAVIOURS, KINDS, run


def main() -> None:
    kind = KINDS[sys.argv[1] if len(sys.argv) > 1 else "Cluster"]
    with kind() as executor:
        for name in BEHAVIOURS:
            started, error = time.monotonic(), ""
            try:
                run(name, kind, executor)
            except Exception:
                error = traceback.format_exc()
            print(json.dumps({"behaviour": name, "error": error, "seconds": time.monotonic() - started}), flush=True)


if __name__ == "__main__":
    main()
