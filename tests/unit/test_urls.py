"""What TASKYARD_URL may say, and what is said of one that makes no sense."""

from __future__ import annotations

import pytest

from taskyard.errors import SettingsError, Unreachable
from taskyard.transport import RemoteQueue
from taskyard.urls import is_nats, is_tls, parse_nats_url, parse_url, shown


def test_a_url_of_nats_names_servers_and_queue() -> None:
    told = parse_nats_url("nats://n1:4000,n2,[::1]:4001/mails")
    assert told.servers == ["n1:4000", "n2:4222", "[::1]:4001"]
    assert (told.queue, told.user, told.password) == ("mails", "", "")


def test_a_url_may_have_a_user_and_a_password() -> None:
    told = parse_nats_url("natss://ann:p%40ss@n1,n2")
    assert (told.servers, told.user, told.password) == (["n1:4222", "n2:4222"], "ann", "p@ss")
    assert told.queue == "taskyard"


@pytest.mark.parametrize(
    "url", ["nats://", "nats://a,,b", "nats://a:b", "nats://a:99999", "nats://[::1", "nats://a/x.y", "nats://a/b/c"]
)
def test_a_url_that_makes_no_sense_is_refused_and_an_example_is_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="TASKYARD_URL="):
        parse_nats_url(url)
    with pytest.raises(SettingsError, match="TASKYARD_URL="):
        RemoteQueue(url, b"a key of some length")


@pytest.mark.parametrize(
    ("url", "nats", "tls"),
    [("manager://m", False, False), ("managers://m", False, True), ("nats://n", True, False), ("natss://n", True, True)],
)
def test_the_scheme_says_which_engine_and_whether_tls(url: str, nats: bool, tls: bool) -> None:
    assert (is_nats(url), is_tls(url)) == (nats, tls)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nats://ann:secret@n1,n2:4000/q", "nats://n1,n2:4000/q"),
        ("natss://ann:sec@ret@n1", "natss://n1"),
        ("nats://ann:sec/ret@n1", "nats://n1"),
        ("manager://master:5000", "manager://master:5000"),
    ],
)
def test_a_url_is_told_without_its_password(url: str, told: str) -> None:
    assert shown(url) == told


@pytest.mark.parametrize(
    "url",
    ["nats://a:secret@n1:b", "nats://a:secret@n1/x.y", "nats://a:x/secret@n1", "nats://a:#secret@n1", "nats://a:secret\uff03@n1"],
)
def test_who_is_told_of_a_wrong_url_is_not_told_its_password(url: str) -> None:
    for parse in (parse_nats_url, parse_url):
        with pytest.raises(SettingsError) as raised:
            parse(url)
        assert "secret" not in str(raised.value)


def test_who_is_told_that_nobody_answers_is_not_told_the_password() -> None:
    with RemoteQueue("nats://ann:secret@127.0.0.1:1", b"a key of some length", 0.1) as queue:
        with pytest.raises(Unreachable, match="no master answers at nats://127") as raised:
            queue.connect()
        assert "secret" not in f"{raised.value} {queue.url}"
        with queue.another(0.1) as other:
            assert other._url == "nats://ann:secret@127.0.0.1:1"
