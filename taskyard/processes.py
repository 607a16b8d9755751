"""A master and workers as plain processes of this program.

They run in sessions of their own, so that a terminal's Ctrl-C reaches only this process, which then stops them. Each is
on a leash (`taskyard.leash`): if this process is killed, they end too. One that is killed is started again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from taskyard.ending import at_end
from taskyard.errors import SettingsError, StoreBroken, TaskyardError
from taskyard.keys import make_authkey
from taskyard.settings import NO_FILE, Settings
from taskyard.transport import RemoteQueue

START_SECONDS = 60.0
"""In which a master must serve, and its workers must have joined; a few more for each worker."""
GRACE_SECONDS = 2.0
"""What a stop lets running tasks finish; then they go back into the queue."""
STOP_SECONDS = 8.0
"""After which a program that was told to stop is killed."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Before a program that has died is started again; doubled each time until one has lived for `LONGEST_PAUSE`."""
LAST_LINES = 10
"""Of a program's log, that an error quotes."""
STDLIB = sysconfig.get_path("stdlib")


class LocalProcesses:
    """A master and ``workers`` workers, from the constructor's return until `stop`. Raises `SettingsError`, `TaskyardError`.

    ``folder``: where the tasks are kept, so that the next start goes on with them; None: nowhere. ``app``: the module that
    registers tasks.
    """

    def __init__(
        self,
        workers: int = 4,
        *,
        slots: int = 1,
        folder: str | os.PathLike[str] | None = None,
        app: str | None = None,
        accepts: str = "names,functions",
        log_level: str = "error",
    ) -> None:
        if workers < 1:
            raise SettingsError(f"workers={workers}: expected 1 or more")
        self._pid = os.getpid()
        self._own = Path(tempfile.mkdtemp(prefix="taskyard-"))
        self.authkey = make_authkey(self._own / "authkey")
        self._settings = {
            "taskyard_authkey": self.authkey.decode(),
            "taskyard_authkey_file": self._own / "authkey",
            "taskyard_log_level": log_level,
            # One key for all; a file that is named has to be there.
            **dict.fromkeys(("master_worker_key_file", "master_client_key_file", "master_admin_key_file"), NO_FILE),
            "master_port": 0,
            "master_data": Path(folder).absolute() if folder is not None else self._own / "data",
            "master_health_file": self._own / "master-health",
            "master_address_file": self._own / "address",
            "worker_app": app or "taskyard",
            "worker_accepts": accepts,
            "worker_slots": slots,
            "worker_grace": GRACE_SECONDS,
        }
        self.before_end: Callable[[], None] = lambda: None
        """Called at the end of this program, before they are stopped."""
        self._leash_end, self._leash = os.pipe()
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # who calls `stop` second waits for the first
        self._stopped = False
        self._workers: list[Program] = []
        self._master = Program("master", self._leash_end, self._environment, self._stopping)
        _all.add(self)
        try:
            self._start(workers)
        except BaseException:
            self.stop(at_once=True)
            raise

    def stop(self, *, at_once: bool = False) -> None:
        """End all processes: workers finish what they run, for `GRACE_SECONDS`, or with ``at_once`` give it back now."""
        if self._pid != os.getpid():
            return  # a forked child's copy
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            self._stopping.set()
            try:
                for programs in (self._workers, [self._master]):
                    for seconds in (0.3 if at_once else STOP_SECONDS, STOP_SECONDS):
                        for program in programs:
                            program.stop()  # a second time: at once
                        _wait_for_end(programs, seconds)
            finally:
                self._clean_up()

    def let_go(self) -> None:
        """In a forked child, which must not keep the parent's programs alive."""
        os.close(self._leash)

    def _clean_up(self) -> None:
        for program in (*self._workers, self._master):
            program.kill()
        for end in (self._leash, self._leash_end):
            os.close(end)
        shutil.rmtree(self._own, ignore_errors=True)
        _all.discard(self)

    def _start(self, workers: int) -> None:
        deadline = monotonic() + START_SECONDS + 2 * workers
        self._master.start()
        address = self._own / "address"
        self._wait_until(address.exists, deadline, "the master does not serve")
        host, _, port = address.read_text().strip().rpartition(":")
        self.url = f"manager://{host}:{port}"
        # A master that is started again must be where the others look for it.
        self._settings.update(master_port=port, taskyard_url=self.url)
        for number in range(workers):
            environment = partial(
                self._environment, worker_health_file=self._own / f"worker-{number}-health", worker_after_drain="stay"
            )
            self._workers.append(Program("worker", self._leash_end, environment, self._stopping))
            self._workers[-1].start()
        with RemoteQueue(self.url, self.authkey, START_SECONDS) as queue:
            self._wait_until(lambda: int(queue.stats()["workers"]) >= workers, deadline, "the workers do not join")
        for program in (self._master, *self._workers):
            program.keep()

    def _wait_until(self, condition: Callable[[], bool], deadline: float, what: str) -> None:
        while not condition():
            for program in (self._master, *self._workers):
                program.check()
            if monotonic() > deadline:
                raise TaskyardError(f"{what}, {START_SECONDS:g} s after they were started")
            sleep(0.02)

    def _environment(self, **settings: Any) -> dict[str, str]:
        """Each setting is given, so that nothing of another cluster's comes from the environment or a ``.env``."""
        names = Settings.model_fields
        given = {name: NO_FILE if field.default is None else field.default for name, field in names.items()}
        given |= self._settings | settings
        inherited = {name: value for name, value in os.environ.items() if name.lower() not in names}
        return inherited | {name.upper(): str(value) for name, value in given.items()} | {"PYTHONPATH": _python_path()}


class Program:
    """One process, started again when it dies, once it is to be kept. ``environment`` is asked at each start."""

    def __init__(self, name: str, leash: int, environment: Callable[[], dict[str, str]], stopping: threading.Event) -> None:
        self._name = name
        self._leash = leash
        self._environment = environment
        self._stopping = stopping
        self._lock = threading.Lock()  # between a start and the stop
        self._process: subprocess.Popen[str] | None = None
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._kept = False
        self._telling = threading.Lock()

    def start(self) -> None:
        """Start it, unless all is being stopped."""
        with self._lock:
            if self._stopping.is_set():
                return
            # -P: a file of this name in the current folder is not meant.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", self._name, "--leash"],
                stdin=self._leash,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                start_new_session=True,
                text=True,
                errors="replace",
            )
        threading.Thread(target=self._relay, args=(self._process,), name=f"{self._name}-log", daemon=True).start()

    def check(self) -> None:
        """Raise `TaskyardError` with its last words if it has ended."""
        if self._process is None or self._process.poll() is None:
            return
        sleep(0.2)  # for its last words
        code = self._process.returncode
        kind = {SettingsError.exit_code: SettingsError, StoreBroken.exit_code: StoreBroken}.get(code, TaskyardError)
        raise kind(f"the {self._name} has ended with exit code {code}:\n" + "".join(self._last_lines).rstrip())

    def keep(self) -> None:
        """From now on start it again when it dies. Its log is passed on; until now an error would have quoted it."""
        with self._telling:
            self._kept = True
            _pass_on("".join(self._last_lines))
        threading.Thread(target=self._watch, name=f"{self._name}-watch", daemon=True).start()

    def stop(self) -> None:
        """Tell it to stop."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()

    @property
    def ended(self) -> bool:
        """Whether it does not run."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """End it now; returns when it has."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def _watch(self) -> None:
        pause = FIRST_PAUSE
        while self._process is not None:
            started = monotonic()
            code = self._process.wait()
            if monotonic() - started > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            if self._stopping.wait(pause):
                return
            _pass_on(f"taskyard: a {self._name} has ended with exit code {code}; starting it again\n")
            pause = min(2 * pause, LONGEST_PAUSE)
            self.start()

    def _relay(self, process: subprocess.Popen[str]) -> None:
        """Pass its log on to this program's standard error, wherever that goes."""
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with self._telling:
                    self._last_lines.append(line)
                    if self._kept:
                        _pass_on(line)


_all: set[LocalProcesses] = set()


def _at_exit() -> None:
    for processes in list(_all):
        processes.before_end()
        processes.stop()


def _in_forked_child() -> None:
    for processes in list(_all):
        processes.let_go()
    _all.clear()


at_end(_at_exit)
os.register_at_fork(after_in_child=_in_forked_child)


def _pass_on(text: str) -> None:
    try:
        sys.stderr.write(text)
    except (OSError, ValueError, AttributeError):
        pass  # it is closed; the programs must go on


def _wait_for_end(programs: list[Program], seconds: float) -> None:
    deadline = monotonic() + seconds
    while not all(program.ended for program in programs) and monotonic() < deadline:
        sleep(0.01)


def _python_path() -> str:
    """What this program can import, the others can; `master` and `worker` are Taskyard's, whatever lies beside a script."""
    here = [entry or str(Path.cwd()) for entry in sys.path]
    own = [entry for entry in here if entry == STDLIB or entry.startswith(f"{STDLIB}/lib-dynload")]
    return os.pathsep.join(dict.fromkeys([*own, str(Path(__file__).parents[1]), *here]))
