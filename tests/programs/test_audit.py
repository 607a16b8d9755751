"""``make audit``'s program with the real pip-audit, which asks a server of the test's own for what is known."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

import pytest

from bench.ports import free_port

ROOT = Path(__file__).parents[2]
KNOWN = {
    "id": "PYSEC-2026-1",
    "aliases": ["CVE-2026-1"],
    "summary": "Lines run backwards.",
    "affected": [
        {
            "package": {"name": "structlog", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}],
        }
    ],
}


class Osv(BaseHTTPRequestHandler):
    """Answers as OSV's server does: with what is known of a version, or with nothing."""

    status = 200
    known: Mapping[str, object] = MappingProxyType({})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        vulnerability = self.known.get(asked["package"]["name"])
        answer = json.dumps({"vulns": [vulnerability]} if vulnerability else {}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def osv() -> Iterator[Callable[..., str]]:
    """Starts a server that knows these vulnerabilities; returns its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int = 200, **known: object) -> str:
        handler = type("Handler", (Osv,), {"status": status, "known": known})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,)).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/v1/query"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def audit(audit_python: Path) -> Callable[..., tuple[int, str]]:
    def run(address: str, file: Path = ROOT / "requirements/master.txt") -> tuple[int, str]:
        command = [str(audit_python), "-m", "supply.audit", "--osv-url", address, str(file)]
        ended = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
        return ended.returncode, ended.stdout + ended.stderr

    return run


def test_requirements_of_which_nothing_is_known_pass(osv: Callable[..., str], audit: Callable[..., tuple[int, str]]) -> None:
    code, said = audit(osv())
    assert code == 0
    assert re.fullmatch(r"audit: known vulnerabilities of 1\d packages: none\n", said)


def test_a_known_vulnerability_fails_the_audit_and_is_named(
    osv: Callable[..., str], audit: Callable[..., tuple[int, str]]
) -> None:
    code, said = audit(osv(structlog=KNOWN))
    assert code == 1
    assert "PYSEC-2026-1 CVE-2026-1 (fixed in 99.1)" in said
    assert said.endswith("packages: 1\n")


def test_a_list_that_nobody_serves_skips_the_audit_in_one_line(audit: Callable[..., tuple[int, str]]) -> None:
    skipped = "audit: skipped, no list of known vulnerabilities can be reached (osv: ConnectionError)\n"
    assert audit(f"http://127.0.0.1:{free_port()}/v1/query") == (0, skipped)


def test_a_list_that_answers_with_an_error_skips_the_audit(
    osv: Callable[..., str], audit: Callable[..., tuple[int, str]]
) -> None:
    assert audit(osv(status=503, structlog=KNOWN)) == (
        0,
        "audit: skipped, no list of known vulnerabilities can be reached (osv: HTTPError)\n",
    )


def test_requirements_without_hashes_are_refused_not_skipped(
    osv: Callable[..., str], audit: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    (tmp_path / "loose.txt").write_text("structlog==26.1.0\n")
    code, said = audit(osv(), tmp_path / "loose.txt")
    assert code == 2
    assert "hash" in said
