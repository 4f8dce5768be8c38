"""The worker threads of a run: work in threads, results in order, memory bounded, the earliest file first."""

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, wait
from types import TracebackType
from typing import Any, TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 2
"""Items under way or waiting for each worker: one in work, one ready, so that no worker ever idles."""


class Workers:
    """A number of worker threads, which all files of a run share; a context manager.

    Leaving the context drops what has not begun and waits for the rest. Meanwhile OpenCV starts no threads of its own.

    Args:
        count: Threads.

    Attributes:
        count: Threads.
        cancelled: Whether nothing more is begun.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._queue: list[tuple[int, int, Future[Any], Callable[[], Any]]] = []
        self._changed = threading.Condition()
        self._serial = itertools.count()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self.cancelled = False

    def share(self, rank: int = 0) -> "Share":
        """What one file uses of them.

        Args:
            rank: Work of a lower rank is begun first: the number of the file among those of the run.
        """
        return Share(self, rank)

    def submit(self, rank: int, function: Callable[[], Result]) -> "Future[Result]":
        """Do a piece of work as soon as a thread is free.

        Raises:
            CancelledError: The run is ending.
        """
        future: Future[Result] = Future()
        with self._changed:
            if self.cancelled:
                raise CancelledError
            heapq.heappush(self._queue, (rank, next(self._serial), future, function))
            if len(self._queue) > self._idle and len(self._threads) < self.count:
                thread = threading.Thread(target=self._work, name=f"mrc2movie worker {len(self._threads)}")
                thread.start()
                self._threads.append(thread)
            else:
                self._changed.notify()
        return future

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._queue and not self.cancelled:
                    self._changed.wait()
                self._idle -= 1
                if not self._queue:
                    return
                *_, future, function = heapq.heappop(self._queue)
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)
            del future, function  # they may hold megabytes until the next piece of work arrives

    def cancel(self) -> None:
        """Drop what has not begun, and begin nothing more; from any thread."""
        with self._changed:
            self.cancelled = True
            dropped, self._queue = self._queue, []
            self._changed.notify_all()
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

    def map(self, make_worker: Callable[[], Callable[[Item], Result]], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the result for each item, in the order of the items.

        Args:
            make_worker: Called once in each thread; gives the function that this thread applies to items, which may
                own buffers.
            items: Taken one by one, in the calling thread, at most a few ahead of the result that is awaited.

        Raises:
            CancelledError: The run is ending.
            Exception: What the function raised, in place of the result.
        """
        thread = threading.local()

        def work(item: Item) -> Result:
            if not hasattr(thread, "worker"):
                thread.worker = make_worker()
            result: Result = thread.worker(item)
            return result

        results: deque[Future[Result]] = deque()
        for item in items:
            results.append(self.start(work, item))
            if len(results) == _AHEAD * self.count:
                yield results.popleft().result()
        while results:
            yield results.popleft().result()

    def __enter__(self) -> "Share":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wait([future for future in list(self._pending) if not future.cancel()])


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
