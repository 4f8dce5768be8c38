"""`--shard slurm`: job arrays of a real Slurm with four virtual nodes, by the script in docs; some tasks die."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import faulty, frame_count, installed, movies_in, stacks, unfinished, voxels
from movies import write_mrc
from slurm import Slurm, slurm
from test_many_runs import elsewhere

pytestmark = pytest.mark.large

SCRIPT = Path(__file__).parent.parent / "docs" / "mrc2movie.sbatch"


LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ \S")
"""What every line of a log begins with."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Four nodes of two processors each."""
    with slurm(tmp_path_factory.mktemp("slurm") / "cluster") as made:
        yield made


class Array:
    """A job array that was submitted."""

    def __init__(self, on: Slurm, directory: Path, tasks: int, *words: str | Path, seconds: float = 0) -> None:
        """Submit the script in a directory; each movie takes so many seconds longer."""
        slow = faulty("fsync", ".mrc2movie-", sleep=seconds) if seconds else {}
        faults = {name: value for name, value in slow.items() if name.startswith(("FAULT", "LD_PRELOAD"))}
        said = directory / "sbatch"
        with said.open("w") as file:
            self._waiting = subprocess.Popen(
                ["sbatch", "--wait", "--parsable", f"--array=1-{tasks}", "--cpus-per-task=1", *words],
                stdout=file,
                stderr=file,
                cwd=directory,
                env={**on.environment, **faults},
            )
        self._directory = directory
        wait_until(lambda: said.read_text().endswith("\n"))
        self.number = said.read_text().strip()
        assert self.number.isdecimal(), self.number

    def task(self, number: int) -> str:
        """The name of a task."""
        return f"{self.number}_{number}"

    def output(self, number: int) -> str:
        """What a task said."""
        path = self._directory / f"slurm-{self.task(number)}.out"
        return path.read_text() if path.exists() else ""

    def exit_status(self) -> int:
        """That of ``sbatch --wait``, when all tasks have ended."""
        return self._waiting.wait(180)


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something that is to happen soon."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def made(log: str) -> list[str]:
    """The names of the movies that were made, by the log."""
    return [Path(name).name for name in re.findall(r" -> (\S+): \d+ frames of ", log)]


def test_an_array_of_which_tasks_are_cancelled_killed_and_requeued_is_completed_by_the_same_line(
    tmp_path: Path, cluster: Slurm
) -> None:
    source, out = stacks(tmp_path / "in", 58), tmp_path / "out"
    for number in (1, 2):
        write_mrc(source / f"large{number}.mrc", voxels(18, seed=number))
    assert installed(source, tmp_path / "here").returncode == 0
    first = Array(cluster, tmp_path, 8, SCRIPT, source, out, seconds=0.3)
    wait_until(lambda: len(movies_in(out)) > 8)
    cluster.said("scancel", first.task(2))
    cluster.said("scontrol", "requeue", first.task(5))
    wait_until(lambda: unfinished(out))
    subprocess.run(["kill", "-9", str(cluster.process(first.task(3)))], check=True)
    assert first.exit_status() != 0
    assert first.output(5).count("share slurm: ") == 2, "it was begun again"
    assert "terminated; the same command again carries on" in first.output(2)
    assert 20 < len(movies_in(out)) < 60
    assert Array(cluster, tmp_path, 8, SCRIPT, source, out).exit_status() == 0
    assert {name: movie.read_bytes() for name, movie in movies_in(out).items()} == {
        name: movie.read_bytes() for name, movie in movies_in(tmp_path / "here").items()
    }
    assert unfinished(out) == []
    log = (out / "mrc2movie.log").read_text()
    assert len(set(made(log))) == len(made(log)) >= 59, "none was made twice; that of the killed task may lack a line"
    assert [line for line in log.splitlines() if not LINE.match(line)] == []
    third = Array(cluster, tmp_path, 8, SCRIPT, source, out)
    assert third.exit_status() == 0
    assert (out / "mrc2movie.log").read_text().count(" frames of ") == log.count(" frames of ")
    assert sum(int(re.findall(r"(\d+) up to date", third.output(task))[-1]) for task in range(1, 9)) == 60


def test_a_failure_of_one_task_is_that_of_the_array(tmp_path: Path, cluster: Slurm) -> None:
    source, out = stacks(tmp_path / "in", 5), tmp_path / "out"
    (source / "bad.mrc").write_bytes(b"no header")
    array = Array(cluster, tmp_path, 3, SCRIPT, source, out)
    assert array.exit_status() == 1
    assert len(movies_in(out)) == 5
    assert sum("bad.mrc: is no MRC file" in array.output(task) for task in (1, 2, 3)) == 1


def test_a_task_whose_time_is_nearly_up_ends_cleanly(tmp_path: Path, cluster: Slurm) -> None:
    """Slurm signals only the shell, which the command replaced, 15 to 45 s after it began."""
    source, out = stacks(tmp_path / "in", 200), tmp_path / "out"
    array = Array(cluster, tmp_path, 1, "--time=1", "--signal=B:TERM@15", SCRIPT, source, out, seconds=0.5)
    assert array.exit_status() == 128 + signal.SIGTERM
    assert "terminated; the same command again carries on" in array.output(1)
    assert 0 < len(movies_in(out)) < 200
    assert {frame_count(movie) for movie in movies_in(out).values()} == {10}
    assert unfinished(out) == []


def test_threads_come_from_the_allocation(tmp_path: Path, cluster: Slurm) -> None:
    source, out = stacks(tmp_path / "in", 3), tmp_path / "out"
    array = Array(cluster, tmp_path, 1, "--cpus-per-task=2", SCRIPT, source, out)
    assert array.exit_status() == 0
    assert "3 files, 2 threads" in array.output(1)


def test_a_task_of_a_node_that_crashed_carries_on_elsewhere(tmp_path: Path) -> None:
    """Else the movie that it was making would be left to it, since nobody sees from another machine that it is dead."""
    source, out = stacks(tmp_path / "in", 6), tmp_path / "out"
    with slurm(tmp_path / "cluster", [elsewhere(f"node{number}") for number in (1, 2)]) as cluster:
        array = Array(cluster, tmp_path, 1, SCRIPT, source, out, seconds=0.5)
        wait_until(lambda: len(movies_in(out)) > 1 and unfinished(out))
        cluster.crash(array.task(1))
        assert unfinished(out) != []
        assert array.exit_status() == 0
    assert {frame_count(movie) for movie in movies_in(out).values()} == {10}
    assert len(movies_in(out)) == 6
    assert unfinished(out) == []
    assert array.output(1).splitlines()[-1] in ("4 converted, 2 up to date", "3 converted, 3 up to date")


def test_the_workers_of_a_dask_scheduler_may_be_jobs_as_the_documents_show(tmp_path: Path, cluster: Slurm) -> None:
    pytest.importorskip("dask_jobqueue")
    stacks(tmp_path / "tomograms", 6)
    page = (SCRIPT.parent / "cluster.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "run.py").write_text(code.replace("jobs=50", "jobs=2"))
    words = (sys.executable, "run.py")
    done = subprocess.run(
        words, cwd=tmp_path, env=cluster.environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "<Report: 6 converted>\n", done.stderr
    assert len(movies_in(tmp_path / "movies")) == 6
