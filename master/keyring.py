"""Who may ask the queue for what: the keys that it takes, and what each of them allows."""

from __future__ import annotations

import hmac
import os
import threading
from collections.abc import Iterable, Mapping
from multiprocessing import AuthenticationError
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from taskyard import wire
from taskyard.errors import SettingsError
from taskyard.keys import KEY_FILES, is_there, make_authkey, new_key, read_keys, write_keys
from taskyard.log import get_logger
from taskyard.settings import Settings, load_settings

WORKER = frozenset(("hello", "lease", "settle", "heartbeat", "leave", "task.get", "result.put"))
CLIENT = frozenset(
    (
        "hello",
        "submit",
        "results",
        "cancel",
        "find",
        "show",
        "attempts",
        "running",
        "jobs",
        "schedules",
        "stats",
        "workers",
        "history",
        "kinds",
    )
) | {"task.put", "result.get"}
ADMIN = CLIENT | {"retry", "retry_all", "forget", "pause", "drain", "backup"}
ALLOWED = {"worker": WORKER, "client": CLIENT, "admin": ADMIN, "shared": WORKER | ADMIN}
"""Verbs by role, and the methods of the tutorial's two queues; ``shared`` is the one key for all of a simple cluster."""
LOOK_SECONDS = 1.0
"""A key that its file has no more is found out so soon."""
CHALLENGE, WELCOME, FAILURE = b"#CHALLENGE#", b"#WELCOME#", b"#FAILURE#"
"""What the handshake of `multiprocessing.connection` is made of."""

logger = get_logger("master")


class Key(NamedTuple):
    """A key and whose it is."""

    role: str
    secret: bytes

    def __repr__(self) -> str:
        return f"<the {self.role} key>"

    def allows(self, what: str) -> bool:
        """Whether who holds it may ask for a verb, or for a method of the tutorial's queues (``task.get``)."""
        return what in ALLOWED[self.role]


class Keyring:
    """The keys that are valid now. ``files``: each holds those of a role, and may change at any time; raises `SettingsError`
    when one can't be read."""

    def __init__(self, fixed: Iterable[Key] = (), files: Mapping[str, Path] | None = None) -> None:
        self._fixed = list(fixed)
        self._files = dict(files or {})
        # Before they are read: what changes in between is found out at the next look.
        self._stamps: dict[str, tuple[int, ...] | None] = {role: _stamp(path) for role, path in self._files.items()}
        self._in_files = {role: read_keys(path) for role, path in self._files.items()}
        self._refused: set[str] = set()
        """Roles whose file holds what can't be right."""
        self._keys: frozenset[Key] = frozenset()
        self._look_again = 0.0
        self._looking = threading.Lock()
        """Each connection's thread looks: none is to put back what an earlier one has read."""
        self._gather()

    def holds(self, key: Key) -> bool:
        """Whether a key is still valid, as of `LOOK_SECONDS` ago."""
        if monotonic() >= self._look_again:
            self.look()
        return key in self._keys

    def look(self) -> None:
        """Take in what has changed in the files; what can't be read changes nothing."""
        with self._looking:
            self._look_again = monotonic() + LOOK_SECONDS
            stamps = {role: _stamp(path) for role, path in self._files.items()}
            for role in [role for role in self._files if stamps[role] != self._stamps[role]]:
                self._stamps[role] = stamps[role]
                if self._take_in(role):
                    # What was refused for it may make sense now, such as a key that has moved from one role to another.
                    self._stamps.update(dict.fromkeys(self._refused))
                    self._refused.clear()
                else:
                    self._refused.add(role)

    def _take_in(self, role: str) -> bool:
        former = self._in_files[role]
        try:
            self._in_files[role] = read_keys(self._files[role])
            self._gather()
        except SettingsError as error:
            self._in_files[role] = former
            logger.warning("the former keys stay valid", role=role, why=str(error))
            return False
        self._refused.discard(role)
        logger.info("keys have changed", role=role, valid=len(self._in_files[role]))
        return True

    def any_of(self, *roles: str) -> bytes:
        """A valid key of one of these roles, the first that there is. Raises `SettingsError`."""
        self.look()
        for role in roles:
            secrets = self._in_files.get(role) or [key.secret for key in self._fixed if key.role == role]
            if secrets:
                return secrets[0]
        raise SettingsError(f"there is no key of these roles: {', '.join(roles)}")

    def prove(self, conn: wire.PlainConnection) -> Key:
        """Have who connects prove that they hold one of the keys; returns it. This side is to prove it next, by
        `multiprocessing.connection.answer_challenge`.

        It is that module's `deliver_challenge`, which knows one key only. Python before 3.12 answers with MD5.
        Raises AuthenticationError, OSError, EOFError.
        """
        challenge = b"{sha256}" + os.urandom(40)
        conn.send_bytes(CHALLENGE + challenge)
        response = conn.recv_bytes(256)
        self.look()
        proved = [key for key in self._keys if hmac.compare_digest(response, _response(key, challenge, response))]
        if not proved:
            conn.send_bytes(FAILURE)
            raise AuthenticationError("digest received was wrong")
        conn.send_bytes(WELCOME)
        return proved[0]

    def _gather(self) -> None:
        in_files = (Key(role, secret) for role, secrets in self._in_files.items() for secret in secrets)
        keys = [*self._fixed, *in_files]
        if len({key.secret for key in keys}) < len(set(keys)):
            raise SettingsError("two roles have the same key: who holds it would be both; make another one (make keys)")
        self._keys = frozenset(keys)


def _response(key: Key, challenge: bytes, response: bytes) -> bytes:
    """What who holds ``key`` would have answered, by the digest of this response."""
    if response.startswith(b"{sha256}"):
        return b"{sha256}" + hmac.digest(key.secret, challenge, "sha256")
    return hmac.digest(key.secret, challenge, "md5")


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def keyring_of(settings: Settings) -> Keyring:
    """The keys that the settings name: one for each role, or one for all, which is made where its file is missing.

    Raises `SettingsError`.
    """
    files = _files_of_roles(settings)
    if settings.taskyard_authkey:
        if files:
            logger.warning("TASKYARD_AUTHKEY allows everything beside the keys for roles: leave it empty if that is not meant")
        return Keyring([Key("shared", settings.taskyard_authkey.encode())], files)
    found = _file_for_all(settings, files)
    if files and found is None:
        missing = [f"MASTER_{role.upper()}_KEY_FILE" for role in ("worker", "client") if role not in files]
        if missing:
            raise SettingsError(f"{' and '.join(missing)}: no such file, and there is no key for all (TASKYARD_AUTHKEY_FILE)")
        return Keyring((), files)
    path = found or Path(KEY_FILES[-1])
    if not is_there(path):
        try:
            make_authkey(path)
        except OSError as error:
            raise SettingsError(
                f"no authkey, and none can be made at {path}: {error.strerror}; set TASKYARD_AUTHKEY or TASKYARD_AUTHKEY_FILE"
            ) from None
    return Keyring((), {"shared": path, **files})


def _files_of_roles(settings: Settings) -> dict[str, Path]:
    roles = {
        "worker": settings.master_worker_key_file,
        "client": settings.master_client_key_file,
        "admin": settings.master_admin_key_file,
    }
    return {role: path for role, path in roles.items() if path is not None and (is_there(path) or _is_set(settings, role))}


def _file_for_all(settings: Settings, files: dict[str, Path]) -> Path | None:
    # With a key for each role, the one for all that the volume may hold from before would be a hole.
    return settings.taskyard_authkey_file or next(filter(is_there, map(Path, KEY_FILES[: 1 if files else None])), None)


def _is_set(settings: Settings, role: str) -> bool:
    return f"master_{role}_key_file" in settings.model_fields_set


def rotate() -> int:
    """Put a new key before those in the shared key's file; returns an exit code. Raises `SettingsError`."""
    path = _shared_file()
    keys = read_keys(path)
    _write(path, [new_key(), *keys])
    print(f"{path}: a new key; {len(keys)} older stay valid. Who connects from now on uses the new one. Where keys were copied")
    print("to other hosts, exchange them there; then: python -m master retire-keys")
    return 0


def retire() -> int:
    """Leave only the newest key in the shared key's file; returns an exit code. Raises `SettingsError`."""
    path = _shared_file()
    newest, *older = read_keys(path)
    _write(path, [newest])
    print(f"{path}: {len(older)} older keys are valid no more; connections made with them end")
    return 0


def _shared_file() -> Path:
    settings = load_settings()
    if settings.taskyard_authkey:
        raise SettingsError("the key stands in TASKYARD_AUTHKEY: change it there, and start all programs again")
    files = _files_of_roles(settings)
    path = _file_for_all(settings, files)
    if path is None and files:
        raise SettingsError("each role has a key of its own here: ROLE=worker, client or admin says whose is meant")
    if path is None:
        raise SettingsError("there is no key yet: the master makes one when it starts")
    return path


def _write(path: Path, keys: list[bytes]) -> None:
    try:
        write_keys(path, keys)
    except OSError as error:
        raise SettingsError(f"{path} can't be written: {error.strerror}; a Compose secret is changed on the host") from None
