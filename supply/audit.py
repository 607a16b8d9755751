"""Looks the locked requirements up in a list of known vulnerabilities: ``python -m supply.audit requirements/*.txt``.

pip-audit asks, PyPI's own list first and OSV's where that one does not answer; this tells its findings from its troubles.

Exit codes: 0 nothing is known, or no list could be reached (it says which), 1 something is known, 2 a file can't be read.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PIP_AUDIT = (sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json")
BLOCKED = "your network may be blocking this service"
"""What pip-audit adds where a list itself says that it can't be reached; other failures of the network end its last line."""
FAILURES = ("requests.exceptions.", "urllib3.exceptions.", "pip_audit._service.interface.")


class Unreachable(Exception):
    """The list of known vulnerabilities did not answer; says why."""


class Unreadable(Exception):
    """pip-audit could not work with what it was given; says why."""


@dataclass
class Answer:
    """What a list knows of packages."""

    checked: set[str] = field(default_factory=set)
    """Those the list knows, as ``name version``."""
    unknown: set[str] = field(default_factory=set)
    """Names of those it does not know: nothing is said about them."""
    found: set[str] = field(default_factory=set)
    """A line for each vulnerability."""

    def add(self, other: Answer) -> None:
        self.checked |= other.checked
        self.unknown |= other.unknown
        self.found |= other.found


def read(code: int, printed: str, complaint: str) -> Answer:
    """Read how pip-audit has ended.

    Args:
        code: Its exit code, which is 1 for findings and for troubles alike.
        printed: Its report, which it prints only once it has asked for every package.
        complaint: What it wrote to stderr.

    Raises:
        Unreachable: There is no report, because the list did not answer.
        Unreadable: There is none for another reason.
    """
    if code not in (0, 1) or not printed.strip():
        lines = complaint.strip().splitlines() or [f"exit code {code}"]
        if BLOCKED in complaint or lines[-1].startswith(FAILURES):
            raise Unreachable(next((kind_of(line) for line in reversed(lines) if line.startswith(FAILURES[:2])), "no connection"))
        raise Unreadable(lines[-1])
    answer = Answer()
    for package in json.loads(printed)["dependencies"]:
        if "skip_reason" in package:
            answer.unknown.add(package["name"])
            continue
        name = f"{package['name']} {package['version']}"
        answer.checked.add(name)
        for known in package["vulns"]:
            fixed = ", ".join(known["fix_versions"]) or "no version yet"
            answer.found.add(f"{name}: {' '.join([known['id'], *known.get('aliases', ())])} (fixed in {fixed})")
    return answer


def kind_of(line: str) -> str:
    """The exception's name in the last line of a traceback."""
    return line.split(":")[0].rpartition(".")[2]


def ask(service: Sequence[str], files: Sequence[Path]) -> Answer:
    """Ask one list about the packages of all files, file by file since versions differ between them.

    Raises:
        Unreachable: It did not answer, or knows none of the packages: so answers a mirror that has packages only.
        Unreadable: A file is no locked requirements file.
    """
    answer = Answer()
    for file in files:
        ended = subprocess.run([*PIP_AUDIT, *service, "--requirement", str(file)], text=True, capture_output=True)
        answer.add(read(ended.returncode, ended.stdout, ended.stderr))
    if answer.unknown and not answer.checked:
        raise Unreachable(f"knows none of {len(answer.unknown)} packages")
    return answer


def main(words: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m supply.audit", description="Known vulnerabilities of locked requirements.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--osv-url", help="ask this OSV server and no other list")
    given = parser.parse_args(words)
    services = {"pypi": ["--vulnerability-service=pypi"], "osv": ["--vulnerability-service=osv"]}
    if given.osv_url:
        services = {"osv": [*services["osv"], f"--osv-url={given.osv_url}"]}
    silent = []
    for name, service in services.items():
        try:
            return tell(ask(service, given.files))
        except Unreachable as reason:
            silent.append(f"{name}: {reason}")
        except Unreadable as reason:
            print(f"audit: {reason}", file=sys.stderr)
            return 2
    print(f"audit: skipped, no list of known vulnerabilities can be reached ({'; '.join(silent)})")
    return 0


def tell(answer: Answer) -> int:
    """Print an answer; returns the exit code."""
    if answer.unknown:
        print(f"audit: not in the list, so nothing is said about {', '.join(sorted(answer.unknown))}")
    for line in sorted(answer.found):
        print(line)
    print(f"audit: known vulnerabilities of {len(answer.checked)} packages: {len(answer.found) or 'none'}")
    return 1 if answer.found else 0


if __name__ == "__main__":
    sys.exit(main())
