"""The jobs of a run as tasks of a Dask cluster: the largest first, no more at a time than keeps the workers busy."""

import logging
import os
import queue
import time
import uuid
from collections import Counter, deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mrc2movie.batch.report import Job, Outcome, Status
from mrc2movie.batch.shards import largest_first
from mrc2movie.batch.task import Convert, FilesAtOnce, UnfitWorker, convert_on_worker
from mrc2movie.errors import OutputError
from mrc2movie.options.settings import Settings
from mrc2movie.store.turn import Turn
from mrc2movie.version import __version__

if TYPE_CHECKING:
    from distributed import Client, Future

logger = logging.getLogger("mrc2movie.batch.cluster")

_RETRIES = 3
"""So often a task is tried elsewhere where a worker cannot run it at all."""
_LOOK_SECONDS = 1.0
"""How often it is looked which workers are there."""


@dataclass(frozen=True)
class Load:
    """How many files there are, and their bytes."""

    files: int = 0
    size: int = 0

    def __add__(self, other: "Load") -> "Load":
        return Load(self.files + other.files, self.size + other.size)

    def __sub__(self, other: "Load") -> "Load":
        return Load(self.files - other.files, self.size - other.size)


def may_begin(file: Load, under_way: Load, left: Load, workers: int, threads: int) -> bool:
    """Whether another file may be given to a cluster.

    A worker holds on to what it was given. So it gets two files, and more only as long as all that is under way is a
    small part of what is left: at the end none waits long for a slow worker that has several of the largest. This is
    guided self-scheduling (Polychronopoulos and Kuck 1987).

    Args:
        file: The next one.
        under_way: What the workers have.
        left: That, and all that is not begun.
        workers: How many there are.
        threads: How many they have together.
    """
    if under_way.files < _FILES_A_WORKER * max(1, workers):
        return True
    return under_way.files < workers + threads and (under_way + file).size <= left.size * _PART_UNDER_WAY


_FILES_A_WORKER = 2
_PART_UNDER_WAY = 1 / 32


@dataclass(frozen=True)
class _File:
    position: int
    load: Load
    rank: int


class _SchedulerGone(Exception):
    """It has lost or dropped the tasks of this run."""


class Cluster:
    """The workers of a scheduler.

    Args:
        client: Connected to it.
        address: Of the scheduler.

    Attributes:
        turn: That of its tasks: a worker may be lost, and the task begun again on another.
    """

    def __init__(self, client: "Client", address: str) -> None:
        self._client = client
        self._address = address
        self.turn = Turn(f"scheduler {uuid.uuid4().hex}")
        self._workers: dict[str, int] = dict(client.nthreads())
        self._unfit: set[str] = set()
        self._looked = time.monotonic()
        self._under_way: dict[Future[Outcome], _File] = {}
        self._load = Load()
        self._tasks_done: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()
        self._killed: Counter[_File] = Counter()
        self._cancelled = False

    @property
    def threads(self) -> int:
        """Those of all workers that are there."""
        return sum(self._workers.values())

    def outcomes(
        self,
        jobs: Sequence[Job],
        settings: Settings,
        convert: Convert,
        files_at_once: FilesAtOnce,
        unmade: Mapping[Path, OutputError],
    ) -> Generator[tuple[int, Outcome], None, None]:
        """Have the jobs done, the largest file first, and yield positions and outcomes as they arrive.

        Args:
            jobs: With absolute paths.
            settings: All options.
            convert: Does one job.
            files_at_once: How many files a worker may have under way.
            unmade: Why output directories cannot be made.
        """
        if not self._workers:
            logger.warning("the scheduler at %s has no workers yet: waiting for them", self._address)
        waiting = deque(_File(at, Load(1, size), rank) for rank, (at, size) in enumerate(largest_first(jobs)))
        left = sum((file.load for file in waiting), Load())
        try:
            while self._under_way or (waiting and not self._cancelled):
                while waiting and not self._cancelled and self._has_room(waiting[0], left):
                    file = waiting.popleft()
                    job = jobs[file.position]
                    why_not = unmade.get(job.output_directory)
                    self._submit(
                        file, (convert, files_at_once, __version__, job, file.rank, settings, why_not, self.turn)
                    )
                if (task := self._finished()) is None:
                    continue
                file = self._under_way.pop(task)
                self._load -= file.load
                outcome = self._outcome(task, file, jobs[file.position])
                if outcome is None:
                    waiting.appendleft(file)
                    continue
                left -= file.load
                yield file.position, outcome
        except _SchedulerGone:
            what = "the scheduler at %s is gone, or has dropped its tasks (%d not begun); the same command carries on"
            logger.error(what, self._address, left.files)
            return

    def _submit(self, file: _File, arguments: Sequence[object]) -> None:
        task = self._client.submit(
            convert_on_worker,
            *arguments,
            key=f"mrc2movie-{uuid.uuid4().hex}",
            priority=-file.rank,
            retries=_RETRIES,
            workers=list(self._workers) if self._unfit else None,
            pure=False,
        )
        self._under_way[task] = file
        self._load += file.load
        task.add_done_callback(self._tasks_done.put)

    def _finished(self) -> "Future[Outcome] | None":
        """The next task that is done; None where it is time to look for more workers."""
        with suppress(queue.Empty):
            return self._tasks_done.get(timeout=_LOOK_SECONDS)
        if not self._under_way and self._client.status != "running":
            raise _SchedulerGone
        return None

    def _outcome(self, task: "Future[Outcome]", file: _File, job: Job) -> Outcome | None:
        """What became of a file; None where it is to be tried again."""
        from distributed import CancelledError, KilledWorker

        try:
            return task.result()
        except CancelledError as error:
            if not self._cancelled:
                raise _SchedulerGone from error
            return Outcome(job, Status.NOT_BEGUN)
        except UnfitWorker as error:
            if error.unseen is None or os.path.lexists(error.unseen):
                self._leave_out(error)
                return None
            why: Exception = error  # nobody sees it any more
        except KilledWorker as error:
            # A file that ends its workers is refused before this, see `refuse_if_lost`. Dask blames all files that were
            # there or waited there.
            self._killed[file] += 1
            if self._killed[file] <= _RETRIES:
                return None
            why = error
        except Exception as error:
            if task.status != "error":  # it is done, and nobody can hand out its result
                raise _SchedulerGone from error
            why = error
        return Outcome(job, Status.FAILED, f"{job.source}: no worker could convert it ({why})")

    def _has_room(self, file: _File, left: Load) -> bool:
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            with suppress(OSError, RuntimeError):  # the scheduler is gone, as its tasks will show
                self._workers = {name: n for name, n in self._client.nthreads().items() if name not in self._unfit}
            self._looked = time.monotonic()
        if self._unfit and not self._workers:
            return False
        return may_begin(file.load, self._load, left, len(self._workers), self.threads)

    def _leave_out(self, error: UnfitWorker) -> None:
        """Give a worker nothing more: it would be done with its files in no time, and so get all of them."""
        if error.worker not in self._unfit:
            logger.warning("worker %s is left out: it %s", error.worker, error.why)
        self._unfit.add(error.worker)
        self._workers.pop(error.worker, None)

    def cancel(self) -> None:
        """Let no more tasks begin."""
        self._cancelled = True
        self._client.cancel(list(self._under_way))
