"""Draws the pictures of docs/pictures from ten busy minutes of a queue: ``python -m tests.dashboard_page.pictures``"""

from __future__ import annotations

import math
import sys
import tempfile
import threading
import time
from itertools import count
from pathlib import Path

from playwright.sync_api import Browser

from taskyard.codec import encode, encode_error
from taskyard.model import Lease, Outcome
from taskyard.series import from_outcomes
from tests.dashboard_page.running import DESKTOP, PHONE, Dashboard, browsing, signed_in
from tests.harness import AUTHKEY, Harness, task

FOLDER = Path(__file__).parents[2] / "docs/pictures"
WORKERS = 5
SECONDS = 600


class Stage:
    """A master whose clock runs from ten minutes ago until now and on, with workers that are no more than their words."""

    def __init__(self, folder: Path) -> None:
        self.harness = Harness(folder, "manager")
        self.queue = self.harness.queue
        self.harness.time.wall = time.time() - SECONDS
        self._held: list[tuple[str, Lease]] = []
        self._numbers = count()
        self._stopping = threading.Event()
        self._player = threading.Thread(target=self._go_on)

    def play(self) -> None:
        """The ten minutes; then it goes on by itself."""
        self._submit("nightly-report", "report", range(900))
        self._submit("newsletter", "send_mail", range(260))
        self._submit("thumbnails", "resize", range(3600))
        self.queue.submit([task("train-0", job="train-model", name="train", payload=encode(((40,), {"rate": 0.01})), priority=9)])
        for worker in range(WORKERS):
            self._beat(worker, 0.9)
        self.queue.lease("worker-0", 1, 0)
        gone = {"host": "worker-9", "slots": 2, "tasks": ["resize"], "python": "3.13", "version": "0.1.0", "pid": 7}
        self.queue.heartbeat("worker-9", gone)
        self.queue.leave("worker-9")
        while self.harness.time.wall < time.time():
            self._step()
        self._player.start()

    def stop(self) -> None:
        """No further."""
        self._stopping.set()
        self._player.join(10)
        self.harness.end()

    def _go_on(self) -> None:
        while not self._stopping.wait(max(0.0, self.harness.time.wall - time.time())):
            self._step()

    def _step(self) -> None:
        second = next(self._numbers)
        busy = 0.55 + 0.35 * math.sin(second / 55) + 0.1 * math.sin(second / 7)
        if second % 5 == 0:
            self._submit("thumbnails", "resize", range(3600 + 10 * second, 3650 + 10 * second - second % 15))
        for worker in range(WORKERS):
            self._beat(worker, busy)
        for worker in range(WORKERS):
            leases = self.queue.lease(f"worker-{worker}", 1 + (second * (worker + 3) % 7 < 5 * busy) + (busy > 0.7), 0)
            self._held += [(f"worker-{worker}", lease) for lease in leases]
        self.harness.advance(1)
        if second % 2:
            self._settle(second, busy)

    def _submit(self, job: str, name: str, numbers: range) -> None:
        tasks = []
        for number in numbers:
            call = ((f"reader-{number}@example.org",), {}) if name == "send_mail" else ((number,), {"width": 800})
            given = {"job": job, "name": name, "payload": encode(call), "retries": 0, "priority": len(job) % 3}
            tasks.append(task(f"{job}-{number}", **given))
        self.queue.submit(tasks)

    def _beat(self, worker: int, busy: float) -> None:
        progress = {"train-0": (14.0, 40.0, "epoch 14, loss 0.071")} if worker == 0 else {}
        info = {
            "host": f"worker-{worker + 1}",
            "slots": 2,
            "busy": 2 if busy > 0.4 else 1,
            "tasks": ["resize", "report", "send_mail", "train"],
            "python": "3.13",
            "version": "0.1.0",
            "pid": 7 + worker,
            "cpu": round(2 * busy * (1 - worker / 20), 2),
            "memory": 180_000_000 + 7_300_000 * worker,
            "started": self.harness.time.wall - 7300,
            "progress": progress,
        }
        self.queue.heartbeat(f"worker-{worker}", info)

    def _settle(self, second: int, busy: float) -> None:
        for session in {session for session, _ in self._held}:
            outcomes = [_outcome(lease, second) for holder, lease in self._held if holder == session]
            spread = 0.08 + 0.3 * busy * (1 + (second * 7 % 11) / 11)
            self.queue.settle_series(session, [one._replace(seconds=spread * len(one.values)) for one in from_outcomes(outcomes)])
        self._held.clear()


def _outcome(lease: Lease, second: int) -> Outcome:
    number = int(lease.id.rpartition("-")[2])
    if lease.name == "send_mail" and number % 9 == 4:
        try:
            raise ConnectionRefusedError(f"no mail server answers for reader-{number}@example.org")
        except ConnectionRefusedError as error:
            return Outcome(lease.id, lease.token, "failed", encode_error(error), f"exception: ConnectionRefusedError: {error}")
    return Outcome(lease.id, lease.token, "done", encode(f"picture-{number}.jpg"))


def draw(browser: Browser, dashboard: Dashboard, folder: Path) -> None:
    """Every page in two sizes."""
    for label, size, dark in (("", DESKTOP, False), ("-phone", PHONE, True)):
        page = signed_in(browser, dashboard, size=size, dark=dark)
        for name, path in (("overview", "/"), ("workers", "/workers"), ("jobs", "/jobs"), ("tasks", "/tasks?state=failed")):
            page.goto(dashboard.url + path)
            page.wait_for_timeout(2500)
            page.screenshot(path=folder / f"{name}{label}.png")
        page.goto(dashboard.url + "/task?id=newsletter-4")
        page.wait_for_timeout(1500)
        page.screenshot(path=folder / f"task{label}.png")


def main(folder: Path) -> None:
    """Draw them into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        stage = Stage(Path(temporary) / "master")
        stage.play()
        dashboard = Dashboard(stage.queue.url, AUTHKEY, Path(temporary) / "dashboard")
        try:
            with browsing() as browser:
                draw(browser, dashboard, folder)
        finally:
            dashboard.close()
            stage.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
