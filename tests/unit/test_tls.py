"""Files for TLS: what is wrong with them is told by the setting's name; and what makes and renews them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from master.program import tls_context
from taskyard import tls
from taskyard.errors import SettingsError
from taskyard.settings import NO_FILE, Settings, TlsFiles, load_settings
from taskyard.transport import RemoteQueue
from taskyard.urls import is_tls
from tests.certificates import SCRIPT, make_certificates


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests counts."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def openssl(*words: str | Path) -> str:
    return subprocess.run(["openssl", *words], check=True, capture_output=True, text=True).stdout


# Settings


@pytest.mark.parametrize(("url", "expected"), [("managers://master:5000", True), ("manager://managers:5000", False)])
def test_the_scheme_says_whether_it_is_tls(url: str, expected: bool) -> None:
    assert is_tls(url) == expected


def test_no_files_are_read_for_an_address_without_tls(tmp_path: Path) -> None:
    with RemoteQueue("manager://master:5000", b"key", files=TlsFiles(tmp_path / "missing")) as queue:
        assert not queue.connected


def test_a_file_can_be_set_to_none_against_the_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("TASKYARD_TLS_CA=certs/ca.pem\n")
    assert load_settings().tls_files == TlsFiles(Path("certs/ca.pem"))
    monkeypatch.setenv("TASKYARD_TLS_CA", str(NO_FILE))
    assert load_settings().tls_files == TlsFiles()


@pytest.mark.parametrize(
    ("ca", "cert", "key", "told"),
    [
        ("missing", None, None, r"TASKYARD_TLS_CA='.*missing' can't be read: No such file or directory \(uid \d+\)"),
        ("ca.key", None, None, r"TASKYARD_TLS_CA='.*ca.key' holds no certificate"),
        ("empty", None, None, r"TASKYARD_TLS_CA='.*empty' holds no certificate"),
        ("ca.der", None, None, r"TASKYARD_TLS_CA='.*ca.der' holds no certificate \(PEM\)"),
        ("ca.pem", "missing", "client.key", r"TASKYARD_TLS_CERT='.*missing' can't be read"),
        ("ca.pem", "client.pem", "missing", r"TASKYARD_TLS_KEY='.*missing' can't be read"),
        ("ca.pem", "client.pem", "master.key", r"TASKYARD_TLS_CERT='.*client.pem' and TASKYARD_TLS_KEY='.*' are not .* mismatch"),
        ("ca.pem", "client.pem", None, r"TASKYARD_TLS_CERT='.*client.pem' and TASKYARD_TLS_KEY='.*client.pem' are not"),
        ("ca.pem", "client.pem", "locked.key", r"TASKYARD_TLS_KEY='.*locked.key' are not .*, without a password"),
        ("ca.pem", None, "client.key", r"TASKYARD_TLS_KEY='.*client.key' is of no use without TASKYARD_TLS_CERT"),
    ],
)
def test_a_clients_file_that_cannot_be_used_is_named(
    certs: Path, ca: str, cert: str | None, key: str | None, told: str, tmp_path: Path
) -> None:
    folder = tmp_path / "certs"
    shutil.copytree(certs, folder)
    (folder / "empty").touch()
    openssl("x509", "-in", folder / "ca.pem", "-outform", "DER", "-out", folder / "ca.der")
    openssl("pkey", "-in", folder / "client.key", "-aes128", "-passout", "pass:secret", "-out", folder / "locked.key")
    files = TlsFiles(folder / ca, cert and folder / cert, key and folder / key)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=told) as caught:
        RemoteQueue("managers://master:5000", b"key", files=files)
    assert "\n" not in str(caught.value)


def test_a_masters_files_are_named_likewise(certs: Path, tmp_path: Path) -> None:
    assert tls_context(Settings()) is None
    wrong: dict[str, dict[str, Path]] = {
        "MASTER_TLS_KEY and MASTER_TLS_CLIENT_CA are of no use without MASTER_TLS_CERT": {"master_tls_key": certs / "master.key"},
        "MASTER_TLS_CERT='.*' can't be read": {"master_tls_cert": tmp_path / "missing"},
        "MASTER_TLS_CERT='.*' and MASTER_TLS_KEY='.*' are not": {
            "master_tls_cert": certs / "master.pem",
            "master_tls_key": certs / "ca.key",
        },
        "MASTER_TLS_CLIENT_CA='.*' holds no certificate": {
            "master_tls_cert": certs / "master.pem",
            "master_tls_key": certs / "master.key",
            "master_tls_client_ca": certs / "ca.key",
        },
    }
    for told, settings in wrong.items():
        with pytest.raises(SettingsError, match=told):
            tls_context(Settings.model_construct(**settings))  # type: ignore[arg-type]


def test_certificate_and_key_may_stand_in_one_file(certs: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    text = [(certs / name).read_text() for name in ("master.key", "master.pem", "ca.pem")]
    both.write_text("Schlüssel\n" + "".join(text))
    assert tls.server_context(both, None, both).minimum_version.name == "TLSv1_3"
    # Who trusts exactly this certificate does not trust all others of the CA behind it.
    assert tls.client_context(TlsFiles(both, both, pinned=True)).cert_store_stats()["x509"] == 1


# make certs


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_made_certificates_are_for_the_names_that_were_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    said = make_certificates(folder, NAMES="queue.example.org 10.0.0.5 ::1")
    assert "DNS:queue.example.org, IP:10.0.0.5, IP:::1 until" in said.splitlines()[-1]
    names = ["-verify_hostname", "queue.example.org", "-verify_hostname", "master", "-verify_hostname", "localhost"]
    for check in (names, ["-verify_ip", "10.0.0.5"], ["-verify_ip", "127.0.0.1"], ["-verify_ip", "::1"]):
        openssl("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", folder / "ca.pem", *check, folder / "master.pem")
    openssl("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", folder / "ca.pem", folder / "client.pem")


def test_keys_are_for_the_containers_user_in_a_folder_that_nobody_else_may_enter(certs: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in certs.iterdir()}
    assert certs.stat().st_mode & 0o777 == 0o700
    assert (modes["ca.key"], modes["ca.pem"], modes["master.pem"], modes["client.pem"]) == (0o600, 0o644, 0o644, 0o644)
    if os.getuid() == 0:
        uid = int((SCRIPT.parents[1] / "worker/Dockerfile").read_text().split("useradd --uid ")[1].split()[0])
        assert [(certs / f"{name}.key").stat().st_uid for name in ("master", "client")] == [uid, uid]
        assert (modes["master.key"], modes["client.key"]) == (0o600, 0o600)
    else:
        assert (modes["master.key"], modes["client.key"]) == (0o644, 0o644)


def test_made_again_nothing_changes_while_all_is_good(tmp_path: Path) -> None:
    make_certificates(tmp_path / "certs", NAMES="::1 queue.example.org")
    before = contents(tmp_path / "certs")
    make_certificates(tmp_path / "certs")  # the names stay
    make_certificates(tmp_path / "certs", NAMES="::1 queue.example.org")
    assert contents(tmp_path / "certs") == before


def test_made_again_what_expires_within_30_days_is_renewed_and_the_ca_and_the_names_stay(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    make_certificates(folder, NAMES="queue.example.org", DAYS="29")
    before = contents(folder)
    make_certificates(folder)
    after = contents(folder)
    assert {name for name in before if before[name] != after[name]} == {"master.pem", "master.key", "client.pem", "client.key"}
    openssl("verify", "-verify_hostname", "queue.example.org", "-CAfile", folder / "ca.pem", folder / "master.pem")


def test_what_an_interrupted_run_has_left_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    make_certificates(folder)
    shutil.copy(folder / "client.key", folder / "master.key")
    (folder / "client.pem").unlink()
    make_certificates(folder)
    for name in ("master", "client"):
        openssl("verify", "-CAfile", folder / "ca.pem", folder / f"{name}.pem")
        assert openssl("pkey", "-in", folder / f"{name}.key", "-pubout") == openssl(
            "x509", "-in", folder / f"{name}.pem", "-noout", "-pubkey"
        )


@pytest.mark.parametrize(
    ("what", "told"),
    [("a name", "NAMES: a;b is neither a name nor an address"), ("the CA's key", "ca.key is missing, .* put it back")],
)
def test_what_cannot_be_made_is_told_and_leaves_all_as_it_was(what: str, told: str, tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    make_certificates(folder)
    if what == "the CA's key":
        (folder / "ca.key").unlink()
    before = contents(folder)
    names = "queue.example.org" if what == "the CA's key" else "a;b"
    ended = subprocess.run([SCRIPT, folder], env=os.environ | {"NAMES": names}, capture_output=True, text=True)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("certs: ")
    assert re.search(told, line)
    assert contents(folder) == before


def test_without_openssl_who_may_not_install_it_is_told_what_to_install(tmp_path: Path) -> None:
    user = tmp_path / "id"  # the only program there is: this user is not root
    user.write_text("#!/bin/sh\necho 1000\n")
    user.chmod(0o755)
    ended = subprocess.run(["/bin/bash", SCRIPT, "certs"], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (1, "certs: openssl is not installed (Debian: apt-get install openssl)\n")
