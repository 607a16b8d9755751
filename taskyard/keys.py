"""The key that a program proves itself with: where it stands, how one is made, how it is changed while all goes on.

A key's file holds a key a line. Who connects proves the first one; the master takes each of them (`master.keyring`), so that
a new first line and, once all have it, the loss of the old one change a key without stopping anything.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from taskyard.errors import SettingsError
from taskyard.settings import Settings, load_settings

Authkey = bytes | Callable[[], bytes]
"""A key, or what tells it whenever a connection is made: it may change."""
KEY_FILES = ("/run/secrets/taskyard_authkey", "/run/taskyard/authkey")
"""Looked at in this order when neither TASKYARD_AUTHKEY nor TASKYARD_AUTHKEY_FILE is set."""
NATS_FILES = {
    "client": ("/run/secrets/taskyard_nats_client", "/run/taskyard-nats/client"),
    "master": ("/run/secrets/taskyard_nats_master", "/run/taskyard-nats-master/master"),
}
"""Passwords of the users of NATS, looked at in this order where no setting names a file."""


def find_authkey(settings: Settings) -> bytes:
    """The authkey: TASKYARD_AUTHKEY, else that of the file of TASKYARD_AUTHKEY_FILE, else of the first of `KEY_FILES` there is.

    Raises `SettingsError` when there is none or its file can't be read.
    """
    if settings.taskyard_authkey:
        return settings.taskyard_authkey.encode()
    path = settings.taskyard_authkey_file or next(filter(is_there, map(Path, KEY_FILES)), None)
    if path is None:
        raise SettingsError("no authkey: set TASKYARD_AUTHKEY, or TASKYARD_AUTHKEY_FILE to a file that holds it")
    return read_keys(path)[0]


def follow_authkey(settings: Settings) -> Callable[[], bytes]:
    """What tells the authkey as it is when asked; while its file can't be read, as it was. Raises `SettingsError` as
    `find_authkey` does."""
    last = find_authkey(settings)

    def current() -> bytes:
        nonlocal last
        with suppress(SettingsError):
            last = find_authkey(settings)
        return last

    return current


def find_nats_password(user: str) -> str:
    """The password of NATS's user ``client`` or ``master``; empty where there is none: NATS may ask for none.

    Raises `SettingsError` when its file can't be read.
    """
    settings = load_settings()
    named = settings.master_nats_password_file if user == "master" else settings.taskyard_nats_password_file
    path = named or next(filter(is_there, map(Path, NATS_FILES[user])), None)
    return "" if path is None else read_keys(path)[0].decode()


def read_keys(path: Path) -> list[bytes]:
    """The keys in a file, at least one. Raises `SettingsError`."""
    try:
        keys = [line.strip() for line in path.read_bytes().splitlines()]
    except OSError as error:
        raise SettingsError(f"the authkey's file {path} can't be read: {error.strerror} (uid {os.getuid()})") from None
    if not any(keys):
        raise SettingsError(f"the authkey's file {path} is empty")
    return list(filter(None, keys))


def is_there(path: Path) -> bool:
    """Whether there is such a file, also one that this user may not look at: reading it says so."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def make_authkey(path: Path) -> bytes:
    """Write a random authkey to ``path`` (mode 0640), whole or not at all; returns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = new_key()
    write_keys(path, [key])
    return key


def new_key() -> bytes:
    """A random key of 43 characters: 32 bytes."""
    return secrets.token_urlsafe(32).encode()


def write_keys(path: Path, keys: list[bytes]) -> None:
    """Write keys to ``path`` (mode 0640), whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(key + b"\n" for key in keys)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
