"""A real SMTP server that keeps mails in a Maildir, and refuses all of them for the first seconds, as busy servers do."""

import mailbox
import os
import signal
import time
from email import message_from_bytes
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP, Envelope, Session

MAILS = Path("/var/mail/taskyard/inbox")


class RefusingMailbox(Mailbox):
    """Takes mails only once ``seconds`` have passed since the first one was offered; keeps one of each Message-ID."""

    def __init__(self, folder: Path, seconds: float) -> None:
        super().__init__(folder)
        self._seconds = seconds
        self._first = 0.0
        self._known = {mail["Message-ID"] for mail in mailbox.Maildir(folder)}
        self._refused = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> Any:
        """Answer one mail."""
        self._first = self._first or time.monotonic()
        if time.monotonic() - self._first < self._seconds:
            self._refused += 1
            return "451 4.3.2 Busy, try again later"
        if self._refused:
            print(f"busy no more; refused {self._refused} times", flush=True)
            self._refused = 0
        message_id = message_from_bytes(envelope.content or b"")["Message-ID"]  # type: ignore[arg-type]
        if message_id in self._known:
            print(f"dropped a repeated mail, {message_id}", flush=True)
            return "250 2.0.0 Got that one already"
        answer = await super().handle_DATA(server, session, envelope)
        self._known.add(message_id)
        return answer


def main() -> None:
    """Serve until SIGTERM."""
    handler = RefusingMailbox(MAILS, float(os.environ.get("SMTP_REFUSE_SECONDS", "2")))
    controller = Controller(handler, hostname="0.0.0.0", port=8025)
    controller.start()
    print("SMTP server on port 8025", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    controller.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
