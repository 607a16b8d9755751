"""TLS as a program sees it: whom it trusts, how it reaches a server, and what is wrong, in words."""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import suppress
from pathlib import Path

from taskyard import tunnel
from taskyard.errors import SettingsError, TaskyardError, WrongCertificate
from taskyard.settings import TlsFiles

FIRST_BYTES = (b"\x16\x03", b"\x15\x03")
"""With which a server of TLS begins to answer: a handshake, an alert."""
FIRST_CERTIFICATE = "-----END CERTIFICATE-----"
PLAIN = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNEXPECTED_MESSAGE", "BAD_RECORD_TYPE")
"""What OpenSSL makes of a greeting that is not TLS."""
ALERTS = {
    "CERTIFICATE_REQUIRED": "wants a client certificate: set TASKYARD_TLS_CERT and TASKYARD_TLS_KEY",
    "UNKNOWN_CA": "does not know who has signed TASKYARD_TLS_CERT: take one of the CA in its MASTER_TLS_CLIENT_CA",
    "CERTIFICATE_EXPIRED": "finds that TASKYARD_TLS_CERT has expired: renew it (make certs)",
    "UNSUPPORTED_CERTIFICATE": "does not take TASKYARD_TLS_CERT, which is not one for clients (extendedKeyUsage: clientAuth)",
    "BAD_CERTIFICATE": "does not take TASKYARD_TLS_CERT: take one of the CA in its MASTER_TLS_CLIENT_CA",
    "PROTOCOL_VERSION": "speaks no TLS 1.3: bring it up to date",
}
"""How a server refuses a client, and what to do then. In TLS 1.3 it does so after the client's handshake."""
CHECKS = {
    9: "is not valid yet: look at the clocks of both hosts",
    10: "has expired: renew it there (make certs), then start the master anew",
    62: "is not one for this name: use a name that it has, or make one that has it (make certs NAMES=...)",
    64: "is not one for this address: use a name that it has, or make one that has it (make certs NAMES=...)",
}
"""By OpenSSL's number, what a client can find wrong about a server's certificate; anything else is about who has signed it."""


# What is trusted


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """What a client trusts and shows. Raises `SettingsError` that names the variable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if files.ca is None:
        context.load_default_certs()
    else:
        _trust(context, files.ca, "MASTER_TLS_CERT" if files.pinned else "TASKYARD_TLS_CA", files.pinned)
    context.check_hostname = not files.pinned
    if files.cert is not None:
        _show(context, files.cert, files.key, "MASTER" if files.cert == files.ca else "TASKYARD")
    elif files.key is not None:
        raise SettingsError(f"TASKYARD_TLS_KEY={str(files.key)!r} is of no use without TASKYARD_TLS_CERT")
    return context


def server_context(cert: Path, key: Path | None, client_ca: Path | None) -> ssl.SSLContext:
    """What a master shows, and whom it lets in: with ``client_ca`` those alone who have a certificate of that CA, and the master
    itself. Raises `SettingsError` that names the variable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # nobody resumes
    _show(context, cert, key, "MASTER")
    if client_ca is not None:
        _trust(context, client_ca, "MASTER_TLS_CLIENT_CA")
        _trust(context, cert, "MASTER_TLS_CERT", pinned=True)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _trust(context: ssl.SSLContext, path: Path, name: str, pinned: bool = False) -> None:
    text = _read(path, name)
    try:
        if pinned:  # the certificate itself, and not those that have signed it, which may stand behind it in the file
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            text = text.partition(FIRST_CERTIFICATE)[0] + FIRST_CERTIFICATE
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise SettingsError(f"{name}={str(path)!r} holds no certificate (PEM)") from None


def _show(context: ssl.SSLContext, cert: Path, key: Path | None, whose: str) -> None:
    _read(cert, f"{whose}_TLS_CERT")
    if key is not None:
        _read(key, f"{whose}_TLS_KEY")
    try:
        context.load_cert_chain(cert, key, password=lambda: "")  # a program without a terminal can't ask for one
    except (ssl.SSLError, ValueError) as error:
        why = getattr(error, "reason", None) or "PEM"
        raise SettingsError(
            f"{whose}_TLS_CERT={str(cert)!r} and {whose}_TLS_KEY={str(key or cert)!r} are not a certificate and its key,"
            f" without a password ({why.replace('_', ' ').lower()})"
        ) from None


def _read(path: Path, name: str) -> str:
    try:
        return path.read_text("ascii", "ignore")
    except OSError as error:
        raise SettingsError(f"{name}={str(path)!r} can't be read: {error.strerror} (uid {os.getuid()})") from None


# Servers


def open_tunnel(sock: socket.socket, context: ssl.SSLContext, name: str, url: str) -> socket.socket:
    """The near end of a tunnel to the server ``name``, over a TCP connection to it, once it has said its first word: only then
    is it known that it takes this client.

    Raises `WrongCertificate`, `SettingsError` (no TLS there), OSError, EOFError.
    """
    opening = tunnel.start(tunnel.couple(sock, context, name))
    try:
        return opening.result()
    except ssl.SSLError as error:
        refused = explain(error, url)
        if refused is None:
            raise
        raise refused from None
    except BaseException:
        opening.cancel()
        raise


def explain(error: ssl.SSLError, url: str) -> TaskyardError | None:
    """What does not heal by trying again, in words; None: it may."""
    if isinstance(error, ssl.SSLCertVerificationError):
        by = "is not signed by a CA that this program trusts: set TASKYARD_TLS_CA to the file of that CA (certs/ca.pem)"
        return WrongCertificate(
            f"the certificate of the master at {url} {CHECKS.get(error.verify_code, by)} ({error.verify_message})"
        )
    reason = error.reason or ""
    if reason in PLAIN:
        return SettingsError(
            f"the master at {url} speaks without TLS: use manager:// in TASKYARD_URL, or give the master MASTER_TLS_CERT"
        )
    for alert, what in ALERTS.items():
        if reason.endswith(f"ALERT_{alert}"):
            return WrongCertificate(f"the master at {url} {what}")
    return None


def speaks_tls(address: tuple[str, int], seconds: float = 2.0) -> bool:
    """Whether what listens there answers a greeting of TLS with one."""
    received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    greeting = context.wrap_bio(received, to_send)
    with suppress(ssl.SSLWantReadError):
        greeting.do_handshake()
    try:
        with socket.create_connection(address, timeout=seconds) as sock:
            sock.sendall(to_send.read())
            return sock.recv(2) in FIRST_BYTES
    except OSError:
        return False
