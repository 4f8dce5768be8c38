"""How long many nodes take for many files, by simulation: shares of `--shard`, and tasks of `--scheduler`.

    python tests/benchmarks/cluster.py [--files 10000] [--nodes 50] [--seed 0]

The files have sizes of a log-normal distribution (median 1 GB, a tenth above 3.6 GB). They are sparse and take no room;
the shares, and what a cluster is given when, are those of the program itself. What a file takes is its size, more or
less by a fifth (a standard deviation: nobody knows it before), and as much again as 20 MB. It prints the time until the
last node is done over that of work which could be divided at will, for nodes that are

- equal,
- unequal: speeds from 0.7 to 1.3,
- equal but for one, which has a quarter of the speed of the others.

A node of the scheduler has eight threads, which prefer its first file. On paper: the largest share has at most 4/3 of
the bytes of the largest in the best division. Under a scheduler no node ends later than the first one by more than it
needs for the files that it then holds.

The exit status is 1 where a bound is missed: 1.1 for the scheduler, 1.2 for shares on equal nodes.
"""

import argparse
import heapq
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mrc2movie.batch.cluster import Load, may_begin
from mrc2movie.batch.report import Job
from mrc2movie.batch.shards import largest_first, shares

MEDIAN_BYTES, SIGMA = 1e9, 1.0
NOISE = 0.2
BYTES_A_FILE = 20e6
THREADS = 8
MOST_SCHEDULER, MOST_SHARES = 1.1, 1.2


def sparse_files(directory: Path, sizes: Sequence[int]) -> list[Job]:
    """Jobs whose inputs have these sizes."""
    jobs = []
    for number, size in enumerate(sizes):
        source = directory / f"{number}.mrc"
        with source.open("wb") as file:
            file.truncate(size)
        jobs.append(Job(source, directory / "out" / f"{number}.avi", directory / "out"))
    return jobs


def time_by_shares(jobs: Sequence[Job], work: Sequence[float], speeds: Sequence[float]) -> float:
    """When the last node is done with its share."""
    loads = [0.0] * len(speeds)
    for position, share in shares(jobs, len(speeds)):
        loads[share - 1] += work[position]
    return max(load / speed for load, speed in zip(loads, speeds, strict=True))


def time_by_scheduler(jobs: Sequence[Job], work: Sequence[float], speeds: Sequence[float]) -> float:
    """When the last node is done, where the one that has fewest files gets the next as soon as it may begin."""
    files = deque((position, Load(1, size)) for position, size in largest_first(jobs))
    sizes = dict(largest_first(jobs))
    left, under_way = sum((file for _, file in files), Load()), Load()
    held = [0] * len(speeds)
    free_at = [0.0] * len(speeds)
    ends: list[tuple[float, int, int]] = []
    now = 0.0
    while left.files:
        while files and may_begin(files[0][1], under_way, left, len(speeds), THREADS * len(speeds)):
            position, file = files.popleft()
            node = held.index(min(held))
            held[node] += 1
            free_at[node] = max(now, free_at[node]) + work[position] / speeds[node]
            heapq.heappush(ends, (free_at[node], node, position))
            under_way += file
        now, node, position = heapq.heappop(ends)
        held[node] -= 1
        file = Load(1, sizes[position])
        under_way, left = under_way - file, left - file
    return now


def main() -> int:
    """Simulate, print, and hold against the bounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    sizes = [round(size) for size in random.lognormal(np.log(MEDIAN_BYTES), SIGMA, given.files)]
    work = [
        (size + BYTES_A_FILE) * noise
        for size, noise in zip(sizes, random.lognormal(0, NOISE, given.files), strict=True)
    ]
    speeds = {
        "equal": [1.0] * given.nodes,
        "0.7 to 1.3": list(random.uniform(0.7, 1.3, given.nodes)),
        "one at 0.25": [0.25] + [1.0] * (given.nodes - 1),
    }
    missed = False
    with tempfile.TemporaryDirectory() as directory:
        jobs = sparse_files(Path(directory), sizes)
        print(f"{given.files} files of {sum(sizes) / 1e12:.1f} TB, the largest {max(sizes) / 1e9:.0f} GB")
        print(f"{'nodes':<12} {'shards':>8} {'scheduler':>10}   (time over that of work divided at will)")
        for name, speed in speeds.items():
            ideal = sum(work) / sum(speed)
            by_shares = time_by_shares(jobs, work, speed) / ideal
            by_scheduler = time_by_scheduler(jobs, work, speed) / ideal
            print(f"{name:<12} {by_shares:8.3f} {by_scheduler:10.3f}")
            missed |= by_scheduler > MOST_SCHEDULER or (name == "equal" and by_shares > MOST_SHARES)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
