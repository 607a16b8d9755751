"""A dashboard in front of a real master, asked as programs and browsers ask it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from dashboard.app import create_app
from dashboard.program import server_config
from taskyard.settings import Settings
from taskyard.transport import RemoteQueue
from tests.harness import Harness, wait_until

FULL, READ = "the full token of these tests, long enough", "the read-only token of these tests, long enough"


class Dashboard:
    """Serves on a free port of its own; ``client`` has the full token."""

    def __init__(self, queue: RemoteQueue, folder: Path, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, token in (("token", FULL), ("read-token", READ)):
            (folder / name).write_text(token)
        self.settings = Settings.model_construct(dashboard_data=folder, **settings)
        self.app: FastAPI = create_app(self.settings, queue)
        config = server_config(self.app)
        config.port = 0
        self.server = uvicorn.Server(config)
        self._clients: list[httpx.Client] = []
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: self.server.started, "the dashboard serves", 20)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = self.another(FULL)

    def another(self, token: str = "") -> httpx.Client:
        """A further client."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._clients.append(httpx.Client(base_url=self.url, headers=headers, timeout=30.0))
        return self._clients[-1]

    def signed_in(self, token: str = FULL) -> httpx.Client:
        """A browser that has signed in; its Origin is told with each request."""
        browser = self.another()
        browser.headers["Origin"] = self.url
        assert browser.post("/sign-in", data={"token": token}).status_code == 303
        return browser

    def stop_serving(self) -> float:
        """End it as a signal would; returns how many seconds that took."""
        begun = monotonic()
        if not self.server.should_exit:
            self.app.state.stop()
            self.server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive(), "the dashboard does not end"
        return monotonic() - begun

    def stop(self) -> None:
        """End it, and its clients."""
        for client in self._clients:
            client.close()
        self.stop_serving()


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    """A real master; its clock stands still."""
    made = Harness(tmp_path / "master", "manager")
    yield made
    made.end()


@pytest.fixture
def dashboard(harness: Harness, tmp_path: Path) -> Iterator[Dashboard]:
    """A dashboard of that master, with a worker that offers ``work`` and ``other``."""
    offer(harness)
    made = Dashboard(harness.queue, tmp_path / "dashboard")
    yield made
    made.stop()


def offer(harness: Harness, *names: str, session: str = "worker") -> None:
    """Let a worker tell what it offers."""
    told = {"host": "host", "slots": 2, "busy": 1, "tasks": [*(names or ("work", "other")), "function@3.13"], "python": "3.13"}
    harness.queue.heartbeat(session, told)
