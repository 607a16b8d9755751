"""Errors keep their class and their words, over a pickle and over the wire."""

from __future__ import annotations

import pickle

import pytest

from taskyard import errors
from taskyard.errors import TaskyardError
from taskyard.transport import _error_of

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
OWN = [kind for kind in KINDS if issubclass(kind, TaskyardError)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_survives_pickling(kind: type[Exception], protocol: int) -> None:
    error = kind("what to do next")
    copy = pickle.loads(pickle.dumps(error, protocol=protocol))
    assert (type(copy), copy.args, str(copy)) == (kind, ("what to do next",), str(error))


@pytest.mark.parametrize("kind", OWN)
def test_every_error_comes_over_the_wire_as_its_class_and_words(kind: type[TaskyardError]) -> None:
    error = _error_of((kind.__name__, "what to do next"))
    assert (type(error), str(error)) == (kind, "what to do next")


@pytest.mark.parametrize("name", ["ZeroDivisionError", "RemoteTraceback", "annotations", "__name__", "", 7])
def test_what_the_other_side_calls_an_error_is_built_only_if_it_is_one_of_ours(name: object) -> None:
    error = _error_of((name, "its words"))
    assert type(error) is TaskyardError
    assert str(error) == f"the master failed: {name}: its words"


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_says_what_happened(kind: type[Exception]) -> None:
    assert kind.__doc__ is not None
    assert kind.__doc__.endswith(".")


def test_a_remote_traceback_shows_as_it_was_written() -> None:
    assert str(errors.RemoteTraceback("Traceback:\n  line")) == "\nTraceback:\n  line"
    assert str(errors.RemoteTraceback()) == ""
