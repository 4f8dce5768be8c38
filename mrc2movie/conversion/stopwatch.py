"""Where the time of a conversion goes."""

import threading
import time
from collections import defaultdict
from types import TracebackType


class Stopwatch:
    """Adds up the seconds that the threads spend in each stage."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def stage(self, name: str) -> "_Stage":
        """A context manager: the time of its block counts for a stage."""
        return _Stage(self, name)

    def add(self, name: str, seconds: float) -> None:
        """Count seconds for a stage, from any thread."""
        with self._lock:
            self.seconds[name] += seconds


class _Stage:
    """A block of a stage; a generator as a context manager takes five times as long, and each section has several."""

    __slots__ = ("_begin", "_name", "_watch")

    def __init__(self, watch: Stopwatch, name: str) -> None:
        self._watch = watch
        self._name = name

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.add(self._name, time.perf_counter() - self._begin)
