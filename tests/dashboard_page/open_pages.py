"""Open pages without a browser: what a page's websocket sends and gets, for tests of how many there may be."""

from __future__ import annotations

import ast
import asyncio
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import socketio


class OpenPage:
    """One page of a dashboard, which takes all that it is sent."""

    def __init__(self, address: str, cookie: str, path: str) -> None:
        self._address, self._cookie, self._path = address, cookie, path
        self._socket = socketio.AsyncClient(reconnection=False)
        self._next_message = 0
        self.updates = 0

    async def open(self) -> None:
        """Fetch the page and connect as its script does."""
        headers = {"Cookie": self._cookie, "Origin": self._address}
        async with httpx.AsyncClient(base_url=self._address, headers=headers) as client:
            answer = await client.get(self._path, headers={"Accept": "text/html"})
        assert answer.status_code == 200, answer.text
        told = re.search(r"query: (\{.*\})", answer.text)
        assert told is not None, answer.text[-3000:]
        query = ast.literal_eval(told[1])  # the page's script has it as Python writes it, its constants being names there
        self._client = query["client_id"]
        query |= {"document_id": str(uuid.uuid4()), "tab_id": str(uuid.uuid4()), "old_tab_id": ""}
        self._next_message = int(query["next_message_id"])
        self._socket.on("update", self._take)
        asked = "&".join(f"{name}={str(value).lower()}" for name, value in query.items())
        await self._socket.connect(
            f"{self._address}?{asked}", headers=headers, transports=["websocket"], socketio_path="/_nicegui_ws/socket.io"
        )
        if not query.get("implicit_handshake"):
            assert await self._socket.call("handshake", query)

    async def _take(self, message: Any) -> None:
        self.updates += 1
        self._next_message += 1
        if self.updates % 20 == 0:
            await self._socket.emit("ack", {"client_id": self._client, "next_message_id": self._next_message})

    async def close(self) -> None:
        """As when a tab is closed."""
        await self._socket.disconnect()


@contextmanager
def open_pages(address: str, cookie: str, paths: list[str]) -> Iterator[list[OpenPage]]:
    """These pages stay open, in a thread of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(60)

    pages = [OpenPage(address, cookie, path) for path in paths]
    try:
        for page in pages:
            run(page.open())
        yield pages
        for page in pages:
            run(page.close())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextmanager
def pages_of_another_process(address: str, cookie: str, paths: list[str]) -> Iterator[None]:
    """These pages stay open, and what they do with what they are sent takes nothing from who else runs in this process."""
    command = [sys.executable, "-m", __spec__.name, address, cookie, *paths]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield
        process.stdin.close()
        told = process.stdout.read()
        assert process.wait(60) == 0
    assert max(map(int, told.split())) > 0, f"updates of the pages: {told}"


def main() -> None:
    """Open the pages of the command line until the standard input ends; say then how often each was renewed."""
    address, cookie, *paths = sys.argv[1:]
    with open_pages(address, cookie, paths) as pages:
        print("open", flush=True)
        sys.stdin.read()
        print(*(page.updates for page in pages))


if __name__ == "__main__":
    main()
