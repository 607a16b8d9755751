"""What a run has come to, for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.chaos.schedule import KINDS, Blow, Kind


class Fallen(NamedTuple):
    """A blow that has fallen, in monotonic seconds; ``hit``: how many containers or processes; ``error``: why it could not."""

    blow: Blow
    begun: float
    over: float
    hit: int
    error: str = ""


@dataclass
class Report:
    """``faults``: all that is not as promised; empty is a clean run."""

    seed: int
    seconds: float
    replay: str
    fallen: list[Fallen] = field(default_factory=list)
    left_out: dict[Kind, str] = field(default_factory=dict)
    gaps: list[tuple[float, float]] = field(default_factory=list)
    late: list[tuple[float, float]] = field(default_factory=list)
    longest: float = 0.0
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    verify: str = ""
    faults: list[str] = field(default_factory=list)

    def total(self, what: str) -> int:
        return sum(verdict[what] for verdict in self.verdicts)

    def lines(self) -> list[str]:
        """The report; its table is Markdown."""
        most = max((verdict["most_attempts"] for verdict in self.verdicts), default=0)
        told = [
            f"seed {self.seed}, {self.seconds / 60:.1f} minutes, {len(self.fallen)} blows",
            f"tasks {self.total('tasks'):,}, results {self.total('results'):,}, counted attempts {self.total('attempts'):,}"
            f" (of one task {most} at most)",
            f"longest time without any result while work was open: {self.longest:.1f} s",
            "",
            *self.table(),
        ]
        for why in dict.fromkeys(self.left_out.values()):
            told += ["", f"left out: {', '.join(kind for kind in KINDS if self.left_out.get(kind) == why)}: {why}"]
        told.append("")
        told += self.verify.strip().splitlines()
        if self.faults:
            return [*told, "", *(f"FAULT: {fault}" for fault in self.faults), f"The same blows again: {self.replay}"]
        return [*told, "verdict: clean. Each task has exactly its one right result, and the cluster is healthy."]

    def table(self) -> list[str]:
        """Of the kinds of blows, in Markdown."""
        told = ["| blow | times | hit | longest time without a result meanwhile |", "|---|---:|---:|---:|"]
        for kind in KINDS:
            of_kind = [one for one in self.fallen if one.blow.kind == kind]
            if of_kind:
                stall = max(self._stall(one) for one in of_kind)
                told.append(f"| {kind} | {len(of_kind)} | {sum(one.hit for one in of_kind)} | {seconds(stall)} |")
        return told

    def _stall(self, one: Fallen) -> float:
        return max((end - begin for begin, end in self.gaps if begin < one.over and end > one.begun), default=0.0)


def seconds(stall: float) -> str:
    return f"{stall:.1f} s" if stall else "under 0.5 s"
