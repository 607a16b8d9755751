"""Payloads, values and exceptions come out as they went in, and what can't is told in words."""

from __future__ import annotations

import pickle
import threading
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskyard.codec import LINE_LENGTH, decode, decode_error, encode, encode_error, encode_json, one_line
from taskyard.errors import QueueFull, RemoteTraceback, TaskFailed

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
ANY = st.recursive(
    SCALARS | st.binary() | st.complex_numbers(allow_nan=False) | st.dates(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner) | st.frozensets(SCALARS),
    max_leaves=20,
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


class TwoArguments(Exception):
    """Pickles, but can't be built again from what it hands to its base."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")


class HoldsALock(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class NotShown(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@dataclass(frozen=True, slots=True)
class Frozen(Exception):
    """Pickles and comes back, but lets nobody set an attribute."""

    user: str


class BecomesText(Exception):
    """Its pickle is none of an exception."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (str, ("text",))


def raised(error: BaseException) -> BaseException:
    """The exception with a traceback, as a slot catches it."""
    try:
        raise error
    except BaseException as caught:
        return caught


@settings(max_examples=50, deadline=None)
@given(ANY)
def test_a_value_comes_out_as_it_went_in(value: Any) -> None:
    assert decode(encode(value)) == value


@settings(max_examples=50, deadline=None)
@given(JSON)
def test_a_json_value_comes_out_as_it_went_in(value: Any) -> None:
    assert decode(encode_json(value)) == value


def test_the_first_letter_tells_the_form() -> None:
    # Programs in other languages write it too.
    assert decode(b'j[[1,"a"],{"k":null}]') == [[1, "a"], {"k": None}]
    assert decode(b"p" + pickle.dumps(((1,), {}), protocol=2)) == ((1,), {})
    assert (encode(1)[:1], encode_json(1)) == (b"p", b"j1")


@pytest.mark.parametrize("data", [b"", b"x", b"\x80\x05N."])
def test_an_unknown_form_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match="unknown payload form"):
        decode(data)


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object()])
def test_what_json_cant_hold_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        encode_json(value)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_would_end_the_program_that_reads_it_comes_out_as_a_failed_task(error: BaseException) -> None:
    got = decode_error(encode_error(raised(error)), "exit: ...")
    assert type(got) is TaskFailed
    assert type(error).__name__ in str(got)
    assert type(error).__name__ in str(got.__cause__)


def test_what_stands_in_for_an_exception_brings_that_ones_traceback() -> None:
    got = decode_error(encode_error(raised(SystemExit(3)), TaskFailed("the task called sys.exit(3)")), "exit: ...")
    assert (type(got), str(got)) == (TaskFailed, "the task called sys.exit(3)")
    assert "in raised" in str(got.__cause__)


@pytest.mark.parametrize("error", [ValueError("no", 7), KeyError("k"), OSError(2, "gone"), QueueFull("full")])
def test_an_exception_comes_out_as_it_was_raised(error: BaseException) -> None:
    got = decode_error(encode_error(raised(error)), "exception: ...")
    assert (type(got), got.args) == (type(error), error.args)


def test_an_exception_brings_its_traceback_as_text() -> None:
    def deep() -> None:
        raise ValueError("deep down") from KeyError("why")

    with pytest.raises(ValueError, match="deep down") as caught:
        deep()
    got = decode_error(encode_error(caught.value), "")
    assert isinstance(got.__cause__, RemoteTraceback)
    assert all(word in str(got.__cause__) for word in ("in deep", "ValueError: deep down", "KeyError: 'why'", __file__))


@pytest.mark.parametrize(
    "error",
    [
        TwoArguments(7, "no luck"),
        HoldsALock("no luck (7)"),
        type("Local", (Exception,), {"__module__": __name__})("no luck (7)"),
    ],
    ids=["can't be built again", "can't be pickled", "class not to be found"],
)
def test_an_exception_that_cant_travel_is_told_with_its_name_text_and_traceback(error: Exception) -> None:
    got = decode_error(encode_error(raised(error)), "")
    assert isinstance(got, TaskFailed)
    assert str(got) == f"{type(error).__name__}: no luck (7)"
    assert f"{type(error).__name__}: no luck (7)" in str(got.__cause__)
    assert "in raised" in str(got.__cause__)


@pytest.mark.parametrize("kind", [NotShown, type("LocalNotShown", (NotShown,), {"__module__": __name__})])
def test_an_exception_whose_text_fails_travels_all_the_same(kind: type[Exception]) -> None:
    got = decode_error(encode_error(raised(kind())), "")
    assert isinstance(got, NotShown | TaskFailed)
    assert kind.__name__ in str(got.__cause__)


def test_an_exception_that_lets_nobody_change_it_arrives_all_the_same() -> None:
    got = decode_error(encode_error(raised(Frozen("somebody"))), "exception: Frozen: somebody")
    assert got == Frozen("somebody")
    assert "Traceback" in str(got.__cause__)


def test_what_an_exception_carries_beside_its_arguments_arrives() -> None:
    error = ValueError("no")
    error.add_note("seen at the third mail")
    group = ExceptionGroup("both failed", [error, OSError(2, "gone")])
    got = decode_error(encode_error(raised(group)), "")
    assert isinstance(got, ExceptionGroup)
    assert [(type(one), one.args) for one in got.exceptions] == [(ValueError, ("no",)), (FileNotFoundError, (2, "gone"))]
    assert got.exceptions[0].__notes__ == ["seen at the third mail"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first line\n  second\tline"), "ValueError: first line second line"),
        (KeyError("k"), "KeyError: 'k'"),
        (TimeoutError(), "TimeoutError:"),
        (NotShown(), "NotShown"),
        (ValueError("x" * 10**6), "ValueError: " + "x" * (LINE_LENGTH - len("ValueError: "))),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else type(value).__name__,
)
def test_an_exception_in_one_line_is_short_and_has_its_name(error: BaseException, line: str) -> None:
    assert one_line(error) == line


def test_a_task_that_died_without_an_exception_is_told_by_its_cause() -> None:
    got = decode_error(b"", "signal: SIGKILL (9)")
    assert (type(got), str(got)) == (TaskFailed, "signal: SIGKILL (9)")


@pytest.mark.parametrize(
    "value",
    [b"garbage", encode(7), encode((b"garbage", "text")), encode((b"cno_such_module\nKind\n.", "text")), encode_json("no")],
)
def test_an_exception_that_cant_be_read_here_is_told_by_its_cause(value: bytes) -> None:
    got = decode_error(value, "exception: Kind: no")
    assert isinstance(got, TaskFailed)
    assert str(got).startswith("exception: Kind: no (its exception can't be read here: ")


def test_what_is_no_exception_is_not_raised() -> None:
    got = decode_error(encode_error(raised(BecomesText())), "exception: BecomesText")
    assert (type(got), str(got)) == (TaskFailed, "exception: BecomesText")
