"""The installed command as a process: under faults and limits, and what it may leave."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from movies import write_mrc
from numpy.typing import NDArray

COMMAND = Path(sys.executable).with_name("mrc2movie")
HIDDEN = ".mrc2movie-"
"""What the names of unfinished files begin with."""

WAYS = ("avi", "mp4", "mov", "mkv", "webm", "gif", "avi --codec FFV1", "mp4 --small")
"""Every format, and every kind of writer."""


def way_options(way: str) -> list[str]:
    """The options of one of `WAYS`."""
    return ["--format", *way.split()]


def voxels(sections: int = 6, rows: int = 32, columns: int = 48, seed: int = 0) -> NDArray[np.int16]:
    """(z, y, x) noise on a ramp."""
    noise = np.random.default_rng(seed).normal(0, 100, (sections, rows, columns))
    return (noise + np.linspace(0, 1000, columns)).astype(np.int16)


def stacks(directory: Path, count: int, **shape: int) -> Path:
    """A directory of so many files, all different."""
    directory.mkdir()
    for number in range(count):
        write_mrc(directory / f"{number}.mrc", voxels(**shape, seed=number))
    return directory


def installed(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """The installed command, to its end."""
    return subprocess.run([COMMAND, *words], capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload, no-any-return]


def started(*words: str | Path, **options: object) -> "subprocess.Popen[str]":
    """The installed command, under way."""
    return subprocess.Popen([COMMAND, *words], stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload, no-any-return]


def wait_for(mark: Path, process: "subprocess.Popen[Any]") -> None:
    """Wait until the fault begins; see `FAULT_MARK` in faults.c."""
    while not mark.exists():
        time.sleep(0.002)
        assert process.poll() is None, "it ended before it came so far"


def limited(megabytes: int) -> Callable[[], None]:
    """For `preexec_fn`: the process gets no more address space; skips the test where there is no such limit."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux limits the address space")
    import resource  # not on Windows

    return lambda: resource.setrlimit(resource.RLIMIT_AS, (megabytes * 2**20,) * 2)


def closing_line(result: subprocess.CompletedProcess[str]) -> str:
    """The last line that was said."""
    return result.stderr.splitlines()[-1] if result.stderr else ""


def frame_count(movie: Path) -> int:
    """How many frames of a movie decode; any damage is an error."""
    with av.open(str(movie)) as container:
        return sum(1 for _ in container.decode(video=0))


def unfinished(directory: Path) -> list[str]:
    """The names of what was not finished, anywhere below a directory."""
    found = []
    for root, directories, files in os.walk(directory):  # unlike `rglob`, passes what vanishes meanwhile
        found += [Path(root, name).relative_to(directory) for name in (*directories, *files) if name.startswith(HIDDEN)]
    return sorted(map(str, found))


def movies_in(directory: Path) -> dict[str, Path]:
    """The movies of a directory by name."""
    kinds = {f".{way.split()[0]}" for way in WAYS}
    found = directory.iterdir() if directory.is_dir() else iter(())
    return {path.name: path for path in found if path.suffix in kinds}


def tree(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below a directory with its inode, size and time of last change."""
    entries = [directory, *directory.rglob("*")]
    found = ((path, path.lstat()) for path in entries)
    return {str(path): (status.st_ino, status.st_size, status.st_mtime_ns) for path, status in found}


@functools.cache
def fault_library() -> Path:
    """The library of faults, compiled; skips the test where there is no compiler for it."""
    compiler = shutil.which("cc")
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip("no C compiler (cc) on Linux for the library that injects faults")
    directory = Path(tempfile.mkdtemp(prefix="mrc2movie-faults-"))
    library = directory / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lm"], check=True)
    return library


def faulty(call: str, match: str, after: int = 0, **what: object) -> dict[str, str]:
    """The environment in which a kind of system call fails; see faults.c."""
    given = {"call": call, "match": match, "after": after, **what}
    faults = {f"FAULT_{name.upper()}": str(value) for name, value in given.items()}
    return {**os.environ, "LD_PRELOAD": str(fault_library()), **faults}


@contextmanager
def mounted(place: Path, *words: str) -> Iterator[Path]:
    """A file system of our own, for as long as the block lasts; skips the test where it cannot be mounted."""
    place.mkdir(exist_ok=True)
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, *words, place], capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
