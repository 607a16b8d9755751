"""A key for each role: what it allows, and how it is exchanged while all goes on. docs/security.md tells the same in words."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import AuthenticationError, connection
from pathlib import Path
from typing import Any

import pytest

from master.keyring import ALLOWED, Key, keyring_of
from taskyard.errors import NotAllowed, SettingsError, WrongKey
from taskyard.model import Outcome
from taskyard.settings import Settings
from taskyard.transport import QueueManager, RemoteQueue
from tests.contract.keyed_master import ROLES, KeyedMaster
from tests.contract.master_process import ROOT, MasterProcess
from tests.harness import done, task, wait_until

CALLS: dict[str, Callable[[RemoteQueue], Any]] = {
    "submit": lambda queue: queue.submit([task("new")]),
    "lease": lambda queue: queue.lease("s", 1, 0.0),
    "settle": lambda queue: queue.settle("s", [Outcome("nobody's", 1, "done", b"")]),
    "heartbeat": lambda queue: queue.heartbeat("s", {"slots": 1}),
    "leave": lambda queue: queue.leave("s"),
    "results": lambda queue: queue.results("job", 0, 1, 0.0),
    "cancel": lambda queue: queue.cancel(["nobody's"]),
    "find": lambda queue: queue.find(None, None, 1, 0),
    "show": lambda queue: queue.show(["nobody's"]),
    "attempts": lambda queue: queue.attempts(["nobody's"]),
    "running": lambda queue: queue.running(None, 1),
    "jobs": lambda queue: queue.jobs(None, 1, 0),
    "schedules": lambda queue: queue.schedules(),
    "retry": lambda queue: queue.retry(["nobody's"]),
    "retry_all": lambda queue: queue.retry_all("nobody's", None, None),
    "forget": lambda queue: queue.forget("nobody's"),
    "pause": lambda queue: queue.pause(False),
    "drain": lambda queue: queue.drain(["nobody's"]),
    "stats": lambda queue: queue.stats(),
    "workers": lambda queue: queue.workers(),
    "history": lambda queue: queue.history(0.0, 0.0),
    "kinds": lambda queue: queue.kinds(),
    "backup": lambda queue: queue.backup("mine", 0, 1),
}
ITEMS = ("task.put", "task.get", "result.put", "result.get")


# What a key allows


@pytest.mark.parametrize("response", [b"", b"{sha256}", b"x" * 16, b"{sha256}" + b"x" * 32, b"{md5}" + b"x" * 16])
def test_who_does_not_prove_a_key_is_not_welcomed(response: bytes, keyed: KeyedMaster) -> None:
    with socket.create_connection(("127.0.0.1", keyed.port)) as sock:
        conn = connection.Connection(os.dup(sock.fileno()))
        assert conn.recv_bytes().startswith(b"#CHALLENGE#")
        conn.send_bytes(response)
        assert conn.recv_bytes() == b"#FAILURE#"
        with pytest.raises(EOFError):
            conn.recv_bytes()
        conn.close()


def test_every_verb_belongs_to_a_role(keyed: KeyedMaster) -> None:
    assert ALLOWED["shared"] - {"hello"} == {*CALLS, *ITEMS}
    assert ALLOWED["worker"] & ALLOWED["admin"] == {"hello"}


@pytest.mark.parametrize("role", ROLES)
def test_a_key_allows_what_belongs_to_its_role_and_nothing_else(role: str, keyed: KeyedMaster) -> None:
    with keyed.queue(role="client") as client:
        client.submit([task("before")])
        before = client.stats()
        allowed = set()
        with keyed.queue(role=role) as queue:
            for verb, call in CALLS.items():
                if verb in ALLOWED[role]:
                    continue
                with pytest.raises(NotAllowed, match=f"the {role} key does not allow '{verb}'"):
                    call(queue)
            assert client.stats() == before, "what was refused has changed something"
            for verb, call in CALLS.items():
                if verb in ALLOWED[role]:
                    call(queue)
                    allowed.add(verb)
    assert allowed == ALLOWED[role] & CALLS.keys()


@pytest.mark.parametrize("role", ROLES)
def test_of_the_tutorials_queues_a_key_allows_the_ends_that_belong_to_its_role(role: str, keyed: KeyedMaster) -> None:
    def manager(role: str) -> Any:
        made = QueueManager(("127.0.0.1", keyed.port), keyed.files[role].read_bytes().strip())
        made.connect()
        return made

    manager("client").get_task_queue().put("for a worker")
    manager("worker").get_result_queue().put("for a client")
    own = manager(role)
    queues = {"task": own.get_task_queue(), "result": own.get_result_queue()}
    calls: dict[str, Callable[[], Any]] = {
        "task.put": lambda: queues["task"].put_nowait(1),
        "task.get": lambda: queues["task"].get_nowait(),
        "result.put": lambda: queues["result"].put(2),
        "result.get": lambda: queues["result"].get(timeout=1),
    }
    for what, call in calls.items():
        if what in ALLOWED[role]:
            call()
        else:
            with pytest.raises(PermissionError, match=f"the {role} key does not allow"):
                call()
    assert queues["task"].qsize() >= 0  # how many there are is no secret


def test_a_whole_task_goes_through_three_keys(keyed: KeyedMaster) -> None:
    with keyed.queue(role="client") as client, keyed.queue(role="worker") as worker, keyed.queue(role="admin") as admin:
        client.submit([task("one")])
        worker.heartbeat("s", {"slots": 1})
        (lease,) = worker.lease("s", 1, 5.0)
        worker.settle("s", [done(lease, b"value")])
        (result,) = client.results("job", 0, 10, 5.0)
        assert (result.id, result.value) == ("one", b"value")
        assert admin.forget("job") == 1


def test_the_shared_key_of_before_opens_nothing_once_there_are_keys_for_roles(keyed: KeyedMaster) -> None:
    for key in (b"the key of a real master", b"", b"the key of the worker\nthe key of the client"):
        with pytest.raises(WrongKey), RemoteQueue(keyed.url, key, 2.0) as queue:
            queue.connect()


# Another key


def test_a_key_is_exchanged_without_stopping_anything(keyed: KeyedMaster) -> None:
    with keyed.queue(role="worker") as before, keyed.queue(role="client") as client:
        before.heartbeat("s", {"slots": 1})
        keyed.write("worker", "a new key", "the key of the worker")
        assert before.heartbeat("s", {"slots": 1}).stop == []  # its connection was made with the old one
        assert before.generation == 1
        for key in (b"a new key", b"the key of the worker"):
            with RemoteQueue(keyed.url, key, 2.0) as another:
                another.heartbeat("t", {"slots": 1})

        keyed.write("worker", "a new key")
        with pytest.raises(WrongKey), RemoteQueue(keyed.url, b"the key of the worker", 2.0) as late:
            late.connect()
        client.submit([task("one")])
        wait_until(
            lambda: before.heartbeat("s", {"slots": 1}).stop == [] and before.generation == 2, "it has taken the new key", 10
        )
        assert [lease.id for lease in before.lease("s", 1, 5.0)] == ["one"]
    assert "keys have changed" in keyed.log()


def test_who_has_only_a_retired_key_is_cut_off_where_it_is_connected(keyed: KeyedMaster) -> None:
    with RemoteQueue(keyed.url, b"the key of the client", 2.0) as thief:
        thief.stats()
        manager = QueueManager(("127.0.0.1", keyed.port), b"the key of the client")
        manager.connect()
        items = manager.get_task_queue()  # type: ignore[attr-defined]
        items.put("one")
        keyed.write("client", "a new key")

        def is_refused() -> bool:
            try:
                thief.stats()
            except WrongKey:
                return True
            return False

        wait_until(is_refused, "it is refused", 10)
        with pytest.raises((EOFError, ConnectionError, AuthenticationError)):
            items.put("two")


@pytest.mark.parametrize("content", ["", "\n \n", "the key of the client\n"])
def test_a_file_that_can_not_be_right_leaves_the_former_keys_valid(content: str, keyed: KeyedMaster) -> None:
    keyed.files["worker"].write_text(content)
    with RemoteQueue(keyed.url, b"the key of the worker", 5.0) as queue:
        assert queue.heartbeat("s", {"slots": 1}).stop == []
    assert "the former keys stay valid" in keyed.log()
    with RemoteQueue(keyed.url, b"the key of the client", 5.0) as queue:
        queue.stats()
        with pytest.raises(NotAllowed):
            queue.heartbeat("s", {"slots": 1})


def test_a_file_that_is_gone_leaves_the_former_keys_valid(keyed: KeyedMaster) -> None:
    keyed.files["worker"].unlink()
    with RemoteQueue(keyed.url, b"the key of the worker", 5.0) as queue:
        assert queue.heartbeat("s", {"slots": 1}).stop == []


def test_the_shared_key_is_exchanged_by_two_commands(tmp_path: Path) -> None:
    file = tmp_path / "authkey"
    master = MasterProcess(tmp_path / "master", taskyard_authkey="", taskyard_authkey_file=file)

    def run(command: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "master", command], cwd=master.folder, env=master.environment(), capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    file.write_text("the first key\n")
    with RemoteQueue(master.url, lambda: file.read_bytes().splitlines()[0], 20.0) as queue:
        try:
            master.start(wait=False)
            queue.stats()
            assert "1 older stay valid" in run("rotate-key")
            queue.stats()
            assert queue.generation == 1
            assert "1 older keys are valid no more" in run("retire-keys")
            assert b"the first key" not in file.read_bytes()
            wait_until(lambda: queue.stats()["ready"] == 0 and queue.generation == 2, "it has taken the new key", 10)
            with pytest.raises(WrongKey), RemoteQueue(master.url, b"the first key", 2.0) as late:
                late.connect()
        finally:
            master.close()


# What a master is started with


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = {f"master_{role}_key_file": tmp_path / role for role in ROLES}
    for role in ROLES:
        (tmp_path / role).write_text(f"of the {role}")
    return made


def test_a_role_whose_file_is_missing_is_told_by_its_setting(files: dict[str, Path]) -> None:
    files["master_client_key_file"].unlink()
    with pytest.raises(SettingsError, match=r"authkey's file .*client can't be read"):
        keyring_of(Settings(**files))  # type: ignore[arg-type]
    del files["master_client_key_file"]
    with pytest.raises(SettingsError, match="MASTER_CLIENT_KEY_FILE: no such file, and there is no key for all"):
        keyring_of(Settings(**files))  # type: ignore[arg-type]


def test_two_roles_with_one_key_are_refused(files: dict[str, Path]) -> None:
    files["master_worker_key_file"].write_text("of the admin")
    with pytest.raises(SettingsError, match="two roles have the same key"):
        keyring_of(Settings(**files))  # type: ignore[arg-type]


def test_a_key_for_all_beside_those_of_roles_has_to_be_asked_for(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "of a cluster that had one key"
    shared.write_text("of all")
    monkeypatch.setattr("master.keyring.KEY_FILES", ("/run/secrets/taskyard_authkey", str(shared)))
    apart = keyring_of(Settings(**files))  # type: ignore[arg-type]
    assert not apart.holds(Key("shared", b"of all"))
    beside = keyring_of(Settings(taskyard_authkey="of all", **files))  # type: ignore[arg-type]
    assert beside.holds(Key("shared", b"of all"))
    assert beside.holds(Key("worker", b"of the worker"))


def test_a_key_shows_whose_it_is_and_not_what_it_is() -> None:
    assert repr(Key("worker", b"secret")) == "<the worker key>"


def test_nothing_is_left_of_a_change_for_which_there_is_no_key(tmp_path: Path) -> None:
    for command in ("rotate-key", "retire-keys"):
        for settings, said in (({"TASKYARD_AUTHKEY": "given"}, "change it there"), ({}, "there is no key yet")):
            plain = {name: value for name, value in os.environ.items() if not name.startswith(("TASKYARD", "MASTER"))}
            ended = subprocess.run(
                [sys.executable, "-m", "master", command],
                cwd=tmp_path,
                env=plain | {"PYTHONPATH": str(ROOT)} | settings,
                capture_output=True,
                text=True,
            )
            assert (ended.returncode, said in ended.stderr) == (78, True), ended.stderr
