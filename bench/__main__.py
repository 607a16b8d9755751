"""The command line: ``python -m bench``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bench import machine, page, runner
from bench.fresh import ROOT, CallFailed
from bench.measures import MEASURES, OWN, find

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
FOLDER, DOCS = ROOT / "build" / "bench", ROOT / "docs"
EPILOG = "\n\n".join(
    [
        "A look, in half a minute: python -m bench --only rates --rounds 1 --scale 0.05",
        "The page again, from the files that there are: python -m bench --pages",
        "Measures:",
        *(f"* {name}: {what}" for name, what in MEASURES.items()),
    ]
)


@app.command(epilog=EPILOG)
def main(
    only: Annotated[list[str] | None, typer.Option(help="A measure; may be given several times.", metavar="MEASURE")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Of each point; figures are medians over them.")] = 5,
    scale: Annotated[float, typer.Option(min=0.0001, max=10, help="Of the numbers of calls; 1 for figures to be told.")] = 1.0,
    folder: Annotated[Path, typer.Option(help="Where everything durable goes; on a disk.", show_default="build/bench")] = FOLDER,
    out: Annotated[
        Path, typer.Option(help="For the page; its figures and plots go into a folder there.", show_default="docs")
    ] = DOCS,
    pages: Annotated[bool, typer.Option("--pages", help="Measure nothing, make the page.")] = False,
) -> None:
    """Measure Taskyard, and what users would pick instead, on the same work in the same run."""
    console = Console(stderr=True)
    names = tuple(only or OWN)
    for name in names:
        if name not in MEASURES:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(MEASURES)}", param_hint="--only")
    folder.mkdir(parents=True, exist_ok=True)
    if (kind := machine.file_system(folder)) in machine.NOT_ON_A_DISK:
        raise typer.BadParameter(f"{folder} is on a {kind}, which is no disk", param_hint="--folder")
    try:
        if not pages:
            measure_all(names, rounds, scale, folder, out / "benchmarks", console)
        console.print(f"The page: {page.make(out)}")
    except CallFailed as error:
        console.print(f"bench: {error}", markup=False, highlight=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("Stopped. What was started has ended.")
        raise typer.Exit(130) from None


def measure_all(names: tuple[str, ...], rounds: int, scale: float, folder: Path, out: Path, console: Console) -> None:
    """Run these measures one after the other; each one's file is written when it is complete."""
    command = " ".join(["python -m bench", *sys.argv[1:]])
    measures = [find(name) for name in names]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        for measure in measures:
            taken = min(rounds, measure.most_rounds)
            task = bar.add_task(measure.name, total=taken * len(measure.points(scale)))

            def tell(text: str, task: TaskID = task) -> None:
                bar.update(task, description=text)

            record = runner.run(measure, taken, scale, folder, tell, partial(bar.advance, task))
            tell(f"{measure.name}: {runner.write(record, command, out)}")
            for point in record["points"]:
                if point["error"]:
                    bar.console.print(f"{point['label']} did not run: {point['error']}", markup=False, highlight=False)


if __name__ == "__main__":
    app()
