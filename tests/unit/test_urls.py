"""What TASKYARD_URL may say, and what is said of one that makes no sense."""

from __future__ import annotations

import pytest

from taskyard.errors import SettingsError
from taskyard.urls import is_nats, is_tls, parse_nats_url


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


@pytest.mark.parametrize(
    ("url", "nats", "tls"),
    [("manager://m", False, False), ("managers://m", False, True), ("nats://n", True, False), ("natss://n", True, True)],
)
def test_the_scheme_says_which_engine_and_whether_tls(url: str, nats: bool, tls: bool) -> None:
    assert (is_nats(url), is_tls(url)) == (nats, tls)
