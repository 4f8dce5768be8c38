"""The worker threads of a run: order, precedence, and what waiting for a disk costs."""

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import faulty, frame_count, installed, voxels
from movies import write_mrc

from mrc2movie.workers import Workers, waiting

PATIENCE = 20
"""Seconds until a test gives up."""


def test_a_processor_is_not_idle_while_a_thread_waits_for_a_disk() -> None:
    read = threading.Event()

    def work(item: str) -> str:
        if item == "first":
            with waiting():
                assert read.wait(PATIENCE), "the second one had to wait as well"
        else:
            read.set()
        return item

    with Workers(1) as workers, workers.share() as share:
        assert list(share.map(lambda: work, ["first", "second"])) == ["first", "second"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_more_threads_work_than_there_are_processors_however_many_wait(count: int) -> None:
    working, most, lock = 0, 0, threading.Lock()

    def step(change: int) -> None:
        nonlocal working, most
        with lock:
            working += change
            most = max(most, working)

    def work(item: int) -> int:
        step(1)
        time.sleep(0.0005)
        step(-1)
        with waiting():
            time.sleep(0.001 * (item % 3))
        step(1)
        time.sleep(0.0005)
        step(-1)
        return item

    with Workers(count) as workers, workers.share() as share:
        assert list(share.map(lambda: work, range(40))) == list(range(40))
    assert most == count


def test_work_of_the_earliest_file_begins_first() -> None:
    begun: list[int] = []
    blocked, go_on = threading.Event(), threading.Event()

    def block(item: int) -> None:
        blocked.set()
        assert go_on.wait(PATIENCE)

    with Workers(1) as workers, workers.share(1) as second, workers.share(0) as first:
        busy = second.start(block, 0)
        assert blocked.wait(PATIENCE)
        pieces = [share.start(begun.append, rank) for rank, share in ((1, second), (0, first), (1, second), (0, first))]
        go_on.set()
        for piece in (busy, *pieces):
            piece.result(PATIENCE)
    assert begun == [0, 0, 1, 1]


@pytest.mark.parametrize("together", [1, 2, 5, 100])
def test_results_come_in_order_however_many_items_are_one_piece_of_work(together: int) -> None:
    made = itertools.count()

    def make_worker() -> Callable[[int], int]:
        next(made)
        return lambda item: item * item

    with Workers(3) as workers, workers.share() as share:
        assert list(share.map(make_worker, range(12), together)) == [item * item for item in range(12)]
    assert next(made) <= 3


def test_threads_that_wait_when_the_run_is_cancelled_still_end() -> None:
    waits, go_on = threading.Event(), threading.Event()

    def work(item: int) -> None:
        with waiting():
            waits.set()
            assert go_on.wait(PATIENCE)

    with Workers(1) as workers:
        piece = workers.share().start(work, 0)
        assert waits.wait(PATIENCE)
        workers.cancel()
        go_on.set()
    assert piece.result(PATIENCE) is None


def test_a_section_is_read_while_another_is_waited_for(tmp_path: Path) -> None:
    """A disk that gives the first section, after the header, only when another one is asked for as well."""
    source = write_mrc(tmp_path / "in.mrc", voxels(12, 64, 64))
    slow = faulty("read", "in.mrc", after=2, next=5, once="")
    result = installed(source, tmp_path / "out", "--jobs", "1", env=slow)
    assert result.returncode == 0, result.stderr
    assert frame_count(tmp_path / "out" / "in.avi") == 22
