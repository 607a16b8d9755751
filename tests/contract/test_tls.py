"""``managers://`` through a real master: the contract holds over TLS, nobody reads along, and what is wrong is told in words."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from taskyard import wire
from taskyard.errors import SettingsError, TaskyardError, WrongCertificate, WrongKey
from taskyard.model import Lease
from taskyard.settings import SYSTEM_CAS, TlsFiles
from taskyard.transport import RemoteQueue
from tests.certificates import make_certificates, of_client, of_master
from tests.contract.master_process import AUTHKEY, MasterProcess
from tests.harness import InThread, done, task, wait_until

Run = Callable[..., MasterProcess]


@pytest.fixture(scope="module")
def master(certs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MasterProcess]:
    """A real master that speaks TLS, shared by the tests of this file."""
    process = MasterProcess(tmp_path_factory.mktemp("master"), **of_master(certs))
    process.start()
    yield process
    process.close()
    assert "Traceback" not in process.log()


@pytest.fixture(scope="module")
def strict(certs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MasterProcess]:
    """One that takes only clients with a certificate."""
    shown = {"taskyard_tls_cert": certs / "client.pem", "taskyard_tls_key": certs / "client.key"}
    process = MasterProcess(tmp_path_factory.mktemp("strict"), master_tls_client_ca=certs / "ca.pem", **of_master(certs), **shown)
    process.start()
    yield process
    process.close()
    assert "Traceback" not in process.log()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs a master of the test's own."""
    made: list[MasterProcess] = []

    def run_one(**settings: Any) -> MasterProcess:
        made.append(MasterProcess(tmp_path / f"master-{len(made)}", **settings))
        made[-1].start(wait=False)
        return made[-1]

    yield run_one
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of a CA that nobody here knows."""
    folder = tmp_path_factory.mktemp("strangers") / "certs"
    make_certificates(folder)
    return folder


@pytest.fixture(scope="module")
def expired(certs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of the known CA that have expired."""
    folder = tmp_path_factory.mktemp("expired") / "certs"
    folder.mkdir()
    for name in ("ca.pem", "ca.key"):
        (folder / name).write_bytes((certs / name).read_bytes())
    make_certificates(folder, DAYS="0")
    made = time.time()
    wait_until(lambda: time.time() > made + 1.1, "their second is over", 5)
    return folder


def refusal(url: str, files: TlsFiles = SYSTEM_CAS) -> TaskyardError:
    """What a client meets that would wait for ever for a master."""

    def connect() -> None:
        with RemoteQueue(url, AUTHKEY, None, "test", files) as queue:
            queue.connect()

    with pytest.raises(TaskyardError) as caught:
        InThread(connect).result(30)
    assert "\n" not in str(caught.value)
    return caught.value


# The contract


def test_a_task_goes_the_whole_way(master: MasterProcess) -> None:
    with master.queue() as client, master.queue() as worker:
        payload = os.urandom(1024 * 1024)
        assert client.submit([task(f"whole-{n}", payload=payload) for n in range(12)]) == 12
        assert client.stats()["ready"] == 12
        results = InThread(lambda: client.results("job", 0, 100, 20))
        leases: list[Lease] = []
        while len(leases) < 12:
            leases += worker.lease("session", 100, 5)
        assert {lease.payload for lease in leases} == {payload}
        assert worker.settle("session", [done(lease, payload) for lease in leases]) == 12
        assert results.result()
        ended = client.results("job", 0, 100, 0)
        while len(ended) < 12:
            ended += client.results("job", ended[-1].cursor, 100, 0)
        assert [(result.state, result.value) for result in ended] == [("done", payload)] * 12
        assert client.forget("job") == 12


def test_a_payload_of_16_mb_goes_both_ways(master: MasterProcess) -> None:
    with master.queue() as queue:
        payload = os.urandom(16 * 1024 * 1024)
        queue.submit([task("big", payload=payload)])
        (lease,) = queue.lease("session", 1, 5)
        assert lease.payload == payload
        queue.settle("session", [done(lease)])
        queue.forget("job")


def test_what_a_lost_worker_held_is_leased_again_at_once(master: MasterProcess) -> None:
    with master.queue() as client, master.queue() as other:
        client.submit([task("held")])
        lost = master.queue()
        (lease,) = lost.lease("lost", 1, 5)
        leasing = InThread(lambda: other.lease("other", 1, 20))
        started = time.monotonic()
        lost.close()
        (again,) = leasing.result()
        assert time.monotonic() - started < 4
        assert again.id == lease.id
        other.settle("other", [done(again)])
        client.forget("job")


def test_a_long_poll_that_the_masters_end_cuts_off_goes_on_with_the_next_master(certs: Path, run: Run) -> None:
    master = run(**of_master(certs))
    for end in (master.kill, master.stop):
        with master.queue(20.0) as waiting, master.queue(20.0) as client:
            waiting.connect()
            generation = waiting.generation
            leasing = InThread(lambda queue=waiting: queue.lease("session", 1, 20))  # type: ignore[misc]
            wait_until(lambda: client.workers() is not None, "the master serves", 20)
            end()
            master.start(wait=False)
            client.submit([task(end.__name__)])
            leases: list[Lease] = leasing.result(30)
            assert [lease.id for lease in leases] == [end.__name__]
            waiting.settle("session", [done(leases[0])])
            assert waiting.generation == generation + 1


def test_a_wrong_key_is_told_at_once(master: MasterProcess, certs: Path) -> None:
    with pytest.raises(WrongKey, match=f"master at {master.url} has another authkey"):
        RemoteQueue(master.url, b"wrong", 10.0, files=TlsFiles(certs / "ca.pem")).connect()


def test_a_client_with_a_certificate_is_taken_where_one_is_required(strict: MasterProcess) -> None:
    with strict.queue() as queue:
        assert queue.stats()["ready"] == 0


@pytest.mark.parametrize("which", ["master", "strict"])
def test_a_master_knows_over_its_own_port_that_it_is_well(which: str, request: pytest.FixtureRequest) -> None:
    process: MasterProcess = request.getfixturevalue(which)
    health = process.folder / "health"
    wait_until(health.exists, "it shows its pulse", 10)
    beat = health.stat().st_mtime
    wait_until(lambda: health.stat().st_mtime > beat, "the pulse goes on", 10)


def test_a_masters_certificate_may_be_for_servers_alone_if_it_has_another_to_show_itself(
    certs: Path, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "ext").write_text("extendedKeyUsage = serverAuth\nsubjectAltName = IP:127.0.0.1\n")
    asked = f"openssl req -new -key {certs}/master.key -subj /CN=master"
    signed = f"openssl x509 -req -CA {certs}/ca.pem -CAkey {certs}/ca.key -set_serial 1 -extfile {tmp_path}/ext"
    subprocess.run(f"{asked} | {signed} -out {tmp_path}/server.pem", shell=True, check=True, capture_output=True)
    settings = of_master(certs) | {"master_tls_cert": tmp_path / "server.pem", "master_tls_client_ca": certs / "ca.pem"}
    alone = run(**settings)
    wait_until(lambda: "turns unhealthy" in alone.log(), "it says why", 20)
    assert "which is not one for clients" in alone.log()
    shown = {"taskyard_tls_cert": certs / "client.pem", "taskyard_tls_key": certs / "client.key"}
    wait_until((run(**settings, **shown).folder / "health").exists, "it shows its pulse", 20)


# Who reads along


class Relay:
    """Passes one connection on, and keeps what goes by."""

    def __init__(self, port: int) -> None:
        self.seen = bytearray()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._target = port
        self._serving = InThread(self._serve)

    def _serve(self) -> None:
        client = self._server.accept()[0]
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            back = threading.Thread(target=self._pass_on, args=(server, client), daemon=True)
            back.start()
            self._pass_on(client, server)
            back.join(10)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):  # either may have hung up
            while data := source.recv(65536):
                self.seen += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._serving.result()
        self._server.close()


@pytest.mark.parametrize("secure", [True, False], ids=["with TLS", "without"])
def test_nobody_on_the_way_reads_a_payload_or_a_result_with_tls(
    secure: bool, certs: Path, master: MasterProcess, run: Run
) -> None:
    if not secure:
        master = run()
        with master.queue(20.0) as queue:
            queue.connect()
    relay = Relay(master.port)
    url = master.url.replace(str(master.port), str(relay.port))
    with RemoteQueue(url, AUTHKEY, 10.0, files=TlsFiles(certs / "ca.pem")) as queue:
        queue.submit([task("read along", payload=b"what nobody may read")])
        (lease,) = queue.lease("session", 1, 5)
        queue.settle("session", [done(lease, b"nor this one")])
        assert queue.results("job", 0, 1, 0)[0].value == b"nor this one"
        queue.forget("job")
    relay.close()
    for secret in (b"what nobody may read", b"nor this one", b"read along", b"#CHALLENGE#", b"accept_connection"):
        assert (secret in relay.seen) == (not secure)
    assert len(relay.seen) > 500


# What is wrong, in words


def test_a_ca_that_has_not_signed_the_masters_certificate_is_told(master: MasterProcess, strangers: Path) -> None:
    for files in (SYSTEM_CAS, TlsFiles(strangers / "ca.pem")):
        told = refusal(master.url, files)
        assert isinstance(told, WrongCertificate)
        assert f"the certificate of the master at {master.url} is not signed by a CA that this program trusts" in str(told)
        assert "set TASKYARD_TLS_CA to the file of that CA" in str(told)


def test_an_address_that_the_masters_certificate_is_not_for_is_told(certs: Path, run: Run) -> None:
    master = run(master_host="127.0.0.2", **of_master(certs))
    told = refusal(f"managers://127.0.0.2:{master.port}", TlsFiles(certs / "ca.pem"))
    assert isinstance(told, WrongCertificate)
    assert re.search(r"is not one for this address: use a name that it has, or make one .*NAMES=", str(told))


def test_a_name_that_the_masters_certificate_is_not_for_is_told(
    certs: Path, master: MasterProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **named: look_up("127.0.0.1", *rest, **named))
    told = refusal(f"managers://queue.example.org:{master.port}", TlsFiles(certs / "ca.pem"))
    assert isinstance(told, WrongCertificate)
    assert "is not one for this name" in str(told)
    assert "queue.example.org" in str(told)


def test_a_masters_certificate_that_has_expired_is_told_on_both_sides(expired: Path, run: Run) -> None:
    master = run(**of_master(expired))
    told = refusal(master.url, TlsFiles(expired / "ca.pem"))
    assert isinstance(told, WrongCertificate)
    assert "has expired: renew it there (make certs), then start the master anew" in str(told)
    wait_until(lambda: "this master can't reach itself, and turns unhealthy" in master.log(), "it says so", 10)
    assert "has expired" in master.log()
    assert "Traceback" not in master.log()
    assert not (master.folder / "health").exists()


def test_a_master_without_tls_is_told(certs: Path, run: Run) -> None:
    master = run()
    url = master.url.replace("manager", "managers")
    told = refusal(url, TlsFiles(certs / "ca.pem"))
    assert isinstance(told, SettingsError)
    assert str(told).startswith(f"the master at {url} speaks without TLS: use manager:// in TASKYARD_URL")


def test_a_client_without_tls_is_told_that_the_master_has_it(master: MasterProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "HANDSHAKE_SECONDS", 0.5)
    url = master.url.replace("managers", "manager")
    told = refusal(url)
    assert isinstance(told, SettingsError)
    assert str(told) == f"the master at {url} speaks TLS: use managers:// in TASKYARD_URL, and TASKYARD_TLS_CA"


def test_a_client_without_a_certificate_is_told_that_one_is_required(strict: MasterProcess, certs: Path) -> None:
    told = refusal(strict.url, TlsFiles(certs / "ca.pem"))
    assert isinstance(told, WrongCertificate)
    wanted = f"the master at {strict.url} wants a client certificate: set TASKYARD_TLS_CERT and TASKYARD_TLS_KEY"
    assert str(told) == wanted
    wait_until(lambda: "TLS: peer did not return a certificate" in strict.log(), "the master says so too", 10)


@pytest.mark.parametrize(
    ("whose", "words"),
    [("strangers", "does not know who has signed TASKYARD_TLS_CERT"), ("expired", "finds that TASKYARD_TLS_CERT has expired")],
)
def test_a_clients_certificate_that_is_not_taken_is_told(
    whose: str, words: str, strict: MasterProcess, certs: Path, request: pytest.FixtureRequest
) -> None:
    files = of_client(request.getfixturevalue(whose))._replace(ca=certs / "ca.pem")
    told = refusal(strict.url, files)
    assert isinstance(told, WrongCertificate)
    assert words in str(told)


# Strangers


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 300, os.urandom(5000), b"\x16\x03\x01\xff\xff" + bytes(70000)]
)
def test_garbage_is_hung_up_on_and_others_are_served(master: MasterProcess, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", master.port), timeout=10) as sock:
        try:
            sock.sendall(data)
            while sock.recv(65536):
                pass
        except ConnectionError:
            pass
    with master.queue(5.0) as queue:
        assert queue.stats()["ready"] == 0


def test_silent_strangers_do_not_keep_others_out(master: MasterProcess) -> None:
    silent = [socket.create_connection(("127.0.0.1", master.port)) for _ in range(50)]
    with master.queue(5.0) as queue:
        started = time.monotonic()
        queue.connect()
        assert time.monotonic() - started < 4  # 5 s are what one of them may take
    for sock in silent:
        sock.close()
