"""``python -m tests.chaos --minutes 30 --seed 7``, or ``--alone``: exit code 1, with what was not as promised and a replay."""

from __future__ import annotations

import argparse
import secrets
import sys

from tests.chaos.alone import run_alone
from tests.chaos.run import run
from tests.chaos.schedule import KINDS


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="The shipped cluster under blows that a seed decides."
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long blows fall (10)")
    parser.add_argument(
        "--seed", type=int, help="decides which, when and on whom; made at random and printed where it is not given"
    )
    parser.add_argument("--alone", action="store_true", help="each kind by itself, with how long it stalls work and its bound")
    parser.add_argument("--only", choices=KINDS, action="append", metavar="KIND", help="with --alone: this kind, not all")
    told = parser.parse_args()
    seed = secrets.randbelow(10**6) if told.seed is None else told.seed
    if told.alone:
        replay = f"make chaos-alone SEED={seed}" + "".join(f' ONLY="{kind}"' for kind in told.only or ())
        print(f"chaos: {replay}", flush=True)
        report = run_alone("taskyard-chaos", seed, told.only or KINDS, replay, say, TASKYARD_VERSION="chaos")
    else:
        replay = f"make chaos MINUTES={told.minutes:g} SEED={seed}"
        print(f"chaos: {replay}", flush=True)
        report = run("taskyard-chaos", seed, told.minutes * 60, replay, say, TASKYARD_VERSION="chaos")
    print("\n" + "\n".join(report.lines()), flush=True)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
