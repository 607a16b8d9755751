"""The mail queue's task: hand one mail to the SMTP server."""

import os
import smtplib
from email.message import EmailMessage

from taskyard import task


# A server that is down or refuses for a while ("451, try again later") costs an attempt; the next one comes later each time.
@task(retries=20, backoff=0.5, time_limit=60)
def send_mail(recipient: str, subject: str, text: str, message_id: str) -> str:
    """Send one mail; returns its Message-ID. Raises what smtplib raises when the server can't take it now."""
    mail = EmailMessage()
    mail["From"] = "taskyard@example.org"
    mail["To"] = recipient
    mail["Subject"] = subject
    mail["Message-ID"] = message_id
    mail.set_content(text)
    with smtplib.SMTP(os.environ.get("SMTP_HOST", "smtp"), 8025, timeout=30) as server:
        server.send_message(mail)
    return message_id
