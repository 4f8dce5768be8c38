"""What a run tells of a movie that it is making: which it is, where, since when, and how far."""

import json
import math
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_RUN_BEGAN = time.time()


@dataclass(frozen=True)
class UnderWay:
    """A movie that is being made.

    Attributes:
        movie: Its name.
        source: The input.
        host: The name of the machine.
        process: The number of the process there.
        run_began: When the process began, in seconds since the epoch.
        began: When the movie was begun, so.
        stage: What is done with the sections now; empty before the first one.
        done: How much of the movie is done, from 0 to 1.
    """

    movie: str
    source: str
    host: str
    process: int
    run_began: float
    began: float
    stage: str = ""
    done: float = 0.0

    @classmethod
    def begins(cls, movie: Path, source: Path) -> "UnderWay":
        """A movie that this process begins now."""
        path = os.path.abspath(source)  # noqa: PTH100
        return cls(movie.name, path, platform.node(), os.getpid(), _RUN_BEGAN, time.time())

    @property
    def seconds(self) -> float:
        """Since the movie was begun."""
        return max(0.0, time.time() - self.began)

    def as_bytes(self) -> bytes:
        """As it is kept: a line of JSON in ASCII."""
        return (json.dumps(asdict(self)) + "\n").encode()

    @classmethod
    def of(cls, text: bytes) -> "UnderWay | None":
        """The one that is kept, which may be written just now; None where it makes no sense."""
        try:
            kept = json.loads(text.partition(b"\n")[0])
            movie, source, host, stage = (str(kept[name]) for name in ("movie", "source", "host", "stage"))
            run_began, began, done = (float(kept[name]) for name in ("run_began", "began", "done"))
            if not all(map(math.isfinite, (run_began, began, done))):
                return None
            return cls(movie, source, host, int(kept["process"]), run_began, began, stage, done)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None
