"""``@task``: what it registers, and what it refuses when the app is imported rather than when a task runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from taskyard.errors import SettingsError, UnknownTask
from taskyard.model import BY_CAUSE
from taskyard.registry import Options, load_tasks, options_of, task


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskyard.registry._functions", {})


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a module that can be imported as ``app_of_this_test``."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "app_of_this_test", None)
    del sys.modules["app_of_this_test"]
    return tmp_path / "app_of_this_test.py"


def double(n: int) -> int:
    return 2 * n


def no_task() -> None: ...


def test_a_task_stays_the_function_that_it_was() -> None:
    assert task(double) is double
    assert task(retries=3)(double) is double
    assert double(4) == 8


def test_a_task_is_known_by_its_functions_name_with_the_defaults_of_the_contract() -> None:
    assert options_of(task(double)) == Options("double", priority=0, retries=BY_CAUSE, backoff=1.0, time_limit=0.0)


def test_a_task_keeps_the_options_that_it_is_given() -> None:
    function = task(name="twice", priority=5, retries=3, backoff=0.5, time_limit=60)(double)
    expected = Options("twice", priority=5, retries=3, backoff=0.5, time_limit=60)
    assert options_of(function) == expected
    assert options_of("twice") == expected


def test_a_misspelt_option_is_refused_where_it_stands() -> None:
    wrong: Any = {"retires": 3}
    with pytest.raises(TypeError, match="retires"):
        task(**wrong)(double)


def test_two_tasks_of_one_name_are_refused_by_where_they_stand() -> None:
    task(double)

    def other() -> None: ...

    other.__module__ = "app.other"
    with pytest.raises(SettingsError, match=f"'double': in {__name__} and in app.other"):
        task(name="double")(other)
    assert options_of("double") == Options("double")


def test_a_module_imported_anew_may_register_its_tasks_again() -> None:
    task(double)
    assert options_of(task(priority=1)(double)).priority == 1
    assert options_of("double").priority == 1


def test_a_name_that_only_the_workers_know_has_the_default_options() -> None:
    assert options_of("app.elsewhere") == Options("app.elsewhere")


@pytest.mark.parametrize("function", [no_task, print, lambda: None])
def test_what_is_no_task_is_told_with_what_to_do(function: Any) -> None:
    with pytest.raises(UnknownTask, match="is not a task: put @task above it"):
        options_of(function)


def test_loading_an_app_tells_its_tasks_by_name(app: Path) -> None:
    app.write_text("from taskyard import task\n@task\ndef one(): return 1\n@task(name='two')\ndef other(): return 2\n")
    functions = load_tasks("app_of_this_test")
    assert {name: function() for name, function in functions.items()} == {"one": 1, "two": 2}


def test_an_app_that_is_not_there_is_told_with_the_setting() -> None:
    with pytest.raises(SettingsError, match=r"^WORKER_APP='no_such_app': No module named 'no_such_app'"):
        load_tasks("no_such_app")


def test_a_module_that_an_app_misses_is_told_by_name(app: Path) -> None:
    app.write_text("import no_such_library\n")
    with pytest.raises(SettingsError, match=r"^WORKER_APP='app_of_this_test': No module named 'no_such_library'"):
        load_tasks("app_of_this_test")
