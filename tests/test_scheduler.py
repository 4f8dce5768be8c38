"""`--scheduler`: the files as tasks of a real Dask scheduler with real workers, on loopback; some of them die."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from faults import closing_line, faulty, frame_count, installed, movies_in, stacks, started, unfinished
from movies import run, write_mrc
from test_many_runs import elsewhere

import mrc2movie
from mrc2movie.batch.cluster import Load, may_begin

pytest.importorskip("distributed")

DASK = (sys.executable, "-m")
LONG = {"sections": 60, "rows": 256, "columns": 256}
"""A file that takes a few tenths of a second."""


def started_part(log: Path, *words: str | Path, env: dict[str, str] | None = None) -> "subprocess.Popen[bytes]":
    """A part of a cluster, as a process."""
    with log.open("wb") as file:
        return subprocess.Popen(words, stdout=file, stderr=file, env=env, cwd=log.parent)  # not in this repository


class Cluster:
    """A scheduler and its workers as processes."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        known = directory / "scheduler.json"
        words = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", known)
        self.scheduler = started_part(directory / "log", *DASK, "distributed.cli.dask_scheduler", *words)
        self.parts = [self.scheduler]
        while not known.exists() or not known.read_text():
            assert self.scheduler.poll() is None, (directory / "log").read_text()
            time.sleep(0.05)
        self.address: str = json.loads(known.read_text())["address"]

    def worker(
        self, *, threads: int = 1, nanny: bool = False, before: Sequence[str] = (), env: dict[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        """A worker that has joined; with a nanny it is started again where it dies."""
        place = self._directory / f"worker{len(self.parts)}"
        place.mkdir()
        words = ["--no-dashboard", "--nthreads", str(threads), "--local-directory", str(place)]
        words.append("--nanny" if nanny else "--no-nanny")
        log = place / "log"
        command = (*before, *DASK, "distributed.cli.dask_worker", self.address, *words)
        process = started_part(log, *command, env=env)
        self.parts.append(process)
        while "Registered to" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        return process


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler without workers yet."""
    made = Cluster(tmp_path / "cluster")
    try:
        yield made
    finally:
        for process in reversed(made.parts):  # a worker without its scheduler would wait for it
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def converted(said: str) -> list[str]:
    """The names of the movies that were made, in this order."""
    return [Path(name).name for name in re.findall(r" -> (\S+): \d+ frames of ", said)]


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something that is to happen soon."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# What Dask leaves of its loops and sockets where a machine is slow is its own.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_workers_of_a_scheduler_make_the_same_movies_as_this_process(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import LocalCluster

    source = stacks(tmp_path / "in", 5)
    write_mrc(source / "large.mrc", np.ones((40, 64, 64), np.int16))
    (source / "bad.mrc").write_bytes(b"no header")
    assert run(source, tmp_path / "here") == 1
    here = capfd.readouterr().err
    monkeypatch.chdir(tmp_path)  # workers have other working directories
    local = {"host": "tcp://127.0.0.1", "dashboard_address": None, "silence_logs": 50}
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, **local) as there:
        words = ("in", "there", "--scheduler", there.scheduler_address)
        assert run(*words, "--json") == 1
        printed, said = capfd.readouterr()
        assert run(*words) == 1
        again = capfd.readouterr().err
    for name, movie in movies_in(tmp_path / "here").items():
        assert (tmp_path / "there" / name).read_bytes() == movie.read_bytes()
    assert converted(said) == ["large.avi", *(f"{number}.avi" for number in range(5))], "the largest file comes first"
    assert {json.loads(line)["status"] for line in printed.splitlines()} == {"converted", "failed"}
    assert said.splitlines()[-1] == here.splitlines()[-1] == "6 converted, 1 failed"
    assert again.splitlines()[-1] == "6 up to date, 1 failed"
    (line,) = [line for line in said.splitlines() if "bad.mrc" in line]
    assert "[6/7]" in line
    assert line.split(": ", 1)[1] == next(line for line in here.splitlines() if "bad.mrc" in line).split(": ", 1)[1]
    log = (tmp_path / "there" / "mrc2movie.log").read_text()
    assert sorted(converted(log)) == sorted(converted(said))
    assert unfinished(tmp_path / "there") == []


def test_an_address_where_no_scheduler_answers_is_refused_in_one_line_before_anything_is_done(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mrc2movie.batch.scheduler._ANSWER_SECONDS", 0.3)
    source = stacks(tmp_path / "in", 1)
    for address in ("tcp://127.0.0.1:1", "morse://a:1", "127.0.0.1"):
        assert run(source, tmp_path / "out", "--scheduler", address) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith(f"mrc2movie: --scheduler {address}: no scheduler answers")
    assert not (tmp_path / "out").exists()
    assert run(source, tmp_path / "out", "--scheduler", "tcp://127.0.0.1:1", "--dry-run") == 0, "nothing to be asked"


def test_without_dask_the_message_says_how_to_install_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert run(stacks(tmp_path / "in", 1), tmp_path / "out", "--scheduler", "tcp://127.0.0.1:1") == 2
    assert "pip install 'mrc2movie[dask]'" in capfd.readouterr().err


@contextmanager
def web_server() -> Iterator[str]:
    """The address of a server that is no scheduler."""
    words = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        (port,) = re.findall(r"port (\d+)", server.stdout.readline())
        yield f"tcp://127.0.0.1:{port}"
        server.terminate()


@pytest.mark.large
def test_another_server_and_a_worker_are_no_scheduler(tmp_path: Path, cluster: Cluster) -> None:
    source = stacks(tmp_path / "in", 1)
    with web_server() as address:
        done = installed(source, tmp_path / "out", "--scheduler", address)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    cluster.worker()
    log = (tmp_path / "cluster" / "worker1" / "log").read_text()
    (worker,) = set(re.findall(r"worker at: +(tcp://\S+)", log))
    done = installed(source, tmp_path / "out", "--scheduler", worker)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "a worker answers, and no scheduler" in done.stderr


@pytest.mark.large
@pytest.mark.parametrize("lost", ["process", "machine"])
def test_files_of_a_worker_that_is_killed_are_made_by_others(tmp_path: Path, cluster: Cluster, lost: str) -> None:
    """Of another machine nobody can know here whether its process lives: only the scheduler does."""
    source, out = stacks(tmp_path / "in", 20, **LONG), tmp_path / "out"
    cluster.worker(before=elsewhere("node1") if lost == "machine" else ())
    second = cluster.worker(threads=2, before=elsewhere("node2") if lost == "machine" else ())
    process = started(source, out, "--scheduler", cluster.address)
    wait_until(lambda: len(movies_in(out)) > 3 and len(unfinished(out)) > 2)
    second.kill()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert said.splitlines()[-1] in ("20 converted", "19 converted, 1 up to date", "18 converted, 2 up to date")
    assert len(set(converted(said))) == len(converted(said)), "none was made twice"
    assert {frame_count(movie) for movie in movies_in(out).values()} == {118}
    assert len(movies_in(out)) == 20
    assert unfinished(out) == []


@pytest.mark.large
@pytest.mark.parametrize("how", ["kill", "crash"])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_file_that_kills_its_worker_fails_alone(tmp_path: Path, cluster: Cluster, how: str, threads: int) -> None:
    """Dask blames whatever waits behind it on the worker as well."""
    source, out = stacks(tmp_path / "in", 12, **LONG), tmp_path / "out"
    write_mrc(source / "killer.mrc", np.ones((70, 256, 256), np.int16))  # the largest: it comes first
    env = faulty("read", "killer.mrc", after=20, **{how: 1})
    cluster.worker(threads=threads, nanny=True, env=env)
    done = installed(source, out, "--scheduler", cluster.address)
    assert done.returncode == 1
    assert re.fullmatch(r"12 converted, 1 failed|11 converted, 1 up to date, 1 failed", closing_line(done))
    (line,) = [line for line in done.stderr.splitlines() if "killer.mrc" in line]
    assert ("3 workers were lost" if how == "kill" else "2 runs crashed") in line
    assert len(movies_in(out)) == 12
    assert unfinished(out) == []
    log = (tmp_path / "cluster" / "worker1" / "log").read_text()
    assert log.count("Registered to") == (4 if how == "kill" else 3), "so often it was started, and no more"


@pytest.mark.large
def test_of_several_files_that_kill_their_worker_each_fails_and_no_other(tmp_path: Path, cluster: Cluster) -> None:
    """Each waits on the worker that the other one kills, so that Dask gives one of them up too early."""
    source, out = stacks(tmp_path / "in", 4), tmp_path / "out"
    for number in (1, 2):
        write_mrc(source / f"killer{number}.mrc", np.ones((70, 256, 256), np.int16))
    cluster.worker(nanny=True, env=faulty("read", "killer", after=20, kill=1))
    done = installed(source, out, "--scheduler", cluster.address)
    assert (done.returncode, closing_line(done)) == (1, "4 converted, 2 failed")
    assert done.stderr.count("is given up, since 3 workers were lost while they converted it") == 2
    log = (tmp_path / "cluster" / "worker1" / "log").read_text()
    assert log.count("Registered to") == 7, "so often it was started, and no more"


@pytest.mark.large
def test_ctrl_c_cancels_what_is_queued_and_leaves_complete_movies(tmp_path: Path, cluster: Cluster) -> None:
    source, out = stacks(tmp_path / "in", 60, **LONG), tmp_path / "out"
    for _ in range(2):
        cluster.worker(threads=1)
    process = started(source, out, "--scheduler", cluster.address)
    wait_until(lambda: len(movies_in(out)) > 3)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - begin < 2
    assert process.returncode == 130
    assert said.splitlines()[-1] == "mrc2movie: interrupted; the same command again carries on"
    wait_until(lambda: not unfinished(out))
    count = len(movies_in(out))
    time.sleep(2)
    assert len(movies_in(out)) == count < 40, "nothing more is begun"
    assert {frame_count(movie) for movie in movies_in(out).values()} == {118}
    again = installed(source, out, "--scheduler", cluster.address)
    assert closing_line(again) == f"{60 - count} converted, {count} up to date"


@pytest.mark.large
def test_without_its_scheduler_a_run_ends_and_says_so(tmp_path: Path, cluster: Cluster) -> None:
    source, out = stacks(tmp_path / "in", 40, **LONG), tmp_path / "out"
    cluster.worker()
    process = started(source, out, "--scheduler", cluster.address)
    wait_until(lambda: len(movies_in(out)) > 3)
    cluster.scheduler.kill()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "is gone, or has dropped its tasks" in said
    assert re.fullmatch(r"\d+ converted, \d+ not begun", said.splitlines()[-1])
    assert "Traceback" not in said


def another_version(place: Path, version: str = "0.0.1") -> dict[str, str]:
    """The environment of a process that has another copy of this package, which claims to be of a version."""
    package = shutil.copytree(Path(mrc2movie.__file__).parent, place / "mrc2movie")
    (package / "version.py").write_text(f'__version__ = "{version}"\n')
    about = place / f"mrc2movie-{version}.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text(f"Metadata-Version: 2.1\nName: mrc2movie\nVersion: {version}\n")
    return {**os.environ, "PYTHONPATH": str(place)}


@pytest.mark.large
def test_a_worker_of_another_version_is_refused_in_one_line(tmp_path: Path, cluster: Cluster) -> None:
    source = stacks(tmp_path / "in", 1)
    cluster.worker()
    cluster.worker(env=another_version(tmp_path / "other"))
    done = installed(source, tmp_path / "out", "--scheduler", cluster.address)
    assert done.returncode == 2
    assert re.fullmatch(r"mrc2movie: \S+ \S+: worker \S+ has mrc2movie 0\.0\.1, and this .*\n", done.stderr)
    assert not (tmp_path / "out").exists()


def waiting_for_workers(*words: str | Path) -> "subprocess.Popen[str]":
    """The command, as soon as it has said that there are no workers yet."""
    process = started(*words)
    assert process.stderr is not None
    said = [process.stderr.readline() for _ in range(2)]
    assert re.fullmatch(r"\d+ files", said[0].strip())
    assert "has no workers yet: waiting for them" in said[1]
    return process


def blind(directory: Path) -> list[str]:
    """What lets a command see an empty directory in place of this one; skips the test where that cannot be."""
    words = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none "{directory}" && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system here")
    return words


@pytest.mark.large
def test_a_worker_that_does_not_see_the_files_is_refused(tmp_path: Path, cluster: Cluster) -> None:
    source = stacks(tmp_path / "in", 1)
    cluster.worker(before=blind(source))
    done = installed(source, tmp_path / "out", "--scheduler", cluster.address)
    assert done.returncode == 2
    assert f"does not see {source / '0.mrc'}; give paths that all machines share" in done.stderr


@pytest.mark.large
def test_an_unfit_worker_that_comes_later_is_left_out(tmp_path: Path, cluster: Cluster) -> None:
    """Else it would be done with its files in no time, and get the next ones, until all have failed."""
    source, out = stacks(tmp_path / "in", 12, **LONG), tmp_path / "out"
    process = waiting_for_workers(source, out, "--scheduler", cluster.address)
    cluster.worker(env=another_version(tmp_path / "other"))
    cluster.worker(before=blind(source))
    cluster.worker()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()[-1]) == (0, "12 converted")
    assert len(re.findall(r"worker \S+ is left out: it has mrc2movie 0\.0\.1, and this run ", said)) == 1
    assert said.count("is left out: it does not see ") <= 1


@pytest.mark.large
def test_inputs_that_vanish_while_they_wait_fail(tmp_path: Path, cluster: Cluster) -> None:
    source, out = stacks(tmp_path / "in", 2), tmp_path / "out"
    process = waiting_for_workers(source, out, "--scheduler", cluster.address)
    (source / "1.mrc").unlink()
    cluster.worker()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()[-1]) == (1, "1 converted, 1 failed")
    assert re.search(r"1\.mrc: no worker could convert it \(worker \S+ does not see ", said)


@pytest.mark.large
def test_a_full_disk_ends_the_run(tmp_path: Path, cluster: Cluster) -> None:
    source, out = stacks(tmp_path / "in", 30), tmp_path / "out"
    cluster.worker(env=faulty("write", ".mrc2movie-", after=20_000, error=28))
    done = installed(source, out, "--scheduler", cluster.address)
    assert done.returncode == 1
    assert "stopped, since the disk is full" in done.stderr
    assert re.search(r"1 failed, \d\d not begun", closing_line(done))
    assert unfinished(out) == []


@pytest.mark.large
def test_the_log_has_what_workers_log(tmp_path: Path, cluster: Cluster) -> None:
    source, out = stacks(tmp_path / "in", 2), tmp_path / "out"
    broken = another_version(tmp_path / "other", mrc2movie.__version__)
    measure = tmp_path / "other" / "mrc2movie" / "conversion" / "measure.py"
    measure.write_text(measure.read_text() + "\n\ndef measure(*_: object) -> None:\n    raise KeyError('a bug')\n")
    cluster.worker(env=broken)
    done = installed(source, out, "--scheduler", cluster.address, "--verbose")
    assert closing_line(done) == "2 failed"
    log = (out / "mrc2movie.log").read_text()
    for text in (done.stderr, log):
        assert text.count("0.mrc: begins (new)") == 1
        assert text.count("0.mrc: where it happened:") == 1
        assert len(re.findall(r"^.*KeyError: 'a bug'$", text, flags=re.MULTILINE)) == 2
    assert all(re.match(r"\d{4}-\d\d-\d\d ", line) for line in log.splitlines())


@pytest.mark.large
def test_paths_in_options_are_those_of_the_directory_where_the_run_began(tmp_path: Path, cluster: Cluster) -> None:
    stacks(tmp_path / "in", 1)
    (tmp_path / "picks.csv").write_text("x,y,z\n20,10,3\n")
    cluster.worker()
    words = ("in", "here", "--points", "picks.csv", "--point-diameter", "10", "--pixel-size", "1")
    assert installed(*words, cwd=tmp_path).returncode == 0
    assert installed("in", "there", *words[2:], "--scheduler", cluster.address, cwd=tmp_path).returncode == 0
    assert installed("in", "plain", cwd=tmp_path).returncode == 0
    here, there, plain = ((tmp_path / name / "0.avi").read_bytes() for name in ("here", "there", "plain"))
    assert here == there != plain


@pytest.mark.large
def test_a_run_waits_for_workers_that_come_later(tmp_path: Path, cluster: Cluster) -> None:
    source, out = stacks(tmp_path / "in", 4), tmp_path / "out"
    process = waiting_for_workers(source, out, "--scheduler", cluster.address)
    cluster.worker(threads=2)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()[-1]) == (0, "4 converted")


def test_workers_get_more_than_two_files_only_while_these_are_a_small_part_of_what_is_left() -> None:
    begins = partial(may_begin, workers=10, threads=80)
    large, small = Load(1, 100), Load(1, 1)
    assert begins(large, under_way=Load(19, 1900), left=Load(25, 2500)), "each has two, whatever their size"
    assert not begins(large, under_way=Load(20, 2000), left=Load(25, 2500))
    assert begins(small, under_way=Load(20, 20), left=Load(1000, 1000))
    assert not begins(small, under_way=Load(90, 90), left=Load(100_000, 100_000)), "all threads are busy"
    assert may_begin(large, Load(), Load(1, 100), workers=0, threads=0), "so that a cluster that grows by need grows"
