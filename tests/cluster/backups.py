"""What the tests of `make backup` and `make restore` ask of a cluster in a clone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.clone import make_clone, remove_cluster, typed
from tests.cluster.project import clean_environment

ENVIRONMENT = clean_environment(COMPOSE_PROJECT_NAME="taskyard-backup", TASKYARD_VERSION="readme")
JOB = """
import sys, time
from taskyard import Cluster
cluster = Cluster()
for n in range(int(sys.argv[1])):
    cluster.submit(lambda n: time.sleep(0.05) or n * n, n)
print(cluster.detach())
"""
READ = """
import json, sys
from taskyard.codec import decode
from taskyard.keys import find_authkey
from taskyard.settings import load_settings
from taskyard.transport import RemoteQueue
settings = load_settings()
with RemoteQueue(settings.taskyard_url, find_authkey(settings)) as queue:
    print(json.dumps({result.id: decode(result.value) for result in queue.results(sys.argv[1], 0, 50000, 0)}))
"""


@contextmanager
def cluster_in(folder: Path, engine: str, masters: int) -> Iterator[Path]:
    """A clone with a cluster of so many masters and two workers; removed at the end."""
    make_clone(folder)
    typed(f"deploy/choose-engine.sh {engine} && deploy/choose-images.sh && docker compose build --quiet", folder, ENVIRONMENT)
    remove_cluster(folder, ENVIRONMENT)
    scale = f"--scale master={masters} --scale worker=2"
    typed(f"docker compose up --detach --wait {scale} master worker", folder, ENVIRONMENT)
    yield folder
    remove_cluster(folder, ENVIRONMENT)


def python(clone: Path, program: str, *words: str) -> str:
    """Run a program in the cluster; returns what it printed."""
    command = ["docker", "compose", "run", "--rm", "-T", "--no-deps", "--entrypoint", "python", "cli", "-c", program, *words]
    return subprocess.run(command, cwd=clone, env=ENVIRONMENT, text=True, check=True, stdout=subprocess.PIPE).stdout.strip()


def begin_job(clone: Path, tasks: int) -> str:
    """Submit so many short tasks, and wait for none; returns their job's id."""
    return python(clone, JOB, str(tasks))


def results(clone: Path, job: str) -> dict[str, int]:
    """Those of a job so far, by task."""
    told: dict[str, int] = json.loads(python(clone, READ, job))
    return told


def backup(clone: Path) -> Path:
    """By `make backup`; returns the file."""
    said = typed("make backup", clone, ENVIRONMENT).split("backup: ")[-1]
    assert " compressed" in said
    return Path(said.split(",")[0])
