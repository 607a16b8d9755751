"""What a worker offers, and which apps it refuses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskyard import calls, registry
from taskyard.codec import decode
from taskyard.errors import SettingsError
from taskyard.model import Schedule
from worker.offer import load


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes the app; its tasks are the only ones that are known."""
    monkeypatch.setattr(registry, "_functions", {})
    monkeypatch.syspath_prepend(tmp_path)

    def write(text: str) -> str:
        (tmp_path / "offered_app.py").write_text("from taskyard import task\n" + text)
        return "offered_app"

    yield write
    sys.modules.pop("offered_app", None)


def test_a_worker_offers_its_tasks_and_functions_of_its_python_where_it_accepts_them(app: Any) -> None:
    name = app("@task\ndef b(): ...\n@task(name='a')\ndef c(): ...")
    functions, offer = load(name, "names")
    assert sorted(functions) == offer.names == ["a", "b"]
    assert load(name, "names,functions")[1].names == ["a", "b", f"function@{calls.PYTHON}"]


def test_a_worker_offers_the_schedules_of_its_periodic_tasks_as_plain_tuples(app: Any) -> None:
    name = app(
        "@task(cron='*/5 * * * *', timezone='Europe/Berlin', retries=2)\ndef often(): ...\n"
        "@task(every=90, missed='skip')\ndef again(n=1, *more, **others): ...\n@task\ndef once(n): ..."
    )
    _, offer = load(name, "names")
    assert {type(schedule) for schedule in offer.schedules} == {tuple}
    again, often = map(Schedule._make, offer.schedules)
    assert (often.name, often.spec, often.timezone, often.retries) == ("often", "*/5 * * * *", "Europe/Berlin", 2)
    assert (again.name, again.spec, again.missed) == ("again", "every 90", "skip")
    assert decode(again.payload) == ((), {})


@pytest.mark.parametrize("parameters", ["n", "a, b=1", "*, n"])
def test_a_periodic_task_that_needs_arguments_is_refused(parameters: str, app: Any) -> None:
    name = app(f"@task(every=60)\ndef report({parameters}): ...")
    with pytest.raises(SettingsError, match=r"task 'report' is periodic, so it is called without arguments: missing a required"):
        load(name, "names")


@pytest.mark.parametrize("text", ["1 / 0", "raise SystemExit(3)", "import no_such_module", "def :"])
def test_an_app_that_cannot_be_imported_is_refused_with_the_reason(text: str, app: Any) -> None:
    with pytest.raises(SettingsError, match=r"WORKER_APP='offered_app'.*(ZeroDivision|SystemExit|no_such_module|SyntaxError)"):
        load(app(text), "names")


def test_functions_without_the_package_that_reads_them_are_refused(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    name = app("")
    with pytest.raises(SettingsError, match="install it, or set WORKER_ACCEPTS=names"):
        load(name, "names,functions")
    assert load(name, "names")[1].names == []
