"""``taskyard local``: a cluster here without Docker, for a script or until Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from taskyard.cli.base import EXIT_INTERRUPTED, app, say
from taskyard.settings import load_settings

SCRIPT_SECONDS = 10.0
"""What an interrupted script gets for its own farewell."""
TETHERED = (
    "import os, sys\n"
    "if sys.platform == 'linux':\n"
    "    import ctypes\n"
    "    ctypes.CDLL(None).prctl(1, 15)\n"  # PR_SET_PDEATHSIG, SIGTERM: it ends with the program that started it
    "os.execv(sys.argv[1], sys.argv[1:])"
)


@app.command(
    epilog="Examples: taskyard local --workers 8 train.py --epochs 3; taskyard local --folder queue",
    context_settings={"allow_interspersed_args": False},
)
def local(
    script: Annotated[str | None, typer.Argument(metavar="SCRIPT", help="A Python program.")] = None,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="ARGS", help="Its arguments.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 4,
    slots: Annotated[int, typer.Option(min=1, max=512, help="Tasks that one worker runs at the same time.")] = 1,
    folder: Annotated[Path | None, typer.Option(help="Keeps tasks and results; else they end with the cluster.")] = None,
    app_module: Annotated[
        str | None, typer.Option("--app", help="The module with @task functions; else WORKER_APP, app.tasks.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error; else info, and warning beside a script.")
    ] = None,
) -> None:
    """Start a master and workers on this host, without Docker, and run SCRIPT on them; its exit code is this one's.

    SCRIPT finds the cluster by itself: `Cluster()` needs no arguments. Without a script the two variables are printed with
    which other programs find it, and it serves until Ctrl-C. All ends with this command; with --folder the next one goes on.
    """
    from taskyard.processes import LocalProcesses  # here: it starts where the other commands need nothing of it

    log_level = log_level or ("warning" if script else "info")
    if log_level not in ("debug", "info", "warning", "error"):
        raise typer.BadParameter(f"{log_level!r}: expected debug, info, warning or error", param_hint="--log-level")
    signal.signal(signal.SIGTERM, _end)
    sys.path.insert(0, str(Path.cwd()))  # where the app's module lies, as with `python -m worker`
    try:
        cluster = LocalProcesses(workers, slots=slots, folder=folder, app=app_module or _usual_app(), log_level=log_level)
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    code = EXIT_INTERRUPTED
    try:
        found_by = {"TASKYARD_URL": cluster.url, "TASKYARD_AUTHKEY": cluster.authkey.decode()}
        if script is not None:
            code = _run([script, *(arguments or [])], found_by)
        else:
            print("".join(f"export {name}={value}\n" for name, value in found_by.items()), end="", flush=True)
            say(f"{workers} workers serve until Ctrl-C")
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        cluster.stop(at_once=code == EXIT_INTERRUPTED)
    if code == EXIT_INTERRUPTED and folder is not None:
        say(f"what was submitted is kept: taskyard local --folder {folder}")
    raise typer.Exit(code)


def _usual_app() -> str | None:
    """WORKER_APP; where it says nothing, its default if that is there."""
    settings = load_settings()
    if "worker_app" in settings.model_fields_set:
        return settings.worker_app
    try:
        return settings.worker_app if find_spec(settings.worker_app) else None
    except ModuleNotFoundError:
        return None


def _run(words: list[str], found_by: dict[str, str]) -> int:
    """Run a Python program to its end, or this one's; returns its exit code, 128 and the signal if one has ended it."""
    path = os.pathsep.join(filter(None, (str(Path.cwd()), os.environ.get("PYTHONPATH", ""))))
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", TETHERED, sys.executable, *words], env=os.environ | found_by | {"PYTHONPATH": path}
    )
    try:
        code = process.wait()
    except BaseException:
        # A terminal's Ctrl-C has reached the script too; one that was sent to this process has not.
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(SCRIPT_SECONDS)
            except subprocess.TimeoutExpired:
                pass
        raise
    finally:
        process.kill()
        process.wait()
    return code if code >= 0 else 128 - code


def _end(number: int, _: object) -> None:
    sys.exit(128 + number)
