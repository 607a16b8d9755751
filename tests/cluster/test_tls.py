"""The shipped cluster with compose.tls.yaml: it works as ever, and whoever comes without TLS is told so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.ports import free_port
from tests.certificates import make_certificates
from tests.cluster.project import ROOT, SHIPPED, Project, health, inside
from tests.harness import wait_until

WORKERS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of these tests' own certificates, in place of the user's."""
    made = tmp_path_factory.mktemp("tls")
    make_certificates(made / "certs")
    return made


@pytest.fixture(scope="module")
def secure(built: None, folder: Path) -> Iterator[Project]:
    """A cluster that speaks TLS, and takes only who shows a certificate."""
    files = {"ca": "ca.pem", "master_cert": "master.pem", "master_key": "master.key"}
    files |= {"client_cert": "client.pem", "client_key": "client.key"}
    secrets = {f"taskyard_tls_{name}": {"file": str(folder / "certs" / file)} for name, file in files.items()}
    (folder / "over.yaml").write_text(json.dumps({"secrets": secrets}))
    layers: list[Path] = [SHIPPED, ROOT / "compose.tls.yaml", folder / "over.yaml"]
    project = Project("taskyard-test-tls", layers, PUBLISHED_PORT=str(free_port()), TLS_CLIENTS="required")
    project.down()
    project.compose("up", "--detach", "--wait", "--scale", f"worker={WORKERS}")
    yield project
    project.down()


def test_the_job_runs_over_tls_on_workers_that_are_well(secure: Project) -> None:
    assert secure.log("job").count("Result: ") == 10
    assert {worker["tasks"] != [] for worker in secure.workers_heard_of()} == {True}
    for container in (secure.container("master"), *secure.containers("worker")):
        wait_until(lambda one=container: health(one) == "healthy", "it is well", 60)  # type: ignore[misc]
    assert inside(secure.container("worker"), "printenv", "TASKYARD_URL").strip() == "managers://master:5000"


@pytest.mark.parametrize(
    ("setting", "code", "told"),
    [
        (
            "TASKYARD_URL=manager://master:5000",
            78,
            "the master at manager://master:5000 speaks TLS: use managers:// in TASKYARD_URL",
        ),
        ("TASKYARD_TLS_CA=", 77, "is not signed by a CA that this program trusts: set TASKYARD_TLS_CA"),
        ("TASKYARD_TLS_CERT=/dev/null", 77, "wants a client certificate: set TASKYARD_TLS_CERT and TASKYARD_TLS_KEY"),
    ],
)
def test_a_client_that_is_not_set_up_for_it_is_refused_in_words(secure: Project, setting: str, code: int, told: str) -> None:
    without_key = ["-e", "TASKYARD_TLS_KEY=/dev/null"] if "CERT" in setting else []
    said = secure.compose("run", "--rm", "-T", "--no-deps", "-e", setting, *without_key, "cli", "health", code=code)
    assert told in said
    assert "Traceback" not in said


def test_workers_go_on_when_the_masters_certificate_was_renewed(secure: Project, folder: Path) -> None:
    before = [(worker.id, worker.attrs["State"]["StartedAt"]) for worker in secure.containers("worker")]
    make_certificates(folder / "certs", NAMES="queue.example.org")
    secure.compose("restart", "master")
    shown = inside(secure.container("master"), "cat", "/run/secrets/taskyard_tls_master_cert")
    assert shown == (folder / "certs" / "master.pem").read_text()
    wait_until(lambda: len(secure.workers_heard_of()) == WORKERS, "the workers have come back")
    said = secure.compose("run", "--rm", "-T", "--no-deps", "cli", "submit", "square", "12", "--wait")
    assert "12 * 12 = 144" in said
    assert [(worker.id, worker.attrs["State"]["StartedAt"]) for worker in secure.containers("worker")] == before
