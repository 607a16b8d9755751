"""Wakes a loop that waits in a selector."""

from __future__ import annotations

import os


class Bell:
    """A pipe to itself: `ring` makes it readable. For `selectors`, from any thread, and safe in a signal handler."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        for end in (self._out, self._in):
            os.set_blocking(end, False)

    def fileno(self) -> int:
        """What to wait on."""
        return self._out

    def ring(self) -> None:
        """Wake the loop."""
        try:
            os.write(self._in, b".")
        except BlockingIOError:
            pass  # it is full of reasons to wake already

    def hush(self) -> None:
        """Called by the loop when it is awake."""
        os.read(self._out, 4096)

    def __del__(self) -> None:
        # With its last user: closed earlier, its number could be another file's when somebody still rings.
        for end in (self._out, self._in):
            os.close(end)
