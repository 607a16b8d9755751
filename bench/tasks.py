"""The same calls as tasks of Taskyard, under names of their own."""

from bench import work
from taskyard import task

square = task(name="bench.square")(work.square)
echo = task(name="bench.echo")(work.echo)
nap = task(name="bench.nap")(work.nap)
