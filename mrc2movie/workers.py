"""The worker threads of a run: work in threads, results in order, memory bounded, the earliest file first."""

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Generic, TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 2
"""Pieces of work of a file under way or waiting for each processor: one in work, one ready, so that none idles."""

_THREADS = 3
"""For each processor: one that works, and those that wait for a disk."""


class Workers:
    """A number of worker threads, which all files of a run share; a context manager.

    A thread that waits for a disk gives its processor to another one, see `waiting`: a few more threads than processors
    may be there, and never do more of them work at once.

    Leaving the context drops what has not begun and waits for the rest. Meanwhile OpenCV starts no threads of its own.

    Args:
        count: How many work at once.

    Attributes:
        count: How many work at once.
        cancelled: Whether nothing more is begun.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._queue: list[tuple[int, int, Future[Any], Callable[[], Any]]] = []
        lock = threading.Lock()
        self._submitted = threading.Condition(lock)
        self._processor_free = threading.Condition(lock)
        self._serial = itertools.count()
        self._threads: list[threading.Thread] = []
        self._working = self._idle = self._returning = 0
        self.cancelled = False

    def share(self, rank: int = 0) -> "Share":
        """What one file uses of them.

        Args:
            rank: Work of a lower rank is begun first: the number of the file among those of the run.
        """
        return Share(self, rank)

    def submit(self, rank: int, function: Callable[[], Result]) -> "Future[Result]":
        """Do a piece of work as soon as a processor is free.

        Raises:
            CancelledError: The run is ending.
        """
        future: Future[Result] = Future()
        with self._submitted:
            if self.cancelled:
                raise CancelledError
            heapq.heappush(self._queue, (rank, next(self._serial), future, function))
            self._use_free_processor()
        return future

    def _use_free_processor(self) -> None:
        """Let a thread go on that comes back from waiting, else one begin what is in the queue; under the lock."""
        free = self.count - self._working
        if self._returning and free:
            self._processor_free.notify()
        elif (wanted := min(len(self._queue), free)) > self._idle and len(self._threads) < _THREADS * self.count:
            thread = threading.Thread(target=self._work, name=f"mrc2movie worker {len(self._threads)}")
            thread.start()
            self._idle += 1
            self._threads.append(thread)
        elif wanted:
            self._submitted.notify()

    def _work(self) -> None:
        _thread.workers = self
        while True:
            with self._submitted:
                while not (self._queue and self._working + self._returning < self.count) and not self.cancelled:
                    self._submitted.wait()
                self._idle -= 1
                if not self._queue:
                    return
                *_, future, function = heapq.heappop(self._queue)
                self._working += 1
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)
            del future, function  # they may hold megabytes until the next piece of work arrives
            with self._submitted:
                self._working -= 1
                self._idle += 1
                if self._returning:
                    self._use_free_processor()

    def give_processor(self) -> None:
        """Let another worker thread go on in place of this one."""
        with self._submitted:
            self._working -= 1
            self._use_free_processor()

    def take_processor(self) -> None:
        """Wait until a processor is free for this worker thread."""
        with self._submitted:
            self._returning += 1
            while self._working == self.count:
                self._processor_free.wait()
            self._returning -= 1
            self._working += 1
            self._use_free_processor()

    def cancel(self) -> None:
        """Drop what has not begun, and begin nothing more; from any thread."""
        with self._submitted:
            self.cancelled = True
            dropped, self._queue = self._queue, []
            self._submitted.notify_all()
        for _, _, future, _ in dropped:
            future.cancel()

    def __enter__(self) -> "Workers":
        _opencv_threads.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.cancel()
            for thread in self._threads:
                thread.join()
        finally:
            _opencv_threads.give_back()


_thread = threading.local()


@contextmanager
def waiting() -> Iterator[None]:
    """Around what waits for a disk: in a worker thread another piece of work gets the processor meanwhile."""
    workers: Workers | None = getattr(_thread, "workers", None)
    if workers is None:
        yield
        return
    workers.give_processor()
    try:
        yield
    finally:
        workers.take_processor()


class Share:
    """What one file uses of the workers of a run; a context manager.

    Leaving the context drops what has not begun and waits for the rest: after it no thread touches the file.

    Args:
        workers: Those of the run.
        rank: Of the file.
    """

    def __init__(self, workers: Workers, rank: int) -> None:
        self.count = workers.count
        self._workers = workers
        self._rank = rank
        self._pending: set[Future[Any]] = set()

    def start(self, function: Callable[[Item], Result], item: Item) -> "Future[Result]":
        """Begin a single piece of work beside that of the calling thread.

        Raises:
            CancelledError: The run is ending.
        """
        future = self._workers.submit(self._rank, lambda: function(item))
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return future

    def map(
        self, make_worker: Callable[[], Callable[[Item], Result]], items: Iterable[Item], together: int = 1
    ) -> Iterator[Result]:
        """Yield the result for each item, in the order of the items.

        Args:
            make_worker: Gives a function of an item, which may own buffers: no two threads call it at once.
            items: Taken one by one, in the calling thread, at most a few ahead of the result that is awaited.
            together: So many become one piece of work, where one alone hardly takes longer than to hand it over.

        Raises:
            CancelledError: The run is ending.
            Exception: What the function raised, in place of the result.
        """
        spare = Spare(make_worker)

        def work(piece: Sequence[Item]) -> list[Result]:
            worker = spare.take()
            done = [worker(item) for item in piece]
            spare.put_back(worker)
            return done

        items = iter(items)
        results: deque[Future[list[Result]]] = deque()
        while piece := tuple(itertools.islice(items, together)):
            results.append(self.start(work, piece))
            if len(results) == _AHEAD * self.count:
                yield from results.popleft().result()
        while results:
            yield from results.popleft().result()

    def __enter__(self) -> "Share":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wait([future for future in list(self._pending) if not future.cancel()])


class Spare(Generic[Item]):
    """What threads use one at a time and one after the other, such as a buffer: made anew only where none is spare.

    Args:
        make: Makes one.
    """

    def __init__(self, make: Callable[[], Item]) -> None:
        self._make = make
        self._spare: list[Item] = []

    def take(self) -> Item:
        """One for the calling thread alone."""
        try:
            return self._spare.pop()
        except IndexError:
            return self._make()

    def put_back(self, one: Item) -> None:
        """Leave it to other threads; not after an error."""
        self._spare.append(one)


class _OpenCvThreads:
    """The workers are the threads: OpenCV must not start its own inside each, as long as any workers are there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 0

    def take(self) -> None:
        with self._lock:
            if not self._users:
                self._before = cv2.getNumThreads()
                cv2.setNumThreads(1)
            self._users += 1

    def give_back(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                cv2.setNumThreads(self._before)


_opencv_threads = _OpenCvThreads()
