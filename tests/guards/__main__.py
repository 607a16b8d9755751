"""``python -m tests.guards``: takes out each guard of docs/security.md, also those of compose.yaml, and sees its tests fail."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.guards.listing import GUARDS
from tests.guards.removal import see_fail_without


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.guards", description=__doc__, epilog="example: python -m tests.guards --only pickle"
    )
    parser.add_argument("--only", default="", metavar="WORDS", help="guards whose line has these words")
    chosen = [guard for guard in GUARDS if parser.parse_args().only in guard.what]
    if not chosen:
        parser.error("no guard's line has these words")
    unnoticed = 0
    for number, guard in enumerate(chosen, 1):
        with tempfile.TemporaryDirectory() as folder:
            try:
                see_fail_without(guard, Path(folder) / "copy")
                said = "noticed"
            except AssertionError as error:
                unnoticed += 1
                said = f"NOT NOTICED\n{error}"
        print(f"{number}/{len(chosen)} {guard.what}: {said}", flush=True)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} guards are missed by a test when they are taken out")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
