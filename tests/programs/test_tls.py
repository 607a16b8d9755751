"""Clients, workers and the command line over ``managers://``."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskyard import Cluster, LocalCluster
from taskyard.errors import WrongCertificate
from tests.certificates import make_certificates, of_master
from tests.contract.master_process import AUTHKEY, MasterProcess
from tests.harness import wait_until
from tests.programs.conftest import StartWorker
from tests.programs.tasks import square
from tests.programs.worker_process import environment_of, run


@pytest.fixture
def secure(certs: Path, tmp_path: Path) -> Iterator[MasterProcess]:
    """A master with TLS that takes only clients with a certificate."""
    shown = {"taskyard_tls_cert": certs / "client.pem", "taskyard_tls_key": certs / "client.key"}
    process = MasterProcess(tmp_path / "secure", master_tls_client_ca=certs / "ca.pem", **of_master(certs), **shown)
    process.start()
    yield process
    process.close()


@pytest.fixture
def trusting(secure: MasterProcess, monkeypatch: pytest.MonkeyPatch) -> MasterProcess:
    """The same, for clients in this process."""
    for name, value in secure.environment().items():
        if name.startswith("TASKYARD_TLS"):
            monkeypatch.setenv(name, value)
    return secure


def test_calls_run_on_workers_and_go_on_after_the_master_was_killed(trusting: MasterProcess, start_worker: StartWorker) -> None:
    worker = start_worker(trusting, worker_slots=2)
    with Cluster(trusting.url, AUTHKEY, patience=20) as cluster:
        assert cluster.submit(square, 7).result(30) == "7 * 7 = 49"
        assert list(cluster.map(square, range(100))) == [f"{n} * {n} = {n * n}" for n in range(100)]
        trusting.kill()
        after = cluster.submit(square, 8)
        trusting.start(wait=False)
        assert after.result(60) == "8 * 8 = 64"
        wait_until(worker.is_healthy, "the worker is well", 30)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert "Traceback" not in worker.log() + trusting.log()


def test_the_command_line_works_as_ever(secure: MasterProcess) -> None:
    ended = run(environment_of(secure), "taskyard", "status", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert '"ready": 0' in ended.stdout


@pytest.mark.parametrize("program", ["worker", "taskyard health"])
@pytest.mark.parametrize(
    ("setting", "code", "told"),
    [
        ({"TASKYARD_TLS_CA": ""}, 77, "is not signed by a CA that this program trusts: set TASKYARD_TLS_CA"),
        ({"TASKYARD_TLS_CERT": "", "TASKYARD_TLS_KEY": ""}, 77, "wants a client certificate: set TASKYARD_TLS_CERT"),
        ({"TASKYARD_TLS_CA": "missing.pem"}, 78, "TASKYARD_TLS_CA='missing.pem' can't be read: No such file"),
        ({"TASKYARD_URL": "manager"}, 78, "speaks TLS: use managers:// in TASKYARD_URL"),
    ],
)
def test_what_is_wrong_ends_a_program_with_its_code_and_one_line(
    program: str, setting: dict[str, str], code: int, told: str, secure: MasterProcess, tmp_path: Path
) -> None:
    environment = environment_of(secure, worker_app="tests.programs.tasks", worker_health_file=tmp_path / "health") | setting
    if "TASKYARD_URL" in setting:
        environment["TASKYARD_URL"] = secure.url.replace("managers", "manager")
    ended = run(environment, *program.split())
    assert ended.returncode == code
    last = [line for line in ended.stderr.splitlines() if told in line]
    assert len(last) == 1
    assert "Traceback" not in ended.stderr


def test_a_worker_ends_with_a_word_when_a_master_comes_back_with_another_ca(
    certs: Path, tmp_path: Path, start_worker: StartWorker
) -> None:
    folder = tmp_path / "certs"
    shutil.copytree(certs, folder)
    master = MasterProcess(tmp_path / "master", **of_master(folder) | {"taskyard_tls_ca": certs / "ca.pem"})
    master.start()
    worker = start_worker(master)
    worker.wait_for("ready  ")
    master.stop()
    shutil.rmtree(folder)
    make_certificates(folder)
    master.start(wait=False)
    assert worker.wait(30) == 77
    assert "is not signed by a CA that this program trusts" in worker.log().splitlines()[-1]
    master.close()


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("MASTER_TLS_CERT", "MASTER_TLS_KEY and MASTER_TLS_CLIENT_CA are of no use without MASTER_TLS_CERT"),
        ("MASTER_TLS_KEY", "are not a certificate and its key"),
    ],
)
def test_a_master_without_one_of_its_files_is_exit_78_and_one_line(certs: Path, tmp_path: Path, setting: str, told: str) -> None:
    master = MasterProcess(tmp_path / "master", **of_master(certs))
    ended = run(master.environment() | {setting: ""}, "master")
    assert ended.returncode == 78
    assert told in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    master.close()


def test_a_local_cluster_takes_no_notice_of_the_env_files_tls(
    certs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = {name.upper(): value for name, value in of_master(certs).items()}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    with LocalCluster(workers=1) as cluster:
        assert cluster.submit(os.getpid).result(30) != os.getpid()


def test_a_client_without_its_files_raises_the_error_of_its_class(secure: MasterProcess) -> None:
    with pytest.raises(WrongCertificate, match="set TASKYARD_TLS_CA"):
        Cluster(secure.url, AUTHKEY, patience=20)
