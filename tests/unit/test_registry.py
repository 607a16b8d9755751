"""``@task``: what it registers, and what it refuses when the app is imported rather than when a task runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from taskyard.errors import SettingsError
from taskyard.model import BY_CAUSE
from taskyard.options import Options
from taskyard.registry import load_tasks, options_of, task


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
    assert options_of(task(double)) == Options(name="double", retries=BY_CAUSE, backoff=1.0)


def test_a_task_keeps_the_options_that_it_is_given() -> None:
    function = task(name="twice", priority=5, retries=3, backoff=0.5, time_limit=60)(double)
    expected = Options(name="twice", priority=5, retries=3, backoff=0.5, time_limit=60)
    assert options_of(function) == expected
    assert options_of("twice") == expected


def test_a_misspelt_option_is_refused_where_it_stands() -> None:
    with pytest.raises(TypeError, match="retires"):
        task(retires=3)(double)


def test_an_option_that_makes_no_sense_is_refused_with_the_tasks_name_and_registers_nothing() -> None:
    with pytest.raises(SettingsError, match=r"^task 'double': retries='3': expected a whole number"):
        task(retries="3")(double)
    assert options_of("double") == Options(name="double")
    assert load_tasks("json") == {}


def test_two_tasks_of_one_name_are_refused_by_where_they_stand() -> None:
    task(double)

    def other() -> None: ...

    other.__module__ = "app.other"
    with pytest.raises(SettingsError, match=f"'double': in {__name__} and in app.other"):
        task(name="double")(other)
    assert options_of("double") == Options(name="double")


def test_a_module_imported_anew_may_register_its_tasks_again() -> None:
    task(double)
    for known in (task(priority=1)(double), "double"):
        assert options_of(known) == Options(name="double", priority=1)


def test_a_name_that_only_the_workers_know_has_the_default_options() -> None:
    assert options_of("app.elsewhere") == Options(name="app.elsewhere")


@pytest.mark.parametrize("function", [no_task, print, lambda: None])
def test_a_function_that_is_no_task_has_no_options(function: Any) -> None:
    assert options_of(function) is None


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
