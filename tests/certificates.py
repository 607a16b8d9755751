"""Certificates for tests, made by the script that users run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from taskyard.settings import TlsFiles

SCRIPT = Path(__file__).parents[1] / "deploy/certs.sh"


def make_certificates(folder: Path, **environment: str) -> str:
    """Run the script with these variables and no others of its own; returns what it said."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("NAMES", "DAYS")}
    ended = subprocess.run([SCRIPT, folder], env=inherited | environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def of_client(certs: Path) -> TlsFiles:
    """What a client has that shows a certificate too."""
    return TlsFiles(certs / "ca.pem", certs / "client.pem", certs / "client.key")


def of_master(certs: Path) -> dict[str, Any]:
    """Settings of a master with TLS, and of programs that join it."""
    return {
        "master_tls_cert": certs / "master.pem",
        "master_tls_key": certs / "master.key",
        "taskyard_tls_ca": certs / "ca.pem",
    }
