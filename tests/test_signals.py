"""Ctrl-C and SIGTERM: in every phase the first ends the run within half a second, and says how to resume."""

import gzip
import os
import pty
import random
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from faults import COMMAND, WAYS, faulty, installed, stacks, started, unfinished, voxels, wait_for, way_options
from movies import run, thinned, write_mrc
from mrc_bytes import header

from mrc2movie.interruption import Stopped, stopping_on_signals

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no such signals on Windows")

SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
SECONDS = 0.5
RESUME = "the same command again carries on"

PHASES = {
    # What hangs: a call, the files, and how many calls go well before.
    "planning": ("list", "/in", 0),
    "looking for what dead runs left": ("list", "/out", 0),
    "preparing the claim": ("create", ".mrc2movie-", 0),
    "claiming": ("rename", ".mrc2movie-", 0),
    "opening": ("read", "0.mrc", 0),
    "unpacking": ("read", "packed.mrc", 3),
    "turning": ("read", "0.mrc", 5),
    "measuring": ("read", "0.mrc", 5),
    "converting": ("read", "0.mrc", 15),
    "writing": ("write", ".mrc2movie-", 20_000),
    "verifying": ("read", ".mrc2movie-", 1),
    "flushing": ("fsync", ".mrc2movie-", 0),
    "moving the record": ("rename", ".mrc2movie-", 1),
    "moving the movie": ("rename", ".mrc2movie-", 2),
}


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a file that takes a second or more."""
    directory = tmp_path_factory.mktemp("long") / "in"
    directory.mkdir()
    sections = (voxels(5, 800, 800) // 20).astype(np.int8).tobytes()
    (directory / "long.mrc").write_bytes(header(800, 800, 400, 0) + 80 * sections)
    return directory


@pytest.mark.parametrize(
    ("phase", "number", "status", "what"),
    [
        pytest.param(phase, *each, marks=[pytest.mark.large] if (2 * place + turn) % 5 else [])  # some by default
        for place, phase in enumerate(PHASES)
        for turn, each in enumerate(SIGNALS)
    ],
)
def test_a_signal_ends_the_run_soon_even_where_a_disk_hangs(
    tmp_path: Path, phase: str, number: signal.Signals, status: int, what: str
) -> None:
    source, out, mark = tmp_path / "in", tmp_path / "out", tmp_path / "mark"
    if phase == "unpacking":
        source.mkdir()
        plain = write_mrc(tmp_path / "plain", voxels(60, 200, 200))
        (source / "packed.mrc.gz").write_bytes(gzip.compress(plain.read_bytes(), 1))
    else:
        stacks(source, 1, sections=10, rows=64, columns=64)
    call, match, after = PHASES[phase]
    axis = "x" if phase == "turning" else "z"
    process = started(source, out, "--axis", axis, env=faulty(call, match, after=after, sleep=20, mark=mark))
    wait_for(mark, process)
    begin = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - begin < SECONDS + 0.1  # of slow machines
    assert process.returncode == status
    assert said == f"mrc2movie: {what}; {RESUME}\n"
    assert unfinished(out) == []
    assert installed(source, out).returncode == 0


HANGING_THREAD = """
import signal, threading, time
from mrc2movie.interruption import Stopped, stopping_on_signals

try:
    with stopping_on_signals(lambda stopped: print("stopped", flush=True)):
        threading.Thread(target=time.sleep, args=(20,)).start()
        signal.raise_signal(signal.SIGTERM)
except Stopped as stopped:
    raise SystemExit(stopped.exit_status)
"""


def test_a_signal_ends_the_process_soon_even_where_a_thread_hangs_for_which_nothing_waits() -> None:
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HANGING_THREAD], capture_output=True, text=True, check=False)
    assert time.monotonic() - begin < SECONDS + 2  # of a slow start
    assert (done.returncode, done.stdout) == (143, "stopped\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_anything_is_begun_ends_the_process_without_a_word(
    tmp_path: Path, number: signal.Signals
) -> None:
    source, out, mark = stacks(tmp_path / "in", 1), tmp_path / "out", tmp_path / "mark"
    process = started(source, out, env=faulty("read", "settings.", sleep=20, mark=mark))
    wait_for(mark, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (-number, ""), "which shells report as 130 and 143"
    assert not out.exists()


@pytest.mark.parametrize(
    ("way", "bars"),
    [
        pytest.param(way, bars, marks=[pytest.mark.large] if (2 * place + bars) % 7 else [])  # some by default
        for place, way in enumerate(WAYS)
        for bars in (True, False)
    ],
)
def test_a_signal_at_any_moment_ends_the_run_clean(tmp_path: Path, long_run: Path, way: str, bars: bool) -> None:
    moments = random.Random(way)
    for number, status, what in SIGNALS:
        out = tmp_path / f"out{status}"
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            # as from a batch script, that hands its process over
            ["sh", "-c", 'exec "$@"', "sh", COMMAND, long_run, out, "--jobs", "1", *way_options(way)],
            stdin=subprocess.DEVNULL,
            stderr=follower if bars else subprocess.PIPE,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(follower)
        while not unfinished(out):
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.7))
        assert process.poll() is None
        begin = time.monotonic()
        process.send_signal(number)
        said = drained(leader) if bars else process.communicate(timeout=60)[1].decode()
        process.wait(timeout=60)
        assert time.monotonic() - begin < SECONDS + 0.1  # of slow machines
        os.close(leader)
        assert process.returncode == status
        assert said.splitlines()[-1].endswith(f"mrc2movie: {what}; {RESUME}")
        assert "Traceback" not in said
        assert unfinished(out) == []


def drained(leader: int) -> str:
    """All that comes from a terminal until the last process has closed it."""
    shown = b""
    while select.select([leader], [], [], 60)[0]:
        try:
            shown += os.read(leader, 65536)
        except OSError:
            break
    return shown.decode()


def test_a_signal_that_is_echoed_at_once_still_leaves_nothing(tmp_path: Path) -> None:
    """timeout(1) sends the signal to the process and then to its group."""
    source, out, mark = stacks(tmp_path / "in", 1), tmp_path / "out", tmp_path / "mark"
    process = started(source, out, env=faulty("fsync", ".mrc2movie-", sleep=20, mark=mark))
    wait_for(mark, process)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)  # another one: the system delivers one of each
    _, said = process.communicate(timeout=60)
    assert process.returncode in (143, 130)
    assert said.endswith(f"ed; {RESUME}\n")
    assert unfinished(out) == []


@pytest.mark.parametrize(
    ("reader", "hangs"), thinned([("gone", True), ("gone", False), ("asleep", True), ("asleep", False)], 3)
)
def test_a_signal_ends_the_run_clean_when_nobody_hears_of_it(
    tmp_path: Path, long_run: Path, reader: str, hangs: bool
) -> None:
    """Ctrl-C ends tee(1) as well, to which all goes; or who reads has stopped, and the pipe is full."""
    out, mark = tmp_path / "out", tmp_path / "mark"
    environment = faulty("read", "long.mrc", after=20, sleep=20 if hangs else 0, mark=mark)
    reading, writing = os.pipe()
    words: list[str | Path] = [COMMAND, long_run, out, "--jobs", "1"]
    process = subprocess.Popen(words, stderr=writing, text=True, env=environment)
    wait_for(mark, process)
    if reader == "gone":
        os.close(reading)
    else:
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writing, bytes(4096))
        os.set_blocking(writing, True)
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert time.monotonic() - begin < SECONDS + 0.1  # of slow machines
    assert unfinished(out) == []
    os.close(writing)
    if reader == "asleep":
        os.close(reading)


def test_a_signal_that_is_ignored_remains_so(tmp_path: Path) -> None:
    """A shell lets its background jobs ignore Ctrl-C."""
    source, out, mark = stacks(tmp_path / "in", 1), tmp_path / "out", tmp_path / "mark"
    environment = faulty("fsync", ".mrc2movie-", sleep=1, mark=mark)
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    with subprocess.Popen([*ignoring, COMMAND, source, out, "-q"], env=environment) as process:
        wait_for(mark, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_handlers_are_as_before_when_the_run_has_ended(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number, _, _ in SIGNALS]
    threads = threading.active_count()
    assert run(stacks(tmp_path / "in", 1), tmp_path / "out") == 0
    assert [signal.getsignal(number) for number, _, _ in SIGNALS] == before
    assert threading.active_count() == threads


def test_in_another_thread_a_run_leaves_signals_alone(tmp_path: Path) -> None:
    source, results = stacks(tmp_path / "in", 1), []
    thread = threading.Thread(target=lambda: results.append(run(source, tmp_path / "out")))
    thread.start()
    thread.join()
    assert results == [0]


def test_the_exception_of_a_signal_is_caught_by_nothing_on_the_way() -> None:
    with pytest.raises(Stopped) as stopped, stopping_on_signals(lambda _: None):
        try:
            signal.raise_signal(signal.SIGTERM)
        except Exception:
            pytest.fail("caught")
    assert stopped.value.exit_status == 143


def test_a_signal_counts_even_where_another_exception_is_made_of_it() -> None:
    """C code does so that imports modules, such as NumPy's."""
    with pytest.raises(Stopped), stopping_on_signals(lambda _: None):
        try:
            signal.raise_signal(signal.SIGTERM)
        except Stopped:
            raise ImportError("numpy is not installed well") from None


def test_a_postponed_signal_is_raised_when_the_block_is_done() -> None:
    done = False
    with pytest.raises(Stopped), stopping_on_signals(lambda _: None) as signals:
        with signals.postponed():
            signal.raise_signal(signal.SIGTERM)
            done = True
        pytest.fail("it was forgotten")
    assert done
