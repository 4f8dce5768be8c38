"""A job as a task on a Dask worker: with the threads of the worker, which its tasks share."""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mrc2movie.batch.decide import may_crash
from mrc2movie.batch.report import Job, Message, Outcome
from mrc2movie.errors import OutputError
from mrc2movie.options.settings import Settings
from mrc2movie.store.claim import lost_turns
from mrc2movie.store.turn import Turn
from mrc2movie.version import __version__
from mrc2movie.workers import Workers

Convert = Callable[..., Outcome]
"""Does one job: `convert_job` of `mrc2movie.batch.run`."""

FilesAtOnce = Callable[[Settings, int], int]
"""How many files may be under way with so many threads."""


class UnfitWorker(RuntimeError):
    """A worker that came after the run began, and cannot do its files.

    Args:
        worker: Its address.
        why: What is wrong with it.
        unseen: What it does not see of the files, if that is it.
    """

    def __init__(self, worker: str, why: str, unseen: Path | None = None) -> None:
        super().__init__(worker, why, unseen)
        self.worker = worker
        self.why = why
        self.unseen = unseen

    def __str__(self) -> str:
        return f"worker {self.worker} {self.why}"


def convert_on_worker(
    convert: Convert,
    files_at_once: FilesAtOnce,
    version: str,
    job: Job,
    rank: int,
    settings: Settings,
    unmade: OutputError | None,
    turn: Turn,
) -> Outcome:
    """Do one job as a task.

    Args:
        convert: Does it.
        files_at_once: How many files may be under way in this process.
        version: Of this package, where the run was begun.
        job: The job, with absolute paths.
        rank: Its place in the order of the run: the threads prefer the first.
        settings: All options.
        unmade: Why the output directory cannot be made, if so.
        turn: Of the run: the task may have been begun on a worker that was lost.

    Raises:
        UnfitWorker: The worker has another version of this package, or does not see the files.
    """
    from distributed import get_worker

    worker = get_worker()
    if version != __version__:
        raise UnfitWorker(worker.address, f"has mrc2movie {__version__}, and this run {version}")
    for path in (job.output_directory, job.source):
        if not (unmade or job.refusal or os.path.lexists(path)):
            raise UnfitWorker(worker.address, f"does not see {path}", path)
    threads = settings.jobs or worker.state.nthreads
    gate: _Gate = vars(worker).setdefault("mrc2movie_gate", _Gate())
    alone = may_crash(job, settings) or lost_turns(job.target, turn) > 0
    with gate.entered(threads, files_at_once(settings, threads), alone) as workers, _keeping_messages() as kept:
        outcome = convert(job, settings, workers.share(rank), lambda *_: None, unmade, {}, turn)
    return replace(outcome, messages=(*kept, *outcome.messages))


@contextmanager
def _keeping_messages() -> Iterator[Sequence[Message]]:
    """Keep what this thread logs, tracebacks line by line: the log is where the run was begun."""
    package = logging.getLogger("mrc2movie")
    package.setLevel(logging.DEBUG)
    handler = _Keeper()
    package.addHandler(handler)
    try:
        yield handler.kept
    finally:
        package.removeHandler(handler)


class _Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Message] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.kept += [Message(record.levelno, line) for line in self.format(record).splitlines()]


class _Gate:
    """What the tasks of a Dask worker share: its threads, and how many files may be under way.

    A file that may end the process is under way alone, so that it is known which file it was.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = 0
        self._workers = Workers(1)

    @contextmanager
    def entered(self, threads: int, at_once: int, alone: bool) -> Iterator[Workers]:
        """Wait until a file may begin; the first one inside brings the threads, and the last one ends them."""
        with self._changed:
            self._alone += alone
            self._changed.wait_for(lambda: not self._inside or not (alone or self._alone or self._inside >= at_once))
            if not self._inside:
                self._workers = Workers(threads).__enter__()
            self._inside += 1
        try:
            yield self._workers
        finally:
            with self._changed:
                self._alone -= alone
                self._inside -= 1
                if not self._inside:
                    self._workers.__exit__(None, None, None)
                self._changed.notify_all()
