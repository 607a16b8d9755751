"""A whole cluster, as processes, with a dashboard in front of it; and browsers that look at it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from bench.ports import free_port
from taskyard.local import LocalCluster
from taskyard.settings import Settings
from tests.harness import wait_until

FULL, READ = "the full token of the page's tests, long enough", "the read-only token of the page's tests, long enough"
expect.set_options(timeout=15_000)
DESKTOP, PHONE, SMALL_PHONE = (1280, 800), (390, 844), (360, 740)


class Dashboard:
    """The program, in front of the master at ``url``, until `close`."""

    def __init__(self, url: str, authkey: bytes, folder: Path, program: tuple[str, ...] = ("-m", "dashboard")) -> None:
        folder.mkdir(parents=True)
        for name, token in (("token", FULL), ("read-token", READ)):
            (folder / name).write_text(token)
        inherited = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
        port = free_port()
        settings = {
            "TASKYARD_URL": url,
            "TASKYARD_AUTHKEY": authkey.decode(),
            "DASHBOARD_PORT": str(port),
            "DASHBOARD_DATA": str(folder),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder
        self.log = folder / "log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, *program], cwd=folder, env=inherited | settings, stdout=log, stderr=log
            )
        wait_until(lambda: self._process.poll() is not None or "serving" in self.log.read_text(), "it serves", 30)

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def close(self) -> None:
        """End it; it ends well, and has logged nothing that went wrong."""
        self._process.terminate()
        assert self._process.wait(20) == 0, self.log.read_text()
        assert "Traceback" not in self.log.read_text(), self.log.read_text()


@contextmanager
def browsing() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    path = shutil.which("chromium")
    assert path is not None, "there is no Chromium; run deploy/test-tools.sh"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def signed_in(
    browser: Browser,
    dashboard: Dashboard,
    token: str = FULL,
    size: tuple[int, int] = DESKTOP,
    dark: bool = False,
    faults: list[str] | None = None,
) -> Page:
    """A browser of its own that shows the first page, and is connected; ``faults`` gets whatever goes wrong in it."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",  # on a busy machine a click misses what moves
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    if faults is not None:
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(f"{dashboard.url}/sign-in#token={token}")
    page.wait_for_url(f"{dashboard.url}/")
    settled(page)
    return page


def settled(page: Page) -> None:
    """Return once the page is built and has had its first word from the server."""
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.wait_for_function("window.did_handshake")


@contextmanager
def cluster(workers: int = 2, slots: int = 2) -> Iterator[LocalCluster]:
    """A master and workers with the tasks of `tests.dashboard_page.tasks`."""
    made = LocalCluster(workers, slots=slots, app="tests.dashboard_page.tasks")
    try:
        yield made
    finally:
        made.__exit__(KeyboardInterrupt, None, None)
