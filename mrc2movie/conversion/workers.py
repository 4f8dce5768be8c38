"""Work in threads, results in order, memory bounded: the one helper for it."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 2
"""Items under way or waiting for each worker: one in work, one ready, so that no worker ever idles."""


class Workers:
    """A number of worker threads; leaving the context drops what has not begun and waits for the rest."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="mrc2movie")

    def map(self, make_worker: Callable[[], Callable[[Item], Result]], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the result for each item, in the order of the items.

        Args:
            make_worker: Called once in each thread; gives the function that this thread applies to items, which may
                own buffers.
            items: Taken one by one, in the calling thread, at most a few ahead of the result that is awaited.

        Raises:
            Exception: What the function raised, in place of the result.
        """
        thread = threading.local()

        def work(item: Item) -> Result:
            if not hasattr(thread, "worker"):
                thread.worker = make_worker()
            result: Result = thread.worker(item)
            return result

        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(self._pool.submit(work, item))
            if len(pending) == _AHEAD * self._count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def start(self, function: Callable[[Item], Result], item: Item) -> Future[Result]:
        """Begin a single piece of work beside that of the calling thread."""
        return self._pool.submit(function, item)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
