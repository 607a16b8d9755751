"""Commands that give work and take results."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskyard import Cluster
from tests.contract.master_process import MasterProcess
from tests.harness import InThread, wait_until
from tests.programs.command import Command
from tests.programs.tasks import Gate

LIMIT = 50_000
MASTER = {"master_payload_limit": LIMIT}
WORKER = {"worker_slots": 2}
pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def command(master: MasterProcess) -> Command:
    return Command(master)


# submit


def test_submit_prints_ids_with_which_the_result_is_found(command: Command) -> None:
    told = dict(line.split() for line in command.ask("submit", "square", "7").splitlines())
    assert command.ask("results", told["job"], "--follow") == '0\t"7 * 7 = 49"\n'
    assert command.ask_json("show", told["task"])["value"] == "7 * 7 = 49"


def test_submit_waits_for_the_value_where_it_is_asked_to(command: Command) -> None:
    assert command.ask("submit", "give_back", '{"a": [1, null, "ä"]}', "--wait") == '{"a": [1, null, "\\u00e4"]}\n'
    assert command.ask("submit", "give_back", "plain text", "--wait") == '"plain text"\n'
    assert command.ask("submit", "pair", "--kwargs", '{"first": 1, "second": 2}', "--wait") == "[1, 2]\n"
    assert command.ask("submit", "--wait", "pair", "--", "-1", "-x") == '[-1, "-x"]\n'
    assert command.ask_json("submit", "give_back", "5", "--wait")["value"] == 5


def test_a_submitted_task_that_fails_is_exit_1_with_its_error(command: Command) -> None:
    ended = command.run("submit", "find_road", "Rome", "--wait")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.endswith("failed: LookupError: no road to Rome\n")


def test_options_of_submit_reach_the_task(command: Command) -> None:
    options = {"job": "with-options", "priority": "4", "delay": "500", "retries": "2", "expiry": "1000", "time-limit": "9"}
    words = ["submit", "square", "3", *(word for name, value in options.items() for word in (f"--{name}", value))]
    told = command.ask_json("show", command.ask_json(*words)["id"])
    assert (told["job"], told["state"], told["priority"]) == ("with-options", "delayed", 4)
    assert (told["retries"], told["time_limit"]) == (2, 9)
    assert told["due"] - told["submitted"] == pytest.approx(500)
    assert told["begin_by"] - told["submitted"] == pytest.approx(1000)
    assert command.run("submit", "square", "3", "--delay", "-1").returncode == 78


def test_a_key_that_was_used_before_names_the_same_task(command: Command) -> None:
    first = command.ask_json("submit", "square", "3", "--key", "once", "--job", "first")
    assert command.ask_json("submit", "square", "3", "--key", "once", "--job", "second") == first
    assert first["job"] == "first"


@pytest.mark.parametrize("name", ["submit", "map"])
def test_help_says_that_options_of_the_function_do_not_count(command: Command, name: str) -> None:
    told = " ".join(command.ask(name, "--help").split())
    assert "What @task(...) says of retries, time limit and so on is not known here: say it by option." in told


def test_ctrl_c_while_submit_waits_leaves_the_task_in_the_queue(command: Command, gate: Gate) -> None:
    with command.start("submit", "held", str(gate.folder), "--wait", "--job", "interrupted") as waiting:
        wait_until(lambda: gate.begun("task"), "it runs")
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(15) == 130
        assert waiting.stderr is not None
        assert waiting.stderr.read().endswith("its results: taskyard results interrupted\n")
    gate.open()
    assert len(command.ask("results", "interrupted", "--follow").splitlines()) == 1


# map


def test_map_prints_values_in_the_order_of_the_lines(command: Command) -> None:
    lines = "".join(f"{n}\n" for n in range(3000))
    assert command.ask("map", "give_back", lines=lines) == lines


def test_on_a_terminal_progress_is_drawn_beside_the_output(command: Command) -> None:
    terminal, end = os.openpty()

    def draw() -> bytes:
        drawn = b""
        try:
            while part := os.read(terminal, 4096):
                drawn += part
        except OSError:
            pass  # so Linux tells that nobody writes any more
        os.close(terminal)
        return drawn

    drawing = InThread(draw)
    lines = "".join(f"{n}\n" for n in range(300))
    ended = subprocess.run(
        command.words("map", "give_back", "--chunksize", "1"),
        cwd=command.folder,
        env=command.environment | {"TERM": "xterm"},
        input=lines,
        stdout=subprocess.PIPE,
        stderr=end,
        text=True,
        timeout=60,
        check=True,
    )
    os.close(end)
    assert ended.stdout == lines
    assert b"300/" in drawing.result()


def test_map_reads_a_file_and_spreads_its_lines(command: Command) -> None:
    (command.folder / "pairs.jsonl").write_text('[1, 2]\n\n{"second": 4, "first": 3}')
    assert command.ask("map", "pair", "pairs.jsonl", "--star") == "[1, 2]\n[3, 4]\n"
    assert command.ask("map", "give_back", "pairs.jsonl", "--text", "--chunksize", "1").splitlines()[0] == '"[1, 2]"'


def test_a_line_that_fails_is_null_and_is_told_with_its_number(command: Command) -> None:
    ended = command.run("map", "find_road", lines='"Rome"\nnot JSON\n\n"Paris"\n')
    assert (ended.returncode, ended.stdout) == (1, "null\nnull\nnull\n")
    assert ended.stderr.splitlines() == [
        "taskyard: line 1: LookupError: no road to Rome",
        "taskyard: line 2: BadRequest: the line is not JSON: Expecting value: line 1 column 1 (char 0)",
        "taskyard: line 4: LookupError: no road to Paris",
    ]


@pytest.mark.parametrize("line", ["[" * 20_000, "[" * 5000 + "]" * 5000])
def test_a_line_that_is_nested_too_deeply_fails_alone(command: Command, line: str) -> None:
    ended = command.run("map", "give_back", lines=f"1\n{line}\n2\n")
    assert (ended.returncode, ended.stdout) == (1, "1\nnull\n2\n")
    assert ended.stderr == "taskyard: line 2: BadRequest: the line is not JSON: nested too deeply\n"


def test_nan_is_refused_in_lines_and_in_arguments_by_name(command: Command) -> None:
    ended = command.run("map", "give_back", lines="[NaN]\n-Infinity\n1\n")
    assert (ended.returncode, ended.stdout) == (1, "null\nnull\n1\n")
    assert "line 1: BadRequest: the line is not JSON: NaN is no value of JSON" in ended.stderr
    assert command.run("submit", "pair", "--kwargs", '{"first": NaN}').returncode == 2


def test_what_json_has_no_number_for_is_printed_as_a_text(command: Command) -> None:
    assert command.ask("map", "give_back", lines="1e999\n[1e999]\n") == '"inf"\n"[inf]"\n'
    told = json.loads(command.ask("map", "give_back", "--json", lines="1e999\n"))
    assert (told["line"], told["state"], told["value"]) == (1, "done", "inf")


@pytest.mark.parametrize("chunksize", [["--chunksize", "10"], []])
def test_arguments_that_are_too_large_together_are_sent_alone(command: Command, chunksize: list[str]) -> None:
    lines = "".join(f'"{n:010000}"\n' for n in range(200))
    assert command.ask("map", "give_back", *chunksize, lines=lines) == lines


def test_results_that_are_too_large_together_are_made_alone(command: Command) -> None:
    numbers = [10**1500 + n for n in range(20)]
    told = command.ask("map", "square", "--chunksize", "10", lines="".join(f"{n}\n" for n in numbers))
    assert told == "".join(f'"{n} * {n} = {n * n}"\n' for n in numbers)


def test_a_line_over_the_bound_fails_alone_and_is_not_kept_in_memory(command: Command) -> None:
    def peak() -> int:
        """The most memory that it has had, in KiB."""
        (line,) = [line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "VmHWM" in line]
        return int(line.split()[1])

    with command.start("map", "give_back") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("1\n")
        assert InThread(process.stdout.readline).result(20) == "1\n"
        before = peak()
        for _ in range(200):
            process.stdin.write("x" * 1_000_000)
        process.stdin.write("\n2\n")
        assert InThread(process.stdout.readline).result(20) == "null\n"
        assert InThread(process.stdout.readline).result(20) == "2\n"
        assert peak() - before < 50_000
        process.stdin.close()
        assert process.wait(20) == 1
        assert process.stderr.read().startswith(f"taskyard: line 2: PayloadTooLarge: the line has more than {LIMIT:,} bytes")


def test_map_tells_of_each_line_as_an_object(command: Command) -> None:
    ended = command.run("map", "give_back", "--json", "--job", "objects", lines='1\n"\n')
    assert (ended.returncode, ended.stderr) == (1, "")
    first, second = map(json.loads, ended.stdout.splitlines())
    assert first == {"line": 1, "id": first["id"], "state": "done", "value": 1, "error": None}
    assert command.ask_json("show", first["id"])["job"] == "objects"
    assert (second["line"], second["state"], second["value"]) == (2, "failed", None)
    assert "not JSON" in second["error"]


def test_a_line_that_kills_its_slot_fails_and_the_others_come(command: Command) -> None:
    ended = command.run("map", "die_by_os_exit", "--retries", "0", "--json", lines="3\n4\n")
    assert ended.returncode == 1
    assert [json.loads(line)["error"] for line in ended.stdout.splitlines()] == [
        "TaskFailed: exit: the task ended its process with status 3",
        "TaskFailed: exit: the task ended its process with status 4",
    ]


@pytest.fixture
def mapping(command: Command) -> Iterator[subprocess.Popen[str]]:
    """A map whose lines the test writes, one after the other."""
    with command.start("map", "give_back", "--job", "slow") as process:
        yield process
        process.kill()


def test_each_result_comes_before_the_next_line_is_there(mapping: subprocess.Popen[str]) -> None:
    assert mapping.stdin is not None
    assert mapping.stdout is not None
    for line in ("1\n", '"two"\n', "[3]\n"):
        mapping.stdin.write(line)
        assert InThread(mapping.stdout.readline).result(20) == line
    mapping.stdin.close()
    assert mapping.wait(10) == 0


def test_ctrl_c_in_map_leaves_what_was_submitted(command: Command, gate: Gate) -> None:
    with command.start("map", "held", "--job", "left") as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(f"{json.dumps(str(gate.folder))}\n" * 3)
        process.stdin.flush()
        wait_until(lambda: len(gate.begun("task")) == 2, "both slots run one")
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 130
        assert process.stderr.read() == ("taskyard: what was submitted stays in the queue; its results: taskyard results left\n")
    gate.open()
    assert len(command.ask("results", "left", "--follow").splitlines()) == 3


def test_a_reader_that_goes_away_ends_an_endless_map_cleanly(command: Command, master: MasterProcess) -> None:
    with command.start("map", "square", "--job", "endless") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None

        def write() -> None:
            assert process.stdin is not None
            try:
                for n in itertools.count():
                    process.stdin.write(f"{n}\n")
            except BrokenPipeError:
                pass

        writer = InThread(write)
        assert InThread(process.stdout.readline).result(20) == '"0 * 0 = 0"\n'
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
        writer.result(20)
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass
    with master.queue() as queue:
        wait_until(lambda: not queue.jobs("endless", 1, 0)[0].open, "what nobody reads is cancelled")


def test_a_reader_that_goes_away_stops_what_runs(command: Command, master: MasterProcess, gate: Gate, tmp_path: Path) -> None:
    never = Gate(tmp_path / "never opened")
    with command.start("map", "held", "--job", "stopped", "--chunksize", "1") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(f"{json.dumps(str(gate.folder))}\n{json.dumps(str(never.folder))}\n")
        wait_until(lambda: gate.begun("task") and never.begun("task"), "both run")
        process.stdout.close()
        gate.open()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
    with master.queue() as queue:
        told = queue.jobs("stopped", 1, 0)[0]
    assert (told.open, told.done, told.cancelled) == (0, 1, 1)


# results


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_values_that_json_can_not_hold_are_shown_as_python_writes_them(
    command: Command, master: MasterProcess, words: list[str]
) -> None:
    circle: list[object] = []
    circle.append(circle)
    values = [{(1, 2): 3}, circle, float("nan"), {"a": float("inf")}, {1, 2}]
    job = f"unusual{len(words)}"
    with Cluster(master.url, b"the key of a real master", job=job) as cluster:
        for value in values:
            cluster.submit("give_back", value)
    lines = command.ask("results", job, *words).splitlines()
    told = {one["number"]: one["value"] for one in map(json.loads, lines)} if words else dict(line.split("\t") for line in lines)
    assert {int(number): value for number, value in told.items()} == dict(enumerate(map(repr, values)))


def test_results_go_on_behind_a_cursor(command: Command) -> None:
    command.ask("map", "give_back", "--job", "cursors", "--chunksize", "1", lines="1\n2\n3\n")
    told = [json.loads(line) for line in command.ask("results", "cursors", "--json").splitlines()]
    assert sorted((one["number"], one["value"]) for one in told) == [(0, 1), (1, 2), (2, 3)]
    after = command.ask("results", "cursors", "--after", str(told[1]["cursor"]))
    assert after == f"{told[2]['number']}\t{told[2]['value']}\n"


def test_results_of_pickled_calls_are_shown_as_python_writes_them(command: Command, master: MasterProcess) -> None:
    with Cluster(master.url, b"the key of a real master", job="pickled") as cluster:
        cluster.submit("give_back", (1, {2}))
    assert command.ask("results", "pickled") == "0\t(1, {2})\n"


def test_results_with_a_failed_one_are_exit_1(command: Command) -> None:
    command.run("submit", "find_road", "Rome", "--wait", "--job", "failed")
    ended = command.run("results", "failed")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "taskyard: 0 failed: LookupError: no road to Rome\n"


def test_ctrl_c_in_results_says_where_to_go_on(command: Command, gate: Gate) -> None:
    command.ask("submit", "square", "1", "--job", "followed")
    command.ask("submit", "held", str(gate.folder), "--job", "followed")
    with command.start("results", "followed", "--follow") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        InThread(process.stdout.readline).result(20)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        line = process.stderr.read()
    gate.open()
    words = line.strip().removeprefix("taskyard: pick it up by: taskyard ").split()
    assert words[:2] == ["results", "followed"]
    assert len(command.ask(*words).splitlines()) == 1
