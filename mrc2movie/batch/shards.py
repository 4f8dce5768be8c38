"""Which of the planned files a process takes, where several nodes share them: equal loads, known without a word."""

import heapq
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from mrc2movie.batch.report import Job
from mrc2movie.errors import UsageError


def share_of(jobs: Sequence[Job], shard: str | None) -> Sequence[Job]:
    """The jobs of one share, in their order: all where there are no shares, maybe none where there are many.

    The largest file goes first, each to the share that has least: no share is then more than a third above the best
    that is possible (Graham 1969, Bounds on multiprocessing timing anomalies). Files that are finished already count
    like all others, so that every node finds the same shares whenever it begins.

    Args:
        jobs: All that are planned, in any order.
        shard: The option.

    Raises:
        UsageError: The numbers are to come from a task of a Slurm job array, and this is none.
    """
    if shard is None:
        return jobs
    number, count = numbers_of(shard, os.environ)
    mine = {position for position, share in shares(jobs, count) if share == number}
    return [job for position, job in enumerate(jobs) if position in mine]


def shares(jobs: Sequence[Job], count: int) -> Iterator[tuple[int, int]]:
    """The positions of all jobs, the largest first, and the share of each, counted from 1."""
    loads = [(0, 0, share) for share in range(1, count + 1)]  # bytes, files, share: a heap as it stands
    for position, size in largest_first(jobs):
        load, files, share = loads[0]
        heapq.heapreplace(loads, (load + size, files + 1, share))
        yield position, share


def largest_first(jobs: Sequence[Job]) -> Sequence[tuple[int, int]]:
    """The positions and sizes in bytes of all jobs, the largest first, equal ones by name."""

    def order(found: tuple[int, int]) -> tuple[int, str, str]:
        position, size = found
        return -size, str(jobs[position].source), jobs[position].series

    return sorted(((position, _size(job)) for position, job in enumerate(jobs)), key=order)


def numbers_of(shard: str, environment: Mapping[str, str]) -> tuple[int, int]:
    """Which share it is, counted from 1, and of how many.

    Raises:
        UsageError: See `share_of`.
    """
    if shard != "slurm":
        number, _, count = shard.partition("/")
        return int(number), int(count)
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP")
    try:
        task, tasks, first, step = (int(environment[name]) for name in names)
    except (KeyError, ValueError):
        missing = ", ".join(name for name in names if not environment.get(name, "").isdecimal())
        advice = "submit a job array (sbatch --array=1-8 ...), or give --shard I/N"
        raise UsageError(f"--shard slurm: this is no task of a Slurm job array ({missing} missing)", advice) from None
    place, rest = divmod(task - first, step or 1)
    if rest or not 0 <= place < tasks:
        what = f"the {tasks} tasks of the array are not evenly spaced, so that task {task} has no place among them"
        raise UsageError(f"--shard slurm: {what}", "submit one such as --array=1-8, or give --shard I/N")
    return place + 1, tasks


def _size(job: Job) -> int:
    """Bytes; 0 for what cannot be tried."""
    with suppress(OSError):
        return 0 if job.refusal else os.stat(job.source).st_size  # noqa: PTH116
    return 0
