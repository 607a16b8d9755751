"""The keys of the roles' files, while these change."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from master import keyring as keyring_module
from master.keyring import Key, Keyring, keyring_of, retire, rotate
from taskyard.errors import SettingsError
from taskyard.keys import read_keys
from taskyard.settings import Settings
from tests.harness import InThread


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A file with a key for each role."""
    made = {role: tmp_path / role for role in ("worker", "client", "admin")}
    for role, file in made.items():
        file.write_text(f"the key of the {role}")
    return made


def test_a_key_may_move_from_one_role_to_another_whichever_file_is_written_first(files: dict[str, Path]) -> None:
    keyring = Keyring((), files)
    keys = {role: read_keys(file)[0] for role, file in files.items()}
    files["admin"].write_bytes(keys["client"])  # refused, as long as it is the client's
    keyring.look()
    assert keyring.holds(Key("admin", keys["admin"]))
    files["client"].write_text("a new key")
    keyring.look()
    keyring.look()  # one look later at most
    assert keyring.holds(Key("client", b"a new key"))
    assert keyring.holds(Key("admin", keys["client"]))
    assert not keyring.holds(Key("admin", keys["admin"]))
    assert not keyring.holds(Key("client", keys["client"]))


def test_a_thread_that_was_slow_to_read_a_file_does_not_bring_a_retired_key_back(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = Keyring((), files)
    (former,) = read_keys(files["worker"])
    has_read, may_go_on = threading.Event(), threading.Event()

    def slow(path: Path) -> list[bytes]:
        keys = read_keys(path)
        if not has_read.is_set():
            has_read.set()
            may_go_on.wait(10)
        return keys

    monkeypatch.setattr("master.keyring.read_keys", slow)
    files["worker"].write_bytes(b"a new key\n" + former)
    first = InThread(keyring.look)
    assert has_read.wait(10)
    files["worker"].write_text("a new key")
    second = InThread(keyring.look)
    with suppress(AssertionError):
        second.result(0.2)  # it waits for the first, else it has ended now
    may_go_on.set()
    first.result()
    second.result()
    assert not keyring.holds(Key("worker", former))


def test_a_roles_file_that_is_set_to_none_is_none() -> None:
    none = {f"master_{role}_key_file": Path(os.devnull) for role in ("worker", "client", "admin")}
    keyring = keyring_of(Settings(taskyard_authkey="of all", **none))  # type: ignore[arg-type]
    assert keyring.holds(Key("shared", b"of all"))


def test_where_each_role_has_a_key_the_one_of_before_is_not_exchanged_in_vain(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tmp_path / "authkey"
    before.write_text("of all, before")
    monkeypatch.setattr(keyring_module, "KEY_FILES", (str(tmp_path / "no secret"), str(before)))
    monkeypatch.delenv("TASKYARD_AUTHKEY", raising=False)
    monkeypatch.delenv("TASKYARD_AUTHKEY_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    for role, file in files.items():
        monkeypatch.setenv(f"MASTER_{role.upper()}_KEY_FILE", str(file))
    for change in (rotate, retire):
        with pytest.raises(SettingsError, match="each role has a key of its own here: ROLE="):
            change()
    assert before.read_text() == "of all, before"
