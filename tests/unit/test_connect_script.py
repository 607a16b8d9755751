"""deploy/connect.sh: what it prints is for a shell, wherever the clone lies."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.contract.master_process import ROOT

DOCKER = """#!/bin/sh
case "$*" in
  *port*) echo 0.0.0.0:5000 ;;
  *MASTER_TLS_CERT*) ;;
  *) echo a-key ;;
esac
"""
"""In place of the real one, with a cluster that speaks TLS."""


def test_what_is_printed_is_for_a_shell_whatever_the_folder_is_called(tmp_path: Path) -> None:
    clone = tmp_path / "it's my clone"
    (clone / "deploy").mkdir(parents=True)
    shutil.copy(ROOT / "deploy" / "connect.sh", clone / "deploy")
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    names = ["TASKYARD_URL", "TASKYARD_AUTHKEY_FILE", "TASKYARD_TLS_CA", "TASKYARD_TLS_CERT", "TASKYARD_TLS_KEY"]
    show = 'eval "$(deploy/connect.sh)" && printenv ' + " ".join(names)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ended = subprocess.run(["bash", "-c", show], cwd=clone, env=environment, capture_output=True, text=True, timeout=30)
    files = [".authkey", "certs/ca.pem", "certs/client.pem", "certs/client.key"]
    assert ended.stdout.splitlines() == ["managers://127.0.0.1:5000", *(str(clone / file) for file in files)]
    assert (clone / ".authkey").read_text() == "a-key\n"
