"""Samples of what the queue did, put together: coarser ones for the past, and for plots."""

from __future__ import annotations

from collections.abc import Sequence

from taskyard.histogram import EMPTY, add
from taskyard.model import Sample


def only_levels(sample: Sample) -> Sample:
    """The same, as if nothing had been counted within it."""
    return sample._replace(seconds=0.0, submitted=0, done=0, failed=0, cancelled=0, wait=EMPTY, run=EMPTY)


def merged(samples: Sequence[Sample], at: float, step: float) -> Sample:
    """Samples that follow each other, one at least, as one that ends ``at`` (epoch s): with the levels of the last, and the sums
    of what was counted; as long as ``step`` (s), or as the longest of them."""
    wait, run = EMPTY, EMPTY
    for sample in samples:
        wait, run = add(wait, sample.wait), add(run, sample.run)
    return samples[-1]._replace(
        at=at,
        seconds=max(step, *(sample.seconds for sample in samples)),
        submitted=sum(sample.submitted for sample in samples),
        done=sum(sample.done for sample in samples),
        failed=sum(sample.failed for sample in samples),
        cancelled=sum(sample.cancelled for sample in samples),
        wait=wait,
        run=run,
    )
