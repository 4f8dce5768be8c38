"""What a conversion gives back."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mrc2movie.conversion.show import in_html
from mrc2movie.writers.record import Record


@dataclass(frozen=True)
class Conversion:
    """A movie that was made.

    In a notebook it shows itself: the movie, or its middle section where no browser plays it.

    Attributes:
        source: The input; ``array`` for an array.
        target: The movie.
        record: How it was made, as kept beside it.
        seconds: From the start to the end.
    """

    source: Path
    target: Path
    record: Record
    seconds: float

    @property
    def facts(self) -> str:
        """What it is, in a line."""
        facts, size = self.record.frames, self.record.movie.size
        frames = f"{facts.frames} frames of {facts.width} x {facts.height}"
        return f"{frames}, {size / 1e6:.1f} MB in {self.seconds:.1f} s"

    def messages(self) -> Iterator[tuple[int, str]]:
        """What is to be logged of it: levels of the `logging` module, and lines."""
        for warning in self.record.warnings:
            yield logging.WARNING, f"{self.source}: {warning}"
        for note in self.record.notes:
            yield logging.INFO, f"{self.source}: {note}"
        yield logging.INFO, f"{self.source} -> {self.target}: {self.facts}"
        stages = ", ".join(f"{stage} {spent:.2f}" for stage, spent in self.record.seconds.items())
        yield logging.DEBUG, f"{self.source}: seconds of all threads: {stages}"

    def __repr__(self) -> str:
        return f"<Conversion {self.source} -> {self.target}: {self.facts}>"

    def _repr_html_(self) -> str:
        return in_html(self.target, self.record, str(self.source), self.facts)
