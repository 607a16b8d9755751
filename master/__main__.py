"""The master's program: ``python -m master`` serves the queue, ``python -m master health`` asks whether it answers."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from master.committer import Committer
from master.engine import Engine
from master.server import QueueServer
from master.store import Store
from taskyard.errors import SettingsError, TaskyardError
from taskyard.log import get_logger, set_up_logging
from taskyard.settings import KEY_FILES, Settings, find_authkey, load_settings, make_authkey
from taskyard.transport import RemoteQueue

HEALTH_SECONDS = 3.0

EXAMPLES = """examples:
  python -m master                          serve on 127.0.0.1:5000, data in ./taskyard-data
  MASTER_HOST=0.0.0.0 python -m master      serve every network of this host
  python -m master health                   exit 0 when the master of these settings answers

Settings come from the environment and from .env; .env.example lists them. SIGTERM and SIGINT end it with what was
acknowledged on the disk. Exit codes: 74 the data can't be used, 78 a setting is wrong, 69 or 77 (health) no answer, wrong key.
"""


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m master", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=("serve", "health"), default="serve")
    command = parser.parse_args().command
    try:
        settings = load_settings()
        return health(settings) if command == "health" else serve(settings)
    except TaskyardError as error:
        print(f"master: {error}", file=sys.stderr)
        return error.exit_code


def serve(settings: Settings) -> int:
    """Serve until a signal; returns the exit code. Raises `SettingsError`, `StoreBroken`, `StoreFull`."""
    set_up_logging(settings)
    logger = get_logger("master")
    stop = threading.Event()

    def on_signal(number: int, _: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    store = Store(settings.master_data)
    engine = Engine(
        store,
        lease_time=settings.master_lease,
        bound=settings.master_bound,
        payload_limit=settings.master_payload_limit,
    )
    committer = Committer(engine)
    try:
        server = QueueServer(committer, (settings.master_host, settings.master_port), authkey_of(settings))
    except OSError as error:
        raise SettingsError(
            f"can't listen on {settings.master_host}:{settings.master_port} (MASTER_HOST, MASTER_PORT): {error.strerror}"
        ) from None
    committer.start()
    server.start()
    counts = engine.stats()
    host, port = server.listener.address
    logger.info("serving", address=f"{host}:{port}", data=str(store.path), ready=counts["ready"], delayed=counts["delayed"])
    while not stop.wait(0.5) and not committer.ended.is_set():
        pass
    logger.info("stopping")
    server.close()
    committer.stop()
    return getattr(committer.broken, "exit_code", 1) if committer.broken else 0


def authkey_of(settings: Settings) -> bytes:
    """The key that the settings name; a key is made where its file is missing. Raises `SettingsError`."""
    path = settings.taskyard_authkey_file or Path(KEY_FILES[-1])
    if not settings.taskyard_authkey and not path.exists() and not any(Path(name).exists() for name in KEY_FILES):
        try:
            return make_authkey(path)
        except OSError as error:
            raise SettingsError(
                f"no authkey, and none can be made at {path}: {error.strerror}; set TASKYARD_AUTHKEY or TASKYARD_AUTHKEY_FILE"
            ) from None
    return find_authkey(settings)


def health(settings: Settings) -> int:
    """Ask the master for its counts and print them. Raises what says why it does not answer."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.master_host, settings.master_host)
    with RemoteQueue(f"manager://{host}:{settings.master_port}", find_authkey(settings), HEALTH_SECONDS, "health") as queue:
        counts = queue.stats()
    print(
        "serving:",
        ", ".join(f"{counts[state]} {state}" for state in ("ready", "leased", "delayed")),
        f"| {counts['workers']} workers",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
