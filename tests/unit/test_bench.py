"""How `bench` makes its calls, and what its page says of the figures."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bench import page, tables
from bench.fresh import Call, CallFailed
from bench.measures import MEASURES, Measure, Point, find
from bench.runner import run
from bench.systems import OURS, PEERS, STANDARD
from bench.systems.session import timed, warm


def answer(value: int, folder: Path) -> dict[str, Any]:
    return {"value": value, "folder": folder.name}


def fail(folder: Path) -> None:
    raise RuntimeError(f"no way in {folder.name}")


def record_of(*points: dict[str, Any], measure: str = "peers") -> dict[str, Any]:
    machine = {
        "date": "2026-01-02T03:04:05+00:00",
        "processors": 2,
        "processor": "some",
        "memory": 2**30,
        "system": "Linux",
        "file system": "ext4",
        "versions": {"taskyard": "1 (abc)", "Python": "3.13"},
    }
    return {"measure": measure, "command": "bench", "rounds": 2, "scale": 1, "machine": machine, "points": list(points)}


def point(system: str, keeps: bool, *seconds: float, error: str | None = None) -> dict[str, Any]:
    rounds = [{"calls": {"go": 100}, "seconds": {"go": one}, "trips": {"p50": one, "p99": one}} for one in seconds]
    return {"label": system, "system": system, "keeps": keeps, "beside": {"go": "go"}, "rounds": rounds, "error": error}


class Wrong:
    """A system that loses the last result."""

    def run(self, way: str, calls: int) -> list[int]:
        return [n * n for n in range(calls - 1)]

    def stop(self) -> None:
        pass


class Quicker(Wrong):
    """A system that is slow at first."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, way: str, calls: int) -> list[int]:
        self.runs += 1
        return [n * n for n in range(calls)]


def test_a_call_runs_in_a_folder_of_its_own_that_is_gone_afterwards(tmp_path: Path) -> None:
    answered = Call("tests.unit.test_bench:answer", {"value": 7})(tmp_path)
    assert answered["value"] == 7
    assert list(tmp_path.iterdir()) == []


def test_a_call_that_raises_fails_with_what_it_said_last(tmp_path: Path) -> None:
    with pytest.raises(CallFailed, match=r"RuntimeError: no way in call-\w+$"):
        Call("tests.unit.test_bench:fail")(tmp_path)


def test_a_call_of_an_environment_that_is_not_there_says_who_installs_it(tmp_path: Path) -> None:
    with pytest.raises(CallFailed, match="make bench-peers"):
        Call("tests.unit.test_bench:answer", environment="nobody-has-it")(tmp_path)


def test_results_that_are_not_all_there_are_no_figure() -> None:
    with pytest.raises(ValueError, match="9 results of 10 calls"):
        timed(Wrong(), "go", 10)


def test_a_system_is_warm_after_three_runs_at_least() -> None:
    system = Quicker()
    warm(system, "go", 20)
    assert 3 <= system.runs <= 10


@pytest.mark.parametrize("name", MEASURES)
def test_each_measure_has_points_of_different_names_and_a_section(name: str) -> None:
    labels = [point.label for point in find(name).points(1)]
    assert len(set(labels)) == len(labels) > 0
    assert name in page.SECTIONS


@pytest.mark.parametrize("entry", [OURS, *STANDARD, *PEERS], ids=lambda entry: entry.name)
def test_each_system_is_there(entry: Any) -> None:
    module, _, name = entry.target.partition(":")
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    assert f"class {name}" in Path(spec.origin).read_text()


def test_rounds_follow_each_other_and_a_peer_that_does_not_run_is_tried_once(tmp_path: Path) -> None:
    called: list[str] = []

    class Told(Call):
        def __call__(self, folder: Path) -> Any:
            called.append(self.target)
            if self.target == "broken":
                raise CallFailed("not installed")
            return self.target

    points = [Point(name, Told(name), {}, may_fail=True) for name in ("a", "broken", "b")]
    record = run(Measure("some", lambda _: points, 5), 2, 1.0, tmp_path, lambda _: None, lambda: None)
    assert called == ["a", "broken", "b", "a", "b"]
    assert [(point["rounds"], point["error"]) for point in record["points"]] == [
        (["a", "a"], None),
        ([], "not installed"),
        (["b", "b"], None),
    ]


def test_a_ratio_is_that_of_the_same_round() -> None:
    # The machine was ten times slower in the second and third round, for both.
    record = record_of(point(OURS.name, True, 1.0, 10.0, 10.0), point("Other", False, 2.0, 20.0, 20.0))
    assert tables.ratio(record, record["points"][1], "go") == 2.0
    assert "| Other | `go` | `go` | 5.00 (2.00 x) |  |" in tables.rates(record)


def test_what_did_not_run_stands_in_the_table_with_its_reason() -> None:
    record = record_of(point(OURS.name, True, 1.0), point("Other", True, error="Traceback\nImportError: no | such"))
    assert "| Other | `go` | `go` |  | did not run: ImportError: no / such |" in tables.rates(record)


@pytest.mark.parametrize(
    ("value", "told"), [(1234567.0, "1,230,000"), (999.6, "1,000"), (123.4, "123"), (45.67, "45.7"), (0.5, "0.50")]
)
def test_figures_have_three_digits(value: float, told: str) -> None:
    assert tables.number(value) == told


def test_the_page_is_made_of_the_files_that_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    record = record_of(point(OURS.name, True, 1.0, 2.0), point("Other", False, 2.0, 2.0))
    (folder / "peers.json").write_text(json.dumps(record))
    text = page.make(tmp_path).read_text()
    assert text.startswith("# Benchmarks, made by `make bench bench-peers`\n")
    assert f"## {page.SECTIONS['peers'][0]}\n" in text
    assert f"## {page.SECTIONS['rates'][0]}\n" not in text
    assert "| [peers](benchmarks/peers.json) | `bench` | 2026-01-02 03:04:05 | 2 | 1 | 1 (abc) |" in text
    assert "Python 3.13" in text
