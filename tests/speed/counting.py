"""What a part's share of the work takes, counted: it is the same on every machine, busy or not.

``python -m tests.speed.counting`` counts anew, and says how that differs from what stands in ``recorded.json``;
``--record`` writes it there.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.speed.work import PARTS

TASKS = 10_000
MORE = 0.1
"""By how much a count may grow."""
RECORDED = Path(__file__).with_name("recorded.json")
ROOT = Path(__file__).parents[2]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SQL = ("execute", "executemany", "executescript")
PICKLES = ("_pickle.dumps", "_pickle.loads", "'load' of '_pickle.Unpickler'", "'dump' of '_pickle.Pickler'")
ENVIRONMENT = {"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"}
"""Of a program whose instructions are counted: nothing of the caller's, such as that no byte code is kept."""
Counts = dict[str, int]


def count_calls(part: str) -> Counts:
    """Calls of functions, Python's own among them, and of these the pickles, SQL statements and commits."""
    PARTS[part](TASKS // 10)  # what is done once is done
    profile = cProfile.Profile()
    profile.enable()
    PARTS[part](TASKS)
    profile.disable()
    counts = dict.fromkeys(("calls", "pickles", "sql", "commits"), 0)
    for entry in profile.getstats():
        name = entry.code if isinstance(entry.code, str) else f"{Path(entry.code.co_filename).name}:{entry.code.co_name}"
        counts["calls"] += entry.callcount
        counts["pickles"] += entry.callcount * any(word in name for word in PICKLES)
        counts["sql"] += entry.callcount * any(f"'{word}' of 'sqlite3" in name for word in SQL)
        counts["commits"] += entry.callcount * (name == "store.py:commit")
    return counts


def has_valgrind() -> bool:
    """Whether instructions can be counted here."""
    return shutil.which("valgrind") is not None


def count_instructions(part: str) -> int:
    """Instructions of the processor, without those of a program that starts and does nothing."""
    subprocess.run(_program(part, 0), cwd=ROOT, env=ENVIRONMENT, check=True)  # leaves neither of the two a module to compile
    without, with_tasks = (_start_counting(part, tasks) for tasks in (0, TASKS))
    return _instructions(with_tasks) - _instructions(without)


def _program(part: str, tasks: int) -> list[str]:
    return [sys.executable, "-m", "tests.speed.work", part, str(tasks)]


def _start_counting(part: str, tasks: int) -> subprocess.Popen[str]:
    tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    return subprocess.Popen([*tool, *_program(part, tasks)], cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def _instructions(counting: subprocess.Popen[str]) -> int:
    _, told = counting.communicate(timeout=300)
    assert counting.returncode == 0, told
    return next(int(line.split()[-1].replace(",", "")) for line in told.splitlines() if "I   refs:" in line or "I refs:" in line)


def recorded() -> dict[str, dict[str, Counts]]:
    """Counts by the interpreter they hold for, and by part: calls by its minor version, instructions by its very build."""
    counts: dict[str, dict[str, Counts]] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    return counts


def count_all() -> Iterator[tuple[str, str, Counts]]:
    """All counts: interpreter, part, counts."""
    for part in PARTS:
        yield PYTHON, part, count_calls(part)
        if has_valgrind():
            yield sys.version, part, {"instructions": count_instructions(part)}


def main() -> None:
    """Count, tell, and record if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="what is counted now is right from now on")
    record = parser.parse_args().record
    counts = recorded()
    for interpreter, part, now in count_all():
        before = counts.setdefault(interpreter, {}).get(part, {})
        for what, many in now.items():
            change = f"{many / before[what] - 1:+.1%}" if before.get(what) else "new" if what not in before else ""
            print(f"{part:14} {what:13} {many / TASKS:10.3f} a task  {change}")
        if record:
            counts[interpreter][part] = now
    if record:
        RECORDED.write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
