"""Settings: where they come from, what a wrong one leads to, how the key is found and made."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from taskyard.errors import SettingsError
from taskyard.keys import find_authkey, make_authkey
from taskyard.settings import Settings, available_cpus, load_settings
from taskyard.urls import parse_url


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests counts."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


# Where they come from


def test_without_any_setting_the_programs_of_one_host_find_each_other() -> None:
    settings = load_settings()
    assert parse_url(settings.taskyard_url) == (settings.master_host, settings.master_port)
    assert (settings.worker_slots, settings.worker_app, settings.master_lease) == (1, "app.tasks", 30.0)


def test_the_environment_goes_before_the_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MASTER_LEASE=5\nWORKER_SLOTS=3\n")
    monkeypatch.setenv("WORKER_SLOTS", "4")
    settings = load_settings()
    assert (settings.master_lease, settings.worker_slots) == (5.0, 4)


def test_an_empty_value_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    # Compose passes on an empty value for what is not set.
    Path(".env").write_text("MASTER_BOUND=\n")
    monkeypatch.setenv("TASKYARD_AUTHKEY_FILE", "")
    monkeypatch.setenv("WORKER_SLOTS", "")
    assert load_settings() == Settings.model_construct()


def test_variables_of_other_programs_are_no_concern(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MASTER_MEMORY=1G\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("WORKER_COLOUR", "red")
    assert load_settings() == Settings.model_construct()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MASTER_PORT", "65536"),
        ("MASTER_PORT", "-1"),
        ("MASTER_PORT", "http"),
        ("MASTER_LEASE", "0"),
        ("MASTER_LEASE", "nan"),
        ("MASTER_BOUND", "0"),
        ("MASTER_PAYLOAD_LIMIT", "0"),
        ("MASTER_PAYLOAD_LIMIT", "16M"),
        ("WORKER_SLOTS", "0"),
        ("WORKER_SLOTS", "513"),
        ("WORKER_SLOTS", "many"),
        ("WORKER_GRACE", "-1"),
        ("WORKER_GRACE", "nan"),
        ("TASKYARD_LOG", "xml"),
        ("TASKYARD_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_told_with_the_name_of_its_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}='{value}': "):
        load_settings()


def test_the_least_values_that_make_sense_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 0: the system chooses one. No grace: give back at once what runs.
    least = {"MASTER_PORT": 0, "MASTER_LEASE": 0.001, "MASTER_BOUND": 1, "MASTER_PAYLOAD_LIMIT": 1, "WORKER_GRACE": 0}
    for name, value in least.items():
        monkeypatch.setenv(name, str(value))
    settings = load_settings()
    assert {name: getattr(settings, name.lower()) for name in least} == least


def test_an_env_file_that_is_no_text_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_bytes("TASKYARD_AUTHKEY=schlüssel\n".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"\.env"):
        load_settings()


def test_the_key_is_not_shown_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKYARD_AUTHKEY", "a secret")
    assert load_settings().taskyard_authkey == "a secret"
    assert "a secret" not in repr(load_settings()) + str(load_settings())


# Slots


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "6400000 100000"}, 8),
        ({"cpu.max": "nonsense"}, 8),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_auto_slots_are_the_processors_that_the_container_may_use(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr("taskyard.settings.Path", lambda name: tmp_path / str(name).lstrip("/"))
    for name, content in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content + "\n")
    assert available_cpus() == expected
    monkeypatch.setenv("WORKER_SLOTS", "auto")
    assert load_settings().worker_slots == expected


# The address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("manager://master:5000", ("master", 5000)),
        ("manager://10.0.0.7:6001", ("10.0.0.7", 6001)),
        ("manager://master", ("master", 5000)),
        ("manager://[::1]:6001", ("::1", 6001)),
        ("manager://master:5000/", ("master", 5000)),
    ],
)
def test_an_address_is_read(url: str, expected: tuple[str, int]) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "master:5000",
        "http://master:5000",
        "manager://",
        "manager://:5000",
        "manager://m:port",
        "manager://m:99999",
        "manager://m:0",
        "manager://[::1",
    ],
)
def test_what_is_no_address_is_told_with_an_example(url: str) -> None:
    with pytest.raises(SettingsError, match=r"TASKYARD_URL=.*for instance manager://master:5000"):
        parse_url(url)


# The key


@pytest.fixture
def key_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The two places where a key is looked for; nothing is there yet."""
    files = (tmp_path / "secret", tmp_path / "made")
    monkeypatch.setattr("taskyard.keys.KEY_FILES", tuple(map(str, files)))
    return files


def test_a_key_is_looked_for_in_the_documented_order(key_files: tuple[Path, Path], tmp_path: Path) -> None:
    key_files[1].write_text("made by the master\n")
    assert find_authkey(Settings()) == b"made by the master"
    key_files[0].write_text("a secret of Compose")
    assert find_authkey(Settings()) == b"a secret of Compose"
    (tmp_path / "named").write_text("  in the named file \r\n")
    named = Settings(taskyard_authkey_file=tmp_path / "named")
    assert find_authkey(named) == b"in the named file"
    assert find_authkey(named.model_copy(update={"taskyard_authkey": "given"})) == b"given"


def test_without_a_key_the_message_names_the_settings(key_files: tuple[Path, Path]) -> None:
    with pytest.raises(SettingsError, match="TASKYARD_AUTHKEY, or TASKYARD_AUTHKEY_FILE"):
        find_authkey(Settings())


def test_a_place_for_the_key_that_cant_be_looked_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A name that is too long stands for a folder that only another user may enter: this test may run as root.
    place = str(tmp_path / ("k" * 256))
    monkeypatch.setattr("taskyard.keys.KEY_FILES", (place,))
    with pytest.raises(SettingsError, match=f"{place} can't be read"):
        find_authkey(Settings())


@pytest.mark.parametrize("what", ["can't be read", "is empty"])
def test_a_key_file_without_a_key_is_named(what: str, key_files: tuple[Path, Path], tmp_path: Path) -> None:
    key_files[0].write_text("another key, which must not be taken in its place")
    named = tmp_path / "named"
    if what == "is empty":
        named.write_text("\n")
    with pytest.raises(SettingsError, match=f"{named} {what}"):
        find_authkey(Settings(taskyard_authkey_file=named))


def test_a_made_key_is_found_again_and_no_two_are_the_same(key_files: tuple[Path, Path]) -> None:
    key = make_authkey(key_files[1])
    assert find_authkey(Settings()) == key
    assert len(key) >= 32
    assert make_authkey(key_files[0]) != key


def test_a_made_key_is_for_owner_and_group_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_authkey(tmp_path / "folder" / "key")
    finally:
        os.umask(before)
    assert (tmp_path / "folder" / "key").stat().st_mode & 0o777 == 0o640


def test_a_key_that_finds_no_room_is_not_there_by_half(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            make_authkey(tmp_path / "key")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "key").exists()
    assert make_authkey(tmp_path / "key") == (tmp_path / "key").read_bytes().strip()


def test_a_key_half_written_by_a_killed_master_is_in_nobodys_way(tmp_path: Path) -> None:
    stale = tmp_path / "key.new"
    stale.write_text("hal")
    stale.chmod(0o666)
    key = make_authkey(tmp_path / "key")
    assert (tmp_path / "key").read_bytes().strip() == key
    assert (tmp_path / "key").stat().st_mode & 0o007 == 0
    assert not stale.exists()
