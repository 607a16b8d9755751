"""Who gets in, by which name, from which page; and who does not."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import httpx
import pytest

from dashboard.access.failures import ADDRESSES, OF_ADDRESS, OF_ALL, Failures
from dashboard.access.sessions import SECONDS, Sessions
from dashboard.access.tokens import Tokens
from taskyard.errors import SettingsError
from taskyard.settings import Settings
from tests.dashboard.conftest import FULL, READ, Dashboard
from tests.dashboard.test_submit import API, is_problem
from tests.harness import FakeClock, Harness

BODY = {"name": "work"}
PATHS = ["/api/v1/stats", "/metrics", "/openapi.json", "/docs", "/", "/nowhere", "/_nicegui_ws/socket.io/", "/_nicegui/x.js"]


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_told_without_a_token(path: str, dashboard: Dashboard) -> None:
    response = dashboard.another().get(path)
    is_problem(response, 401)
    assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer wrong", f"Bearer {FULL}x", f"Bearer {FULL[:-1]}", f"Basic {FULL}", FULL, "Bearer \xff"],
)
def test_a_wrong_token_is_refused(header: str, dashboard: Dashboard) -> None:
    headers = {"Authorization": header.encode("latin-1")}
    is_problem(dashboard.another().get(f"{API}/stats", headers=headers), 401)  # type: ignore[arg-type]


def test_a_browser_without_a_session_is_led_to_the_form_and_back_again(dashboard: Dashboard) -> None:
    browser = dashboard.another()
    led = browser.get("/docs", headers={"Accept": "text/html,*/*"})
    assert (led.status_code, led.headers["location"]) == (303, "/sign-in?next=/docs")
    signed_in = browser.post(led.headers["location"], data={"token": FULL}, headers={"Origin": dashboard.url})
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/docs")
    assert browser.get("/docs").status_code == 200
    assert "Overview: Taskyard" in browser.get("/").text


def test_whoever_signs_in_comes_to_the_very_task_that_was_asked_for(dashboard: Dashboard) -> None:
    browser = dashboard.another()
    led = browser.get("/task?id=job%2F1%261", headers={"Accept": "text/html"})
    signed_in = browser.post(led.headers["location"], data={"token": FULL}, headers={"Origin": dashboard.url})
    assert signed_in.headers["location"] == "/task?id=job%2F1%261"


@pytest.mark.parametrize("there", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", "", "evil"])
def test_signing_in_leads_to_no_other_host(there: str, dashboard: Dashboard) -> None:
    response = dashboard.another().post(
        "/sign-in", params={"next": there}, data={"token": FULL}, headers={"Origin": dashboard.url}
    )
    assert response.headers["location"] == "/"


def test_a_session_is_a_cookie_that_no_script_and_no_other_site_gets(dashboard: Dashboard) -> None:
    response = dashboard.another().post("/sign-in", data={"token": FULL}, headers={"Origin": dashboard.url})
    cookie = response.headers["set-cookie"]
    assert re.match(rf"taskyard_{dashboard.port}=", cookie)
    assert {"httponly", "samesite=strict", "path=/"} <= {word.strip().lower() for word in cookie.split(";")}
    assert FULL not in cookie


def test_behind_https_the_cookie_travels_over_https_only(harness: Harness, tmp_path: Path) -> None:
    made = Dashboard(harness.queue, tmp_path / "dashboard", dashboard_url="https://queue.example.org")
    host = {"Host": "queue.example.org"}
    headers = {**host, "Origin": "https://queue.example.org"}
    cookie = made.another().post("/sign-in", data={"token": FULL}, headers=headers).headers["set-cookie"]
    assert cookie.startswith("__Host-taskyard=")
    assert "; Secure" in cookie
    value = cookie.split(";")[0]
    assert made.another().get(f"{API}/stats", headers={**host, "Cookie": value}).status_code == 200
    made.stop()


@pytest.mark.parametrize("body", [b"", b"token=", b"\xff", b"token=" + b"x" * 10_000, b"&" * 100_000, b"token=%ff%00"])
def test_a_form_that_has_no_token_is_answered_with_the_form(body: bytes, dashboard: Dashboard) -> None:
    response = dashboard.another().post("/sign-in", content=body, headers={"Origin": dashboard.url})
    assert (response.status_code, "<form" in response.text) == (401, True)


def test_cookies_of_other_programs_of_this_host_are_no_hindrance(dashboard: Dashboard) -> None:
    name = f"taskyard_{dashboard.port}"
    ours = dashboard.signed_in().cookies[name]
    cookie = f'other={{"a": [1, 2]}}; strange; a b=c; {name}={ours}; =; last="'
    assert dashboard.another().get(f"{API}/stats", headers={"Cookie": cookie}).status_code == 200


def test_signing_out_takes_the_cookie_away(dashboard: Dashboard) -> None:
    browser, other = dashboard.signed_in(), dashboard.signed_in()
    assert browser.get(f"{API}/stats").status_code == 200
    copied = browser.headers.get("cookie") or "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    assert browser.post("/sign-out").status_code == 303
    assert browser.get(f"{API}/stats").status_code == 401
    assert dashboard.another().get(f"{API}/stats", headers={"Cookie": copied}).status_code == 401
    assert other.get(f"{API}/stats").status_code == 200


def test_a_session_ends_with_its_time_and_with_its_token(tmp_path: Path) -> None:
    clock = FakeClock()
    tokens = Tokens(Settings.model_construct(dashboard_data=tmp_path))
    sessions = Sessions(tokens, lambda: clock.wall)
    cookie, other = sessions.begin("full", tokens.of("full")[0].decode()), sessions.begin("read", tokens.of("read")[0].decode())
    assert (sessions.role_of(cookie), sessions.role_of(other)) == ("full", "read")
    clock.move(SECONDS - 1)
    assert sessions.role_of(cookie) == "full"
    (tmp_path / "token").write_text("another token that is just as long as it has to be")
    assert (sessions.role_of(cookie), sessions.role_of(other)) == (None, "read")
    clock.move(2)
    assert sessions.role_of(other) is None


def test_a_session_ends_with_the_token_that_began_it_though_another_one_is_valid(tmp_path: Path) -> None:
    old, new = "the token that is exchanged, which somebody has read", "the token that comes after it, which nobody knows"
    (tmp_path / "token").write_text(f"{new}\n{old}\n")
    sessions = Sessions(Tokens(Settings.model_construct(dashboard_data=tmp_path)))
    cookie, other = sessions.begin("full", old), sessions.begin("full", new)
    assert (sessions.role_of(cookie), sessions.role_of(other)) == ("full", "full")
    (tmp_path / "token").write_text(f"{new}\n")
    assert (sessions.role_of(cookie), sessions.role_of(other)) == (None, "full")


def test_a_header_without_end_is_cut_off_before_anybody_has_signed_in(dashboard: Dashboard) -> None:
    with socket.create_connection(("127.0.0.1", dashboard.port), 20) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\nX: ")
        with pytest.raises(ConnectionError):
            stranger.sendall(b"a" * 2**26)
    assert dashboard.client.get("/healthz").status_code == 200


def test_a_cookie_that_was_changed_is_none(tmp_path: Path) -> None:
    tokens = Tokens(Settings.model_construct(dashboard_data=tmp_path))
    sessions = Sessions(tokens)
    cookie = sessions.begin("read", tokens.of("read")[0].decode())
    said, _, signature = cookie.rpartition(".")
    for wrong in (
        f"full{cookie[4:]}",
        f"{said}.{signature[:-1]}",
        f"{said}x.{signature}",
        said,
        "",
        "full.x.y",
        "é" * 20,
        "full...",
    ):
        assert sessions.role_of(wrong) is None


# Looking only


def test_the_read_only_token_is_for_looking(dashboard: Dashboard, harness: Harness) -> None:
    for client in (dashboard.another(READ), dashboard.signed_in(READ)):
        assert client.get(f"{API}/stats").status_code == 200
        assert client.get("/metrics").status_code == 200
        assert "looking" in is_problem(client.post(f"{API}/tasks", json=BODY), 403)["detail"]
        for method in ("PUT", "PATCH", "DELETE"):
            is_problem(client.request(method, f"{API}/tasks"), 403)
    assert harness.queue.stats()["ready"] == 0


# Pages of others


def test_a_page_of_another_origin_can_do_nothing_with_the_cookie(dashboard: Dashboard, harness: Harness) -> None:
    browser = dashboard.signed_in()
    foreign = ("https://evil.example", "null", f"http://127.0.0.1:{dashboard.port + 1}", f"http://localhost:{dashboard.port}")
    for origin in foreign:
        for response in (
            browser.post(f"{API}/tasks", json=BODY, headers={"Origin": origin}),
            browser.get(f"{API}/stats", headers={"Origin": origin}),
            browser.post("/sign-in", data={"token": FULL}, headers={"Origin": origin}),
        ):
            assert "origin" in is_problem(response, 403)["detail"]
            assert "access-control-allow-origin" not in response.headers
    del browser.headers["Origin"]
    is_problem(browser.post(f"{API}/tasks", json=BODY), 403)
    is_problem(browser.post("/sign-in", data={"token": FULL}), 403)
    assert browser.get(f"{API}/stats").status_code == 200
    assert harness.queue.stats()["ready"] == 0
    assert browser.post(f"{API}/tasks", json=BODY, headers={"Origin": dashboard.url}).status_code == 201


def test_a_program_needs_no_origin(dashboard: Dashboard) -> None:
    assert dashboard.client.post(f"{API}/tasks", json=BODY).status_code == 201


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "[", "localhost@evil"])
def test_by_a_name_that_is_not_its_own_the_dashboard_says_nothing(host: str, dashboard: Dashboard) -> None:
    response = dashboard.client.get(f"{API}/stats", headers={"Host": host})
    assert response.status_code == 421 or (not host and response.status_code == 400)
    assert dashboard.client.get("/sign-in", headers={"Host": host}).status_code in (421, 400)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:8080", "dashboard:8080"])
def test_its_own_names_are_answered_at_any_port(host: str, dashboard: Dashboard) -> None:
    assert dashboard.client.get(f"{API}/stats", headers={"Host": host}).status_code == 200


def test_probes_are_open_by_any_name_and_tell_nothing(dashboard: Dashboard) -> None:
    for path in ("/healthz", "/readyz"):
        response = dashboard.another().get(path, headers={"Host": "10.0.0.7:8080"})
        assert (response.status_code, list(response.json())) == (200, ["status"])
        assert dashboard.another().post(path).status_code == 401


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example"}])
def test_a_websocket_needs_a_session_and_a_page_of_the_dashboards_own(headers: dict[str, str], dashboard: Dashboard) -> None:
    browser = dashboard.signed_in()
    cookie = f"taskyard_{dashboard.port}={browser.cookies[f'taskyard_{dashboard.port}']}"
    assert b" 403 " in handshake(dashboard, {**headers, "Cookie": cookie})
    assert b" 403 " in handshake(dashboard, {"Origin": dashboard.url})


def handshake(dashboard: Dashboard, headers: dict[str, str]) -> bytes:
    """The first line of what a websocket's handshake is answered with."""
    told = {"Host": f"127.0.0.1:{dashboard.port}", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    told |= {"Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    with socket.create_connection(("127.0.0.1", dashboard.port), 10) as sock:
        sock.sendall(f"GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n{lines}\r\n".encode())
        return sock.recv(4096).split(b"\r\n")[0]


# Guessing


def test_who_guesses_is_held_up_and_who_has_the_token_is_not(dashboard: Dashboard) -> None:
    guesser = dashboard.another("a guess")
    answers = [guesser.get(f"{API}/stats") for _ in range(OF_ADDRESS + 2)]
    assert [answer.status_code for answer in answers] == [401] * OF_ADDRESS + [429] * 2
    assert 0 < int(answers[-1].headers["retry-after"]) <= 61
    form = dashboard.another().post("/sign-in", data={"token": "a guess"}, headers={"Origin": dashboard.url})
    assert form.status_code == 429
    assert dashboard.client.get(f"{API}/stats").status_code == 200
    assert dashboard.signed_in().get(f"{API}/stats").status_code == 200


def test_failures_are_counted_by_address_and_in_all_and_forgotten_after_a_minute() -> None:
    clock = FakeClock()
    failures = Failures(lambda: clock.monotonic)
    assert [failures.note("a") > 0 for _ in range(OF_ADDRESS + 1)] == [False] * OF_ADDRESS + [True]
    assert failures.note("b") == 0
    clock.move(61)
    assert failures.note("a") == 0
    assert max(failures.note(str(number)) for number in range(OF_ALL)) > 0


def test_strangers_from_everywhere_take_no_more_than_some_memory() -> None:
    failures = Failures()
    for number in range(ADDRESSES + 100):
        failures.note(str(number))
    assert len(failures._counts) == ADDRESSES


# Tokens


def test_tokens_are_made_once_for_their_owner_only(tmp_path: Path) -> None:
    settings = Settings.model_construct(dashboard_data=tmp_path / "new")
    first, second = Tokens(settings), Tokens(settings)
    assert first.of("full") == second.of("full")
    assert first.of("full") != first.of("read")
    for name in ("token", "read-token"):
        assert (tmp_path / "new" / name).stat().st_mode & 0o777 == 0o640


def test_a_token_that_could_be_guessed_or_that_is_both_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "own"
    settings = Settings.model_construct(dashboard_data=tmp_path, dashboard_token_file=own)
    own.write_text("short")
    with pytest.raises(SettingsError, match="too short"):
        Tokens(settings)
    with pytest.raises(SettingsError, match="can't be read"):
        Tokens(Settings.model_construct(dashboard_data=tmp_path, dashboard_token_file=tmp_path / "none"))
    own.write_text(FULL)
    with pytest.raises(SettingsError, match="same token"):
        Tokens(Settings.model_construct(dashboard_data=tmp_path, dashboard_token_file=own, dashboard_read_token_file=own))
    assert Tokens(settings).made == {"read"}


def test_another_token_in_the_file_counts_at_once(dashboard: Dashboard) -> None:
    newer = "a newer token that is long enough as well"
    (dashboard.settings.dashboard_data / "token").write_text(f"{newer}\n{FULL}\n")
    assert {dashboard.another(token).get(f"{API}/stats").status_code for token in (newer, FULL)} == {200}
    (dashboard.settings.dashboard_data / "token").write_text(newer)
    assert dashboard.another(FULL).get(f"{API}/stats").status_code == 401


def test_a_token_whose_file_was_deleted_counts_no_more_and_is_told_of(dashboard: Dashboard) -> None:
    browser, file = dashboard.signed_in(), dashboard.settings.dashboard_data / "token"
    file.unlink()
    for response in (dashboard.client.get(f"{API}/stats"), browser.get(f"{API}/stats"), browser.get("/metrics")):
        assert "the full token was deleted: put it back" in is_problem(response, 503)["detail"]
        assert int(response.headers["retry-after"]) > 0
    form = dashboard.another().post("/sign-in", data={"token": FULL}, headers={"Origin": dashboard.url})
    assert (form.status_code, "The file of the full token was deleted" in form.text) == (503, True)
    assert dashboard.another(READ).get(f"{API}/stats").status_code == 200
    is_problem(dashboard.another().get(f"{API}/stats"), 401)
    file.write_text(FULL)
    assert dashboard.client.get(f"{API}/stats").status_code == browser.get(f"{API}/stats").status_code == 200


def test_a_token_counts_while_its_file_is_being_written(dashboard: Dashboard) -> None:
    (dashboard.settings.dashboard_data / "token").write_text("")
    assert dashboard.client.get(f"{API}/stats").status_code == 200


# What is sent along


def test_every_answer_has_the_headers_that_keep_browsers_strict(dashboard: Dashboard) -> None:
    for response in (dashboard.client.get(path) for path in (f"{API}/stats", "/sign-in", "/docs", "/nowhere", "/metrics")):
        headers = response.headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers
    for path in ("/sign-in", "/docs", f"{API}/stats"):
        assert "unsafe" not in dashboard.client.get(path).headers["content-security-policy"]


def test_the_plain_pages_have_nothing_from_elsewhere(dashboard: Dashboard) -> None:
    for path in ("/sign-in", "/docs"):
        text = dashboard.client.get(path).text
        assert re.findall(r"""(?:src|href|action)=["'](?!/|#)([^"']*)""", text) == []
    assert "/api/v1/jobs/{job}/events" in text


def test_no_token_gets_into_the_log(dashboard: Dashboard, capsys: pytest.CaptureFixture[str]) -> None:
    handshake(dashboard, {"Origin": "https://evil.example", "Authorization": f"Bearer {FULL}"})
    dashboard.signed_in().get(f"{API}/stats", params={"token": FULL})
    dashboard.another("a wrong one").get(f"{API}/stats")
    printed = "".join(capsys.readouterr())
    assert "/api/v1/stats" in printed
    assert "method=websocket" in printed
    assert FULL not in printed
    assert "a wrong one" not in printed


def test_a_request_has_an_id_that_its_caller_may_choose(dashboard: Dashboard) -> None:
    chosen = dashboard.client.get(f"{API}/stats", headers={"X-Request-ID": "mine-1"})
    assert chosen.headers["x-request-id"] == "mine-1"
    other: httpx.Response = dashboard.client.get(f"{API}/stats", headers={"X-Request-ID": "x" * 65})
    assert re.fullmatch("[0-9a-f]{32}", other.headers["x-request-id"])
