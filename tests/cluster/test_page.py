"""The dashboard's page on the cluster as it is shipped: what is seen there of a job, of a failure, and of a master that dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from bench.ports import free_port
from tests.cluster.project import Project, inside
from tests.dashboard_page.running import DESKTOP, PHONE, browsing
from tests.harness import wait_until

TASKS = 300
FILE = "/tmp/price-list"  # within the workers


@pytest.fixture
def cluster(project: Callable[..., Project]) -> Project:
    """Two workers."""
    made = project("page", driver=True, DASHBOARD_PORT=str(free_port()))
    made.compose("up", "--detach", "--wait", "--scale", "worker=2", "master", "worker", "dashboard")
    return made


@pytest.fixture
def link(cluster: Project) -> str:
    """What signs in, as `make dashboard` prints it."""
    said = cluster.compose("exec", "-T", "dashboard", "python", "-m", "dashboard", "link")
    return next(line.split()[-1] for line in said.splitlines() if line.startswith("everything:"))


@pytest.fixture
def rest(link: str) -> Iterator[Callable[..., dict[str, Any]]]:
    """Submits a job over REST."""
    address, _, token = link.partition("/sign-in#token=")
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:

        def submit(job: str, name: str, *calls: list[Any]) -> dict[str, Any]:
            tasks = [{"name": name, "args": args, "retries": 0} for args in calls]
            answer = client.post("/api/v1/jobs", json={"job": job, "tasks": tasks})
            assert answer.status_code in (200, 201), answer.text
            told: dict[str, Any] = answer.json()
            return told

        yield submit


@pytest.fixture
def page(link: str) -> Iterator[Page]:
    """A browser that has followed the link; what goes wrong within it fails the test."""
    faults: list[str] = []
    with browsing() as browser:
        made = browser.new_page(viewport={"width": DESKTOP[0], "height": DESKTOP[1]})
        made.on("pageerror", lambda error: faults.append(str(error)))
        made.goto(link)
        expect(made.get_by_role("heading", name="Overview")).to_be_visible()
        yield made
    assert faults == []


def share(bar: Locator) -> int:
    return int(bar.get_attribute("aria-valuenow") or 0)


def test_a_job_a_failure_that_is_tried_again_and_a_master_that_dies_are_all_seen(
    cluster: Project, link: str, page: Page, rest: Callable[..., dict[str, Any]]
) -> None:
    address = link.partition("/sign-in")[0]

    # a job's bar moves, to its end
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    rest("squares", "square_after", *([n, 0.05] for n in range(TASKS)))
    bar = page.get_by_role("listitem").filter(has=page.get_by_role("link", name="squares")).get_by_role("progressbar")
    seen = [wait_until(lambda: share(bar), "it has begun")]
    while seen[-1] < 100:
        seen.append(wait_until(lambda: now if (now := share(bar)) != seen[-1] else 0, f"it goes on from {seen}"))
    assert seen == sorted(seen)
    assert len(seen) >= 4
    expect(page.get_by_text(f"{TASKS} of {TASKS} tasks")).to_be_visible()

    # a failed task: its traceback; once what was wrong is right, it is tried again and done
    (task,) = rest("prices", "read_file", [FILE])["ids"]
    page.goto(f"{address}/tasks?state=failed")
    page.get_by_role("link", name=task).click()
    expect(page.get_by_label("Traceback")).to_contain_text(f"FileNotFoundError: [Errno 2] No such file or directory: '{FILE}'")
    expect(page.get_by_label("Traceback")).to_contain_text("return Path(path).read_text()")
    for worker in cluster.containers("worker"):
        inside(worker, "python", "-c", f"open({FILE!r}, 'w').write('a pear: 12')")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_label("Result")).to_contain_text("a pear: 12")
    expect(page.get_by_text("Ended: done")).to_be_visible()

    # the master dies, and comes back
    cluster.container("master").kill()
    alert = page.get_by_role("alert").filter(has_text="The queue does not answer since")
    expect(alert).to_be_visible()
    page.get_by_role("link", name="Workers").click()
    expect(alert).to_be_visible()
    cluster.container("master").start()
    expect(alert).to_be_hidden(timeout=60_000)
    expect(page.get_by_role("button", name="Drain")).to_have_count(2, timeout=60_000)
    rest("after", "square_after", [7, 0.0])
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_text("1 of 1 task")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
