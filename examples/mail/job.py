"""The mail queue's job: send N mails through the cluster, then count what arrived. ``python -m examples.mail.job [N]``"""

import mailbox
import sys
from collections import Counter
from concurrent.futures import as_completed
from email.utils import make_msgid

from rich.progress import Progress

from examples.mail.tasks import send_mail
from taskyard import Cluster

MAILS = "/var/mail/taskyard/inbox"


def main(count: int = 50) -> int:
    """Returns 0 when each mail has arrived exactly once."""
    ids = [make_msgid(domain="example.org") for _ in range(count)]
    with Cluster() as cluster, Progress(disable=not sys.stdout.isatty()) as progress:
        sent = [
            cluster.submit(send_mail, f"reader{n}@example.org", f"Issue {n}", "Dear reader ...", message_id)
            for n, message_id in enumerate(ids)
        ]
        print(f"{count} mails are queued; the job could go now, they would be sent all the same")
        for future in progress.track(as_completed(sent), total=count, description="Mails"):
            future.result()
    arrived = Counter(mail["Message-ID"] for mail in mailbox.Maildir(MAILS, create=False))
    missing = [message_id for message_id in ids if arrived[message_id] == 0]
    twice = [message_id for message_id in ids if arrived[message_id] > 1]
    print(f"{count} mails sent: {count - len(missing) - len(twice)} arrived exactly once, {len(missing)} not, {len(twice)} twice")
    return 1 if missing or twice else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
