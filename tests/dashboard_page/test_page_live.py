"""What somebody sees, and does, who looks at a running cluster."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from taskyard.client import Cluster
from taskyard.local import LocalCluster
from taskyard.transport import RemoteQueue
from tests.dashboard_page import tasks
from tests.dashboard_page.running import READ, Dashboard, settled, signed_in
from tests.harness import Harness, wait_until
from tests.harness import task as a_task


@pytest.fixture(scope="module")
def queue(calls: LocalCluster) -> RemoteQueue:
    return RemoteQueue(calls._processes.url, calls._processes.authkey, 10.0)


def failed_task(calls: LocalCluster, queue: RemoteQueue, to: str) -> str:
    """The id of a task that has failed."""
    future = calls.submit(tasks.send_mail, to)
    assert isinstance(future.exception(30), ConnectionRefusedError)
    return next(task.id for task in queue.find("failed", None, 1000, 0) if f"answers for {to}" in task.cause)


def running_task(queue: RemoteQueue) -> str:
    """The id of the one that runs, once it tells of its progress."""
    return wait_until(lambda: [one.id for one in queue.running(None, 10) if one.total], "it tells of its progress")[0]


def test_the_first_page_has_the_counts_and_a_plot_of_each_kind(calls: LocalCluster, dashboard: Dashboard, page: Page) -> None:
    assert [future.result(30) for future in [calls.submit(tasks.resize, n) for n in range(20)]][3] == "picture-3.jpg, 800 px"
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.locator(".numbers .card", has_text="workers").locator(".value")).to_have_text("2")
    expect(page.locator(".numbers .card", has_text="leased").locator(".value")).to_have_text("0")
    for title in ("Ends a second", "Open tasks", "Failures", "Wait until leased", "Run time"):
        card = page.locator(".plots .card", has=page.get_by_role("heading", name=title))
        expect(card.get_by_role("img", name=re.compile("^Plot over time: ")).first).to_be_visible()
        expect(card.locator("svg path").first).to_be_attached()


def test_each_range_of_the_plots_has_its_own_address(dashboard: Dashboard, page: Page) -> None:
    for label, key in (("1 h", "1h"), ("1 day", "1d"), ("14 days", "14d"), ("10 min", "10m")):
        page.get_by_role("link", name=label, exact=True).click()
        page.wait_for_url(f"{dashboard.url}/?range={key}")
        expect(page.locator(".plot svg path").first).to_be_attached()
        expect(page.get_by_role("link", name=label, exact=True)).to_have_attribute("aria-current", "true")


def test_a_task_under_way_is_seen_to_get_on_and_to_end(
    calls: LocalCluster, queue: RemoteQueue, dashboard: Dashboard, page: Page, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    future = calls.submit(tasks.train, 9, str(gate))
    task = running_task(queue)
    page.goto(f"{dashboard.url}/task?id={task}")
    expect(page.get_by_text("3 of 9 · epoch 3, loss 0.250 · attempt 1")).to_be_visible()
    expect(page.get_by_text(f"train(9, '{gate}')")).to_be_visible()
    page.goto(f"{dashboard.url}/workers")
    expect(page.get_by_text("epoch 3, loss 0.250")).to_be_visible()
    page.go_back()
    gate.touch()
    assert future.result(30) == {"epochs": 9, "loss": 0.01}
    expect(page.get_by_label("Result")).to_contain_text('"loss": 0.01')
    expect(page.get_by_text("Ended: done")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()


def test_a_failed_task_tells_its_cause_and_traceback_and_is_ready_again_after_retry(
    calls: LocalCluster, queue: RemoteQueue, dashboard: Dashboard, page: Page
) -> None:
    task = failed_task(calls, queue, "retry@example.org")
    ended = queue.show([task])[0].ended
    page.goto(f"{dashboard.url}/tasks?state=failed")
    page.get_by_role("link", name=task).click()
    expect(page.get_by_label("Traceback")).to_contain_text('raise ConnectionRefusedError(f"no mail server answers for {to}")')
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("The task is ready again.")).to_be_visible()
    wait_until(lambda: queue.show([task])[0].ended > ended, "it has failed once more")


def test_all_failed_tasks_of_a_name_are_ready_again_once_the_question_is_answered(
    calls: LocalCluster, queue: RemoteQueue, dashboard: Dashboard, page: Page
) -> None:
    ids = [failed_task(calls, queue, f"{who}-all@example.org") for who in ("one", "two")]
    name = queue.show(ids)[0].name
    ended = [task.ended for task in queue.show(ids)]
    page.goto(f"{dashboard.url}/tasks?state=failed&name={name}")
    page.get_by_role("button", name="Retry all of these").click()
    page.get_by_role("button", name="Retry all", exact=True).click()
    expect(page.get_by_text("tasks ready again.")).to_be_visible()
    wait_until(lambda: all(task.ended > before for task, before in zip(queue.show(ids), ended, strict=True)), "they failed again")
    page.goto(f"{dashboard.url}/task?id={ids[0]}")
    expect(page.get_by_text(re.compile("^Attempt 2: exception: ConnectionRefusedError")).first).to_be_visible()


def test_a_task_is_cancelled_only_once_the_question_is_answered(
    calls: LocalCluster, queue: RemoteQueue, dashboard: Dashboard, page: Page, tmp_path: Path
) -> None:
    calls.submit(tasks.train, 9, str(tmp_path / "never"))
    task = running_task(queue)
    page.goto(f"{dashboard.url}/task?id={task}")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Leave it").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert queue.show([task])[0].state == "leased"
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the task").click()
    expect(page.get_by_text("The task is cancelled.")).to_be_visible()
    expect(page.get_by_text("Ended: cancelled")).to_be_visible()
    assert queue.show([task])[0].state == "cancelled"


def test_a_job_is_seen_with_its_progress_and_can_be_cancelled_and_forgotten(
    calls: LocalCluster, queue: RemoteQueue, dashboard: Dashboard, page: Page, tmp_path: Path
) -> None:
    job = "a job / of #1 <b>"
    with Cluster(calls._processes.url, calls._processes.authkey, job=job) as other:
        gate = tmp_path / "gate"
        futures = [other.submit(tasks.train, 3, str(gate)) for _ in range(3)] + [other.submit(tasks.resize, n) for n in range(5)]
        page.goto(f"{dashboard.url}/jobs")
        item = page.get_by_role("listitem").filter(has=page.get_by_role("link", name=job, exact=True))
        expect(item.get_by_text("5 of 8 tasks")).to_be_visible()
        expect(item.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "62")
        item.get_by_role("link", name=job).click()
        expect(page.get_by_label("Job", exact=True)).to_have_value(job)
        expect(page.get_by_role("row")).to_have_count(9)
        page.go_back()
        page.get_by_role("button", name=f"Cancel {job}").click()
        page.get_by_role("button", name="Cancel the job").click()
        expect(page.get_by_text("3 tasks cancelled.")).to_be_visible()
        expect(item.get_by_text("8 of 8 tasks · 3 cancelled")).to_be_visible()
        assert all(future.done() or future.cancelled() or future.exception(20) for future in futures)
    page.get_by_role("button", name=f"Forget {job}").click()
    page.get_by_role("button", name="Forget the job").click()
    expect(page.get_by_text("8 tasks forgotten.")).to_be_visible()
    expect(item).to_have_count(0)
    assert queue.jobs(job, 1, 0) == []


def test_a_pause_is_seen_on_every_page_until_somebody_resumes(
    calls: LocalCluster, queue: RemoteQueue, dashboard: Dashboard, page: Page, browser: Browser
) -> None:
    other = signed_in(browser, dashboard, READ)
    page.get_by_role("button", name="Pause").click()
    for one in (page, other):
        expect(one.get_by_text("The queue is paused")).to_be_visible()
    future = calls.submit(tasks.resize, 1)
    expect(page.locator(".numbers .card", has_text="ready").locator(".value")).to_have_text("1")
    page.get_by_role("button", name="Resume").click()
    assert future.result(30) == "picture-1.jpg, 800 px"
    expect(other.get_by_text("The queue is paused")).to_be_hidden()
    other.context.close()


def test_who_may_only_look_has_no_button_that_changes_anything(
    calls: LocalCluster, queue: RemoteQueue, dashboard: Dashboard, browser: Browser
) -> None:
    task = failed_task(calls, queue, "look@example.org")
    page = signed_in(browser, dashboard, READ)
    harmless = {"Colours as the system has them", "Light", "Dark", "Sign out", "Find"}
    for path in ("/", "/workers", "/jobs", "/tasks", f"/task?id={task}"):
        page.goto(dashboard.url + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_text(re.compile("^(Overview|Workers|Jobs|Tasks|Task .*)$")).first).to_be_visible()
        buttons = page.get_by_role("button").all()
        assert {button.get_attribute("aria-label") or button.inner_text().split("\n")[-1] for button in buttons} <= harmless
    page.context.close()


def test_a_worker_that_is_drained_leaves_and_is_told_as_one_that_left(
    queue: RemoteQueue, dashboard: Dashboard, page: Page
) -> None:
    session = queue.workers()[0].session
    page.goto(f"{dashboard.url}/workers")
    expect(page.get_by_role("button", name=re.compile("^Drain"))).to_have_count(2)
    page.get_by_role("button", name=re.compile("^Drain")).first.click()
    page.get_by_role("button", name="Drain it").click()
    expect(page.get_by_text("The worker was told.")).to_be_visible()
    left = page.get_by_role("list", name="Workers that left or were lost")
    expect(left.get_by_text(re.compile("^left (.* ago|just now)$")).first).to_be_visible()
    assert [worker.left > 0 for worker in queue.workers() if worker.session == session] == [True]


def test_a_queue_that_goes_silent_is_told_and_the_page_goes_on_when_it_is_back(
    calls: LocalCluster, dashboard: Dashboard, page: Page
) -> None:
    master = calls._processes._master._process
    assert master is not None
    expect(page.locator(".numbers .card", has_text="leased").locator(".value")).to_have_text("0")
    os.kill(master.pid, signal.SIGSTOP)
    try:
        expect(page.get_by_role("alert").filter(has_text="The queue does not answer since")).to_be_visible()
        page.get_by_role("link", name="Jobs").click()
        expect(page.get_by_role("alert").filter(has_text="the page goes on by itself when it is back")).to_be_visible()
    finally:
        os.kill(master.pid, signal.SIGCONT)
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_hidden()
    expect(page.get_by_role("listitem").first).to_be_visible()


def test_a_button_says_in_a_sentence_why_nothing_was_done(
    calls: LocalCluster, queue: RemoteQueue, dashboard: Dashboard, page: Page
) -> None:
    task = failed_task(calls, queue, "silent@example.org")
    page.goto(f"{dashboard.url}/task?id={task}")
    button = page.get_by_role("button", name="Retry")
    expect(button).to_be_visible()
    master = calls._processes._master._process
    assert master is not None
    os.kill(master.pid, signal.SIGSTOP)
    try:
        button.click()
        expect(page.get_by_text("Not done: The queue has not answered within 15 s.")).to_be_visible(timeout=30_000)
    finally:
        os.kill(master.pid, signal.SIGCONT)
    wait_until(lambda: queue.stats(), "it answers")


def test_an_open_page_tells_nothing_more_once_its_token_is_gone(harness: Harness, quiet: Dashboard, browser: Browser) -> None:
    harness.queue.submit([a_task("job-0", job="secret plans")])
    page = signed_in(browser, quiet)
    page.goto(f"{quiet.url}/tasks?job=secret+plans")
    expect(page.get_by_role("link", name="job-0")).to_be_visible()
    settled(page)
    (quiet.folder / "token").write_text("another token, as long as it has to be")
    page.wait_for_url(f"{quiet.url}/sign-in?next=**")
    expect(page.get_by_text("secret plans")).to_have_count(0)
    page.get_by_label("Token").fill("another token, as long as it has to be")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{quiet.url}/tasks?job=secret+plans")
    page.context.close()


def test_nothing_is_fetched_from_anywhere_else(dashboard: Dashboard, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url.replace("ws:", "http:")))
    for path in ("/", "/workers", "/jobs", "/tasks"):
        page.goto(dashboard.url + path, wait_until="networkidle" if path != "/" else "load")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert len(asked) > 20
    assert [url for url in asked if not url.startswith((dashboard.url, "data:", "blob:"))] == []


class Breaks:
    """Breaks off the first ``times`` answers for a file that a page needs."""

    def __init__(self, page: Page, name: str, times: int) -> None:
        self._page = page
        self._times = times
        self.asked = 0
        page.route(f"**/{name}", self._answer)

    def _answer(self, route: Route) -> None:
        self.asked += 1
        if self.asked <= self._times:
            route.abort("failed")
        else:
            route.continue_()

    def wait(self, asked: int) -> None:
        """Until it was asked for so many times."""

        def was_asked() -> bool:
            self._page.wait_for_timeout(20)  # meanwhile it is heard
            return self.asked >= asked

        wait_until(was_asked, f"it is asked for {asked} times")


@pytest.mark.parametrize("name", ["vue.esm-browser.prod.js", "dompurify.mjs", "nicegui.js"])
def test_a_page_of_which_a_script_was_broken_off_is_loaded_again_by_itself(name: str, quiet: Dashboard, browser: Browser) -> None:
    page = signed_in(browser, quiet)
    breaks = Breaks(page, name, 2)
    page.goto(f"{quiet.url}/workers")
    breaks.wait(3)
    settled(page)
    page.context.close()


def test_a_page_that_can_not_be_loaded_is_tried_a_few_times_and_then_left(quiet: Dashboard, browser: Browser) -> None:
    page = signed_in(browser, quiet)
    breaks = Breaks(page, "dompurify.mjs", 100)
    page.goto(f"{quiet.url}/workers")
    breaks.wait(6)
    page.wait_for_timeout(8_000)  # longer than before any of them
    assert breaks.asked == 6
    page.context.close()
