"""Whoever holds the key and asks for what there is not, or wrongly, is told so in a clear word; nothing else comes of it."""

from __future__ import annotations

import inspect
import queue
import struct
from multiprocessing.managers import BaseManager, Server
from typing import Any

import pytest

from master.engine import Engine
from master.foreign import EXPOSED
from master.server import ARGUMENTS, QueueServer
from taskyard.transport import IDENT
from tests.contract.master_process import MasterProcess
from tests.hostile.attacker import CHALLENGE, QUEUE_CALLS, VERBS, WRONG, Attacker, deep, framed, multiplied
from tests.hostile.honest import Honest

LONGEST_REFUSAL = 2000
METHODS = sorted(
    {name for kind in (queue.Queue, Server, BaseManager, QueueServer, Engine) for name, _ in inspect.getmembers(kind)}
    | {"#GETVALUE", "mutex", "unfinished_tasks", ""}
)
BEFORE_A_CONVERSATION = ("accept_connection", "dummy", "incref", "decref")
NONE_IS_ANY = (("find", 0), ("find", 1), ("running", 0), ("jobs", 0), ("lease", 3))
WAITS = (("lease", 2), ("results", 3))
PLAIN_ERRORS = ("AttributeError", "TypeError", "ValueError", "OverflowError", "RuntimeError", "RecursionError", "Empty", "Full")


def refusal(answer: tuple[str, Any]) -> tuple[str, str]:
    """The kind and the words of an answer, which must be a refusal that a person can read."""
    kind, value = answer
    assert kind == "#ERROR"
    name, words = value if isinstance(value, tuple) else (type(value).__name__, str(value))
    assert name.isidentifier()
    assert len(words) < LONGEST_REFUSAL
    return name, words


@pytest.mark.usefixtures("honest")
@pytest.mark.parametrize("ident", [IDENT, "task", "result", "nothing", None])
def test_no_method_can_be_called_but_those_that_are_meant(master: MasterProcess, ident: Any) -> None:
    meant = {IDENT: {*ARGUMENTS, "hello"}, "task": {*EXPOSED}, "result": {*EXPOSED}}.get(ident, set())
    with Attacker(master).prove() as attacker:
        for method in [name for name in METHODS if name not in meant]:
            for args in ((), ("a",), ("a", "b")):
                _, words = refusal(attacker.ask((ident, method, args, {})))
                assert "no verb" in words if ident == IDENT else "there is no" in words


@pytest.mark.usefixtures("honest")
def test_no_method_of_the_servers_own_can_be_called_instead_of_a_conversation(master: MasterProcess) -> None:
    for method in [name for name in METHODS if name not in BEFORE_A_CONVERSATION]:
        with Attacker(master).greet() as attacker:
            assert "can be asked for here" in refusal(attacker.ask((None, method, ("dict",), {})))[1]


@pytest.mark.parametrize("verb", [verb for verb, args in VERBS if args and verb != "hello"])
def test_each_argument_of_a_verb_is_refused_unless_it_is_of_its_type(master: MasterProcess, honest: Honest, verb: str) -> None:
    args = dict(VERBS)[verb]
    with Attacker(master).prove() as attacker:
        for index, good in enumerate(args):
            allowed = {type(good)} | ({tuple} if isinstance(good, list) else set())
            if (verb, index) in NONE_IS_ANY:
                allowed.add(type(None))
            for wrong in WRONG:
                if (verb, index) in WAITS and type(wrong) in (int, float) and wrong > 1:
                    continue  # it makes sense, for who has the time
                answer = attacker.ask((IDENT, verb, (*args[:index], wrong, *args[index + 1 :]), {}))
                if answer[0] == "#RETURN":
                    assert type(wrong) in allowed
                else:
                    name, words = refusal(answer)
                    assert name == "BadRequest"
                    assert words
            honest.check()


@pytest.mark.parametrize("verb", [*ARGUMENTS])
def test_a_verb_with_too_few_or_too_many_arguments_is_refused(master: MasterProcess, honest: Honest, verb: str) -> None:
    with Attacker(master).prove() as attacker:
        for many in [many for many in range(8) if many != ARGUMENTS[verb]]:
            assert "no verb" in refusal(attacker.ask((IDENT, verb, ("a",) * many, {})))[1]


@pytest.mark.parametrize("ident", ["task", "result"])
@pytest.mark.parametrize(("method", "args"), QUEUE_CALLS, ids=[method for method, _ in QUEUE_CALLS])
def test_the_tutorials_queues_answer_or_refuse_whatever_they_are_given(
    master: MasterProcess, honest: Honest, ident: str, method: str, args: tuple[Any, ...]
) -> None:
    with Attacker(master).prove() as attacker:
        for wrong in WRONG:
            changed = [(*args[:index], wrong, *args[index + 1 :]) for index in range(len(args))]
            for given in [*changed, (*args, wrong)]:
                if method == "get" and (given[:1] == (True,) or given[0]) and not isinstance(given[-1], str):
                    given = (False, *given[1:])  # else it may wait for ever
                answer = attacker.ask((ident, method, given, {}))
                assert answer[0] == "#RETURN" or refusal(answer)[0] in PLAIN_ERRORS
    honest.check()


@pytest.mark.parametrize("ident", [IDENT, "task", "result", "nothing"])
def test_a_method_that_would_be_too_long_to_print_is_refused_without_printing_it(
    master: MasterProcess, honest: Honest, ident: str
) -> None:
    with Attacker(master).prove() as attacker:
        for method in (multiplied(40), "x" * 1_000_000):
            refusal(attacker.ask((ident, method, (), {})))
        refusal(attacker.ask((multiplied(40), "put", (), {})))


@pytest.mark.parametrize(("ident", "method"), [(IDENT, "submit"), (IDENT, "cancel"), ("task", "put"), ("result", "put")])
def test_an_argument_that_is_nested_too_deep_is_refused(master: MasterProcess, honest: Honest, ident: str, method: str) -> None:
    with Attacker(master).prove() as attacker:
        attacker.send(framed(deep(ident, method, 100_000)))
        refusal(attacker.answer())
        assert attacker.ask((ident, "stats" if ident == IDENT else "qsize", (), {}))[0] == "#RETURN"


def test_a_global_with_a_name_of_a_megabyte_is_refused_in_a_few_words(master: MasterProcess, honest: Honest) -> None:
    message = b"c" + b"o" * 1_000_000 + b"\nsystem\n."
    told = len(master.log())
    with Attacker(master).prove() as attacker:
        attacker.send(framed(message))
        refusal(attacker.answer())
    with Attacker(master).greet() as attacker:
        attacker.send(framed(message))
        assert attacker.is_hung_up_on()
    honest.check()
    assert len(master.log()) - told < LONGEST_REFUSAL


@pytest.mark.parametrize("said", [b"", b"no challenge", CHALLENGE[:5], b"#WELCOME#"])
def test_a_holder_of_the_key_that_does_not_challenge_the_master_is_refused(
    master: MasterProcess, honest: Honest, said: bytes
) -> None:
    with Attacker(master) as attacker:
        attacker.send(framed(attacker.response()))
        attacker.read()
        attacker.send(framed(said))
        assert attacker.is_hung_up_on()


@pytest.mark.parametrize(
    "message",
    [b"\x80\x04]r" + struct.pack("<I", 2**28) + b".", b"\x80\x04(" + b"\x8f" * 5_000_000 + b"t."],
    ids=["a table of 4 GB in ten bytes", "a GB of empty sets in 5 MB"],
)
def test_a_message_that_would_take_gigabytes_to_read_is_refused(master: MasterProcess, honest: Honest, message: bytes) -> None:
    with Attacker(master).prove() as attacker:
        attacker.send(framed(message))
        assert "MemoryError" in refusal(attacker.answer())[1]
        assert attacker.ask((IDENT, "stats", (), {}))[0] == "#RETURN"
    honest.check()
