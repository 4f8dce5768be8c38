"""Thousands of small files under faults for minutes: nothing grows, and all is right in the end.

A minute by default; ``MRC2MOVIE_SOAK_MINUTES=10`` makes it ten, with 5,000 files. ``-s`` shows the figures.
"""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from faults import COMMAND, HIDDEN, faulty, frame_count, installed, movies_in, unfinished
from mrc_bytes import mrc, write
from test_neighbours import BROKEN

pytestmark = [
    pytest.mark.large,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, and preloads a library"),
]

MINUTES = float(os.environ.get("MRC2MOVIE_SOAK_MINUTES", "1"))
FILES_AT_ONCE = 3
"""Under way with two threads."""
FILES = 5000 if MINUTES > 1 else 500

LONG_RUN = """
import json, os, sys, time
from pathlib import Path
from mrc2movie.cli import main

def threads():
    # Those that remain: one that has been joined is still seen for a moment.
    counts = []
    for _ in range(10):
        time.sleep(0.005)
        counts.append(len(os.listdir("/proc/self/task")))
    return min(counts)

end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    for part in range(10):
        status = main([*sys.argv[2:], "--pattern", f"*{part}.mrc", "--overwrite", "--quiet"])
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        print(json.dumps({
            "status": status,
            "megabytes": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
            "threads": threads(),
            "descriptors": len(os.listdir("/proc/self/fd")),
        }), flush=True)
"""
"""Converts everything again and again in one process, and tells what that holds after each part."""


def disturbed(words: list[str | Path], source: Path, chance: random.Random) -> str:
    """Another run on the same directories meets one fault; returns which."""
    kind = chance.choice(["kill", "interrupt", "terminate", "no space", "I/O error", "rename", "change"])
    environment = {
        "no space": faulty("write", ".mrc2movie-", after=3000, error=errno.ENOSPC),
        "I/O error": faulty("fsync", ".mrc2movie-", error=errno.EIO),
        "rename": faulty("rename", ".mrc2movie-", error=errno.EIO),
    }.get(kind, dict(os.environ))
    part = f"*{chance.randrange(100)}.mrc"
    options = ("--overwrite", "--pattern", part)
    with subprocess.Popen([COMMAND, *words, *options], stderr=subprocess.DEVNULL, env=environment) as other:
        time.sleep(chance.uniform(0.1, 0.8))
        if kind == "change":
            path = source / f"{chance.randrange(0, FILES, 3)}.mrc"
            write(path, mrc(np.full((4, 16, 16), 7) + np.arange(4)[:, None, None], 1))
        elif kind in ("kill", "interrupt", "terminate"):
            other.send_signal({"kill": signal.SIGKILL, "interrupt": signal.SIGINT}.get(kind, signal.SIGTERM))
    return kind


def test_nothing_grows_while_everything_goes_wrong(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    ways = list(BROKEN.values())
    good = 0
    for number in range(FILES):
        if number % 3 == 1:
            ways[number // 3 % len(ways)](source / f"{number}.mrc")
        else:
            good += 1
            write(source / f"{number}.mrc", mrc(np.arange(4 * 16 * 16).reshape(4, 16, 16) + number, 1))
    words: list[str | Path] = [source, out, "--jobs", "2", "--thumbnail"]
    chance = random.Random(6)
    faults: Counter[str] = Counter()
    leftovers = []
    long_run = [sys.executable, "-c", LONG_RUN, str(MINUTES * 60), *words]
    with (tmp_path / "samples").open("w+") as told:
        with subprocess.Popen(long_run, stdout=told, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None:
                faults[disturbed(words, source, chance)] += 1
                leftovers.append(sum(path.name.startswith(HIDDEN) for path in out.iterdir()))
        assert process.returncode == 0
        told.seek(0)
        samples = [json.loads(line) for line in told]
    last = installed(*words)
    assert last.returncode == 1  # the broken files
    assert f"{FILES - good} failed" in last.stderr.splitlines()[-1]
    early, late = samples[min(10, len(samples) // 4)], samples[-1]
    print(f"\n{FILES} files, {len(samples)} rounds of a tenth of them, faults: {dict(faults)}")
    print(
        f"early {early}\nlate  {late}\nhidden directories at once: {max(leftovers)}, in the end {len(unfinished(out))}"
    )
    assert {sample["status"] for sample in samples} <= {0, 1}
    assert late["megabytes"] < early["megabytes"] * 1.1 + 5
    assert late["threads"] <= early["threads"]
    assert late["descriptors"] <= early["descriptors"]
    most = 2 * (FILES_AT_ONCE + 1)  # of the long run and of a killed one, each with one that it was just preparing
    assert max(leftovers[len(leftovers) // 2 :]) <= most
    assert unfinished(out) == []
    assert len(movies_in(out)) == good
    for movie in movies_in(out).values():
        assert frame_count(movie) == 6
        assert movie.with_suffix(".png").stat().st_size
