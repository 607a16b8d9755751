"""The page on a phone, with the keyboard, for those who see no colours or nothing at all, and with nothing to show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from taskyard.codec import encode, encode_error
from tests.dashboard_page.running import DESKTOP, PHONE, SMALL_PHONE, Dashboard, settled, signed_in
from tests.harness import AUTHKEY, Harness, done, failed, task, wait_until

EVIL = "<img src=x onerror=alert(1)>{{ 7 * 7 }}`${8 * 8}`"
WIDE = """[...document.querySelectorAll("a, button, h1, h2, .card")]
    .filter(one => one.getBoundingClientRect().right > innerWidth).map(one => one.outerHTML.slice(0, 200))"""
CONTROLS = """[...document.querySelectorAll("a[href], button, input")].filter(one => one.checkVisibility())
    .map((one, index) => one.dataset.control = `${index}`)"""
FOCUSED = """(one => {
    const style = getComputedStyle(one);
    const isShown = style.outlineStyle !== "none" || style.boxShadow !== "none" || !!one.closest(".q-field--focused");
    return [one.dataset.control, isShown, one.outerHTML.slice(0, 300)];
})(document.activeElement)"""
RARELY = "import dashboard.page.frame; dashboard.page.frame.PERIOD = 3600; from dashboard.__main__ import main; main()"
"""A dashboard whose pages are hardly ever renewed."""
FORGETFUL = """
import dashboard.page.mount
from dashboard.__main__ import main
from nicegui import Client
dashboard.page.mount.RECONNECT_SECONDS = 0.1
delete = Client.delete
def delete_and_tell(client):
    delete(client)
    print(f"gone: {client.page.path}", flush=True)
Client.delete = delete_and_tell
main()
"""
"""A dashboard that hardly waits for a page whose connection is lost, and tells when it does no more."""
PATHS = ("/", "/workers", "/jobs", "/tasks", "/tasks?state=failed", "/task?id=job-0", "/task?id=job-1", "/task?id=nobody's")


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """The dashboard of a queue with some of everything, whose names and words are as nasty as names can be."""
    harness = Harness(tmp_path_factory.mktemp("busy") / "master", "manager")
    harness.queue.heartbeat("left", {"host": "gone", "slots": 1})
    harness.queue.leave("left")
    host = f"a-host-with-a-rather-long-name.{EVIL}"
    harness.queue.heartbeat("worker", {"host": host, "slots": 2, "busy": 1, "tasks": ["work"]})
    payload = encode(((EVIL, 7), {"width": [1, {"a": EVIL}]}))
    harness.queue.submit([task(f"job-{number}", payload=payload, retries=0) for number in range(60)])
    harness.queue.submit([task(f"{EVIL}-1", job=f"{EVIL} / #?&", name=EVIL)])
    leases = harness.queue.lease("worker", 3, 0)
    error = ValueError(EVIL)
    ends = [done(leases[0], encode([EVIL, {"n": 1.5}])), failed(leases[1], f"exception: ValueError: {EVIL}")]
    harness.queue.settle("worker", [ends[0], ends[1]._replace(value=encode_error(error))])
    told = {"host": host, "slots": 2, "busy": 1, "tasks": ["work", EVIL], "progress": {leases[2].id: (2.0, 5.0, EVIL)}}
    harness.queue.heartbeat("worker", told)
    harness.queue.cancel(["job-3"])
    made = Dashboard(harness.queue.url, AUTHKEY, tmp_path_factory.mktemp("busy") / "dashboard")
    yield made
    made.close()
    harness.end()


def serious(page: Page) -> list[tuple[str, list[str]]]:
    """What axe finds that keeps somebody out: the rule, and where."""
    found = [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_nothing_keeps_out_who_sees_less(browser: Browser, busy: Dashboard, path: str, dark: bool) -> None:
    page = signed_in(browser, busy, dark=dark)
    page.goto(busy.url + path)
    settled(page)
    assert serious(page) == []
    page.context.close()


@pytest.mark.parametrize("size", [SMALL_PHONE, PHONE], ids=["360", "390"])
def test_no_page_is_wider_than_a_phone(browser: Browser, busy: Dashboard, size: tuple[int, int]) -> None:
    page = signed_in(browser, busy, size=size)
    for path in PATHS:
        page.goto(busy.url + path)
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], path
        wide = page.evaluate(WIDE)
        assert wide == [], path
    page.context.close()


def test_whatever_a_task_says_is_text(browser: Browser, busy: Dashboard) -> None:
    page = signed_in(browser, busy)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    for path in PATHS:
        page.goto(busy.url + path)
        settled(page)
        assert page.locator("img[src=x]").count() == 0, path
    page.goto(f"{busy.url}/task?id=job-1")
    expect(page.get_by_label("Traceback")).to_contain_text(f"ValueError: {EVIL}")
    expect(page.get_by_label("Call")).to_contain_text(repr(EVIL))
    page.goto(f"{busy.url}/jobs")
    page.get_by_role("link", name=f"{EVIL} / #?&", exact=True).click()
    page.get_by_role("link", name=f"{EVIL}-1", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Task {EVIL}-1")
    assert dialogs == []
    page.context.close()


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(browser: Browser, busy: Dashboard) -> None:
    page = signed_in(browser, busy)
    for path in ("/", "/workers", "/jobs", "/tasks", "/task?id=job-1"):
        page.goto(busy.url + path)
        settled(page)
        controls, reached = set(page.evaluate(CONTROLS)), set()
        for _ in range(2 * len(controls)):
            page.keyboard.press("Tab")
            key, is_shown, html = page.evaluate(FOCUSED)
            if key:
                assert is_shown, html
                reached.add(key)
            if reached == controls:
                break
        assert reached == controls, path
    page.context.close()


def test_a_question_is_answered_with_the_keyboard(browser: Browser, busy: Dashboard) -> None:
    page = signed_in(browser, busy)
    page.goto(f"{busy.url}/task?id=job-5")
    page.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Leave it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    page.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Leave it")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Ended: cancelled")).to_be_visible()
    page.context.close()


def test_colours_follow_the_system_until_somebody_chooses_and_then_the_choice_stays(browser: Browser, busy: Dashboard) -> None:
    page = signed_in(browser, busy, dark=True)
    settled(page)
    expect(page.locator("body.body--dark")).to_be_attached()
    page.emulate_media(color_scheme="light")
    expect(page.locator("body.body--light")).to_be_attached()
    page.get_by_role("button", name="Dark", exact=True).click()
    expect(page.locator("body.body--dark")).to_be_attached()
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    expect(page.locator("body.body--dark")).to_be_attached()
    expect(page.get_by_role("button", name="Dark", exact=True)).to_have_attribute("aria-pressed", "true")
    page.context.close()


def test_a_list_has_pages_and_a_search_by_id(browser: Browser, busy: Dashboard) -> None:
    page = signed_in(browser, busy, size=DESKTOP)
    page.goto(f"{busy.url}/tasks?job=job")
    expect(page.get_by_role("row")).to_have_count(51)
    page.get_by_role("link", name="More").click()
    expect(page.get_by_role("row")).to_have_count(11)
    expect(page.get_by_role("link", name="More")).to_be_hidden()
    page.get_by_label("Id, or a part of it").fill("job-42")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Task job-42")
    page.go_back()
    page.get_by_label("State").click()
    page.get_by_role("option", name="cancelled").click()
    page.wait_for_url("**/tasks?state=cancelled&job=job")
    expect(page.get_by_role("row").filter(has_text="job-3")).to_be_visible()
    page.context.close()


def test_a_page_that_is_still_open_changes_nothing_once_its_token_is_gone(
    browser: Browser, harness: Harness, tmp_path: Path
) -> None:
    with closing(Dashboard(harness.queue.url, AUTHKEY, tmp_path / "dashboard", ("-c", RARELY))) as dashboard:
        page = signed_in(browser, dashboard)
        (dashboard.folder / "token").write_text("another full token, which this browser has never shown")
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_text("You may look on here, but change nothing")).to_be_visible()
        assert harness.queue.stats()["paused"] is False
        page.context.close()


def test_a_button_does_what_it_says_though_somebody_else_was_quicker(browser: Browser, harness: Harness, tmp_path: Path) -> None:
    with closing(Dashboard(harness.queue.url, AUTHKEY, tmp_path / "dashboard", ("-c", RARELY))) as dashboard:
        page = signed_in(browser, dashboard)
        harness.queue.pause(True)
        knowing = page.context.new_page()
        wait_until(
            lambda: knowing.goto(dashboard.url) and knowing.get_by_text("The queue is paused").is_visible(), "it has been heard"
        )
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_text("Paused: what runs goes on, nothing new begins.")).to_be_visible()
        assert harness.queue.stats()["paused"] is True
        page.context.close()


def test_a_page_may_be_left_with_a_question_unanswered(browser: Browser, harness: Harness, tmp_path: Path) -> None:
    harness.queue.submit([task("job-0")])
    with closing(Dashboard(harness.queue.url, AUTHKEY, tmp_path / "dashboard", ("-c", FORGETFUL))) as dashboard:
        page = signed_in(browser, dashboard)
        page.goto(f"{dashboard.url}/task?id=job-0")
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("button", name="Cancel the task")).to_be_visible()
        assert "gone: /task" not in dashboard.log.read_text()
        page.context.close()
        wait_until(lambda: "gone: /task" in dashboard.log.read_text(), "it is waited for no more")
        assert harness.queue.show(["job-0"])[0].state == "ready"


def test_where_there_is_nothing_the_page_says_what_to_do(browser: Browser, quiet: Dashboard) -> None:
    page = signed_in(browser, quiet)
    expect(page.get_by_text("make scale N=5")).to_be_visible()
    for path, command in (("/workers", "make scale N=5"), ("/jobs", "make job"), ("/tasks", "make job")):
        page.goto(quiet.url + path)
        expect(page.get_by_text(command)).to_be_visible()
    page.goto(f"{quiet.url}/tasks?state=failed")
    expect(page.get_by_text("There is no task that is failed.")).to_be_visible()
    page.goto(f"{quiet.url}/task?id=none")
    expect(page.get_by_text("The queue knows no task of this id")).to_be_visible()
    page.context.close()
