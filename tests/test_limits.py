"""Memory and processors: what is given is enough, and no more is taken."""

import gzip
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from faults import COMMAND, frame_count, installed, limited, stacks, started, voxels, way_options
from movies import thinned, write_mrc

from mrc2movie import memory, processors
from mrc2movie.memory import free_memory
from mrc2movie.processors import available_processors


def sparse(path: Path, sections: int, rows: int, columns: int) -> Path:
    """A file of int16 sections that takes no room on the disk: black but for its ends."""
    write_mrc(path, np.zeros((1, 2, 2), np.int16))
    header = bytearray(path.read_bytes()[:1024])
    header[:12] = np.array([columns, rows, sections], "<i4").tobytes()
    path.write_bytes(header)
    os.truncate(path, 1024 + 2 * sections * rows * columns)
    for position in (1024, path.stat().st_size - 2 * columns):
        with path.open("rb+") as file:
            file.seek(position)
            file.write(np.arange(columns, dtype="<i2").tobytes())
    return path


MEANS = ["--average", "5", "--playback", "forward"]


@pytest.mark.parametrize(
    ("sections", "rows", "columns", "options", "megabytes"),
    [
        pytest.param(100, 800, 800, [], 768, id="130 MB"),
        pytest.param(200, 1000, 1000, [], 768, id="400 MB", marks=pytest.mark.large),
        pytest.param(41, 4092, 5760, [], 2048, id="tilt series", marks=pytest.mark.large),
        pytest.param(41, 4092, 5760, MEANS, 2560, id="means of a tilt series", marks=pytest.mark.large),
        pytest.param(600, 4096, 4096, [], 2048, id="20 GB", marks=pytest.mark.large),
        pytest.param(
            600, 4096, 4096, ["--axis", "x", "--every", "256"], 2048, id="20 GB along x", marks=pytest.mark.large
        ),
    ],
)
def test_a_large_file_is_converted_in_little_memory(
    tmp_path: Path, sections: int, rows: int, columns: int, options: list[str], megabytes: int
) -> None:
    source, out = sparse(tmp_path / "large.mrc", sections, rows, columns), tmp_path / "out"
    process = started(source, out, *options, "--jobs", "2", preexec_fn=limited(megabytes))
    _, said = process.communicate(timeout=1200)
    assert process.returncode == 0, said
    shown = columns // 256 if "x" in options else sections
    assert frame_count(out / "large.avi") == (shown if "forward" in options else 2 * shown - 2)


def test_a_file_that_needs_more_memory_than_there_is_fails_and_says_so(tmp_path: Path) -> None:
    source = sparse(tmp_path / "large.mrc", 2, 12000, 12000)
    process = started(source, tmp_path / "out", "--jobs", "2", preexec_fn=limited(1024))
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"{source}: needs more memory than there is; take fewer --jobs" in said


@pytest.mark.parametrize(
    "megabytes", [350, 500, *(pytest.param(least, marks=pytest.mark.large) for least in (400, 450, 550))]
)
def test_whatever_there_is_too_little_memory_for_it_is_said_so(tmp_path: Path, megabytes: int) -> None:
    """Modules, threads, sections, frames."""
    source = sparse(tmp_path / "large.mrc", 3, 4000, 4000)
    process = started(source, tmp_path / "out", "--jobs", "2", preexec_fn=limited(megabytes))
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    first, *_ = said.splitlines()
    assert "needs more memory than there is; take fewer --jobs" in first
    assert said.splitlines()[1:] in ([], ["1 failed"])


def threads_of(*words: str | Path) -> int:
    """The most threads that a run has at any time, its own four included: main, signals, the clock, the claim's."""
    process = started(*words)
    most = 0
    while process.poll() is None:
        try:
            most = max(most, len(list(Path(f"/proc/{process.pid}/task").iterdir())))
        except OSError:
            break
        time.sleep(0.001)
    process.communicate()
    assert process.returncode == 0
    return most


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc to count threads in")
@pytest.mark.parametrize(
    "way", thinned(["avi", "avi --codec XVID", "avi --codec FFV1", "mp4", "mkv", "webm", "mp4 --small"], 3)
)
@pytest.mark.parametrize("jobs", [3, pytest.param(1, marks=pytest.mark.large)])
def test_codecs_start_no_threads_beyond_the_jobs(tmp_path: Path, way: str, jobs: int) -> None:
    source = stacks(tmp_path / "in", 1, sections=40, rows=200, columns=200)
    assert threads_of(source, tmp_path / "out", *way_options(way), "--jobs", str(jobs)) <= jobs + 4


SPIN = """
import time
end = time.monotonic() + 0.3
while time.monotonic() < end:
    pass
print(time.process_time())
"""


def two_processors_are_free() -> bool:
    """Whether two programs that only count get a processor each."""
    words = [sys.executable, "-c", SPIN]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    return sum(float(each.communicate()[0]) for each in both) > 0.54


@pytest.mark.parametrize(
    "way",
    [
        "mp4 --codec HEVC",
        "mp4 --codec AV1",
        pytest.param("mp4 --codec AV1 --small", marks=pytest.mark.large),
        pytest.param("webm --small", marks=pytest.mark.large),
    ],
)
def test_codecs_whose_threads_wait_for_each_other_use_no_more_processors_than_the_jobs(
    tmp_path: Path, way: str
) -> None:
    if not two_processors_are_free():
        pytest.skip("other programs use the processors: this one could not use two if it would")
    source = stacks(tmp_path / "in", 1, sections=20, rows=400, columns=400)
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    assert installed(source, tmp_path / "out", *way_options(way), "--jobs", "1").returncode == 0
    after, end = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used / (end - begin) < 1.2


PRIORITIES = """
import os, sys
from mrc2movie import Settings, convert

def look(*progress):
    seen.update(os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task"))

seen = set()
source, target, small = sys.argv[1:]
convert(source, target, Settings(codec="AV1", format="mp4", small=bool(small)), progress=look)
look()
print(seen == {os.SCHED_OTHER})
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="only root may take a higher priority"
)
@pytest.mark.parametrize("small", ["", "small"])
def test_codecs_take_no_priority_over_other_programs(tmp_path: Path, small: str) -> None:
    source = write_mrc(tmp_path / "a.mrc", voxels(20, 96, 128))
    program = [sys.executable, "-c", PRIORITIES, str(source), str(tmp_path / "a.mp4"), small]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout == "True\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_the_processors_of_another_are_not_taken(tmp_path: Path) -> None:
    source = stacks(tmp_path / "in", 1, sections=40, rows=200, columns=200)
    one = min(os.sched_getaffinity(0))
    words = ["taskset", "-c", str(one), str(COMMAND), str(source), str(tmp_path / "out")]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        most = 0
        while process.poll() is None:
            most = max(most, len(list(Path(f"/proc/{process.pid}/task").iterdir())))
            time.sleep(0.001)
    assert process.returncode == 0
    assert most <= 5  # the main thread, the worker, the signals', the claim's, the clock


def quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], membership: str, mount: str) -> int:
    """The processors under control groups of our own making."""
    proc, groups = tmp_path / "proc", tmp_path / "with space"
    proc.mkdir()
    for name, content in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(content)
    (proc / "cgroup").write_text(membership)
    escaped = str(groups).replace(" ", r"\040")
    others = b"22 1 0:1 / / rw - ext4 /dev/vda rw\n23 1 0:2 / /odd\xff\x85\x1cname rw - tmpfs  rw\n"
    (proc / "mountinfo").write_bytes(others + f"31 23 0:28 {mount.format(escaped)}\n".encode())
    monkeypatch.setattr(processors, "_PROC", proc)
    monkeypatch.setattr(processors, "_by_affinity", lambda: 64)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    return available_processors()


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"a/b/cpu.max": "250000 100000"}, 3),
        ({"a/b/cpu.max": "max 100000"}, 64),
        ({"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2),
        ({"a/cpu.max": "200000 100000", "a/b/cpu.max": "50000 100000"}, 1),
        ({"a/b/cpu.max": ""}, 64),
        ({"a/b/cpu.max": "1" * 5000 + " 100000"}, 64),
        ({"a/b/cpu.max": "1" * 4000 + " 100000"}, 64),
        ({"a/b/cpu.max": "100000 " + "1" * 4000}, 1),
        ({"a/b/cpu.max": "some\0thing \xff"}, 64),
        ({}, 64),
    ],
)
def test_the_quota_of_control_groups_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], count: int
) -> None:
    assert quota(tmp_path, monkeypatch, files, "0::/a/b\n", "/ {} rw,nosuid - cgroup2 cgroup2 rw") == count


@pytest.mark.parametrize(
    ("micros", "root", "count"), [("350000", "/", 4), ("-1", "/", 64), ("100000", "/a", 1), ("100000", "/x/y", 64)]
)
def test_the_quota_of_control_groups_of_version_1_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micros: str, root: str, count: int
) -> None:
    below = {"/": "a/b", "/a": "b"}.get(root, "a/b")
    files = {f"{below}/cpu.cfs_quota_us": micros, f"{below}/cpu.cfs_period_us": "100000"}
    membership = "4:memory:/m\n2:cpuacct,cpu:/a/b\n1:name=systemd:/\n"
    assert quota(tmp_path, monkeypatch, files, membership, root + " {} rw - cgroup none rw,cpuacct,cpu") == count


@pytest.mark.parametrize("membership", ["0:/a/b\n", "0::\n", "nonsense\n", "0::/a/b\0\n"])
@pytest.mark.parametrize(
    "mount", ["/ {} - cgroup2 cgroup2 rw", "nonsense {}", "/ {} rw - cgroup2", "/ \\999{} rw - cgroup2 cgroup2 rw"]
)
def test_nonsense_about_control_groups_limits_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, membership: str, mount: str
) -> None:
    files = {"a/b/cpu.max": "max 100000"}
    assert quota(tmp_path, monkeypatch, files, membership + "0::/a/b\n", mount) == 64


def test_where_there_are_no_control_groups_none_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert quota(tmp_path, monkeypatch, {}, "", "/ {} rw - tmpfs tmpfs rw") == 64


@pytest.mark.parametrize(
    ("value", "count"), [("3", 3), ("0", 64), ("", 64), ("many", 64), ("99", 64), ("1" * 5000, 64)]
)
def test_the_share_of_a_slurm_job_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, count: int
) -> None:
    monkeypatch.setattr(processors, "_PROC", tmp_path)
    monkeypatch.setattr(processors, "_by_affinity", lambda: 64)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", value)
    assert available_processors() == count


def test_a_real_control_group_limits_the_run() -> None:
    groups = Path("/sys/fs/cgroup/cpu")
    group = groups / f"mrc2movie-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("100000")
    except OSError:
        pytest.skip("no right to make a control group (version 1) here")
    try:
        program = (
            f"with open('{group}/cgroup.procs', 'w') as file: file.write('0')\n"
            "from mrc2movie.processors import available_processors\n"
            "print(available_processors())"
        )
        said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    finally:
        group.rmdir()
    assert said == "1\n"


def free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], membership: str, mount: str) -> int:
    """The free memory in control groups of our own making, on a machine where 9000 kB are available."""
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    for name, content in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(content)
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 12000 kB\nMemAvailable:    9000 kB\n")
    (proc / "self/cgroup").write_text(membership)
    (proc / "self/mountinfo").write_text(f"31 23 0:28 / {groups} rw - {mount}\n")
    monkeypatch.setattr(memory, "_PROC", proc)
    return free_memory()


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 9000 * 1024),
        ({"a/memory.max": "max", "a/memory.current": "5"}, 9000 * 1024),
        ({"a/memory.max": "1000", "a/memory.current": "700"}, 300),
        ({"a/memory.max": "1000", "a/memory.current": "700", "a/memory.stat": "anon 1\ninactive_file 250\n"}, 550),
        ({"a/b/memory.max": "1000", "a/b/memory.current": "1700"}, 0),
        ({"a/memory.max": "1000"}, 9000 * 1024),
    ],
)
def test_free_memory_is_what_the_control_groups_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], count: int
) -> None:
    assert free(tmp_path, monkeypatch, files, "0::/a/b\n", "cgroup2 cgroup2 rw") == count


def test_free_memory_is_what_control_groups_of_version_1_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"limit_in_bytes": "1000", "usage_in_bytes": "700", "stat": "inactive_file 1\ntotal_inactive_file 100\n"}
    files = {f"a/memory.{name}": content for name, content in names.items()}
    membership = "4:memory:/a\n2:cpu:/\n"
    assert free(tmp_path, monkeypatch, files, membership, "cgroup cgroup rw,memory") == 400


def test_free_memory_is_less_than_the_limit_of_the_address_space() -> None:
    program = "from mrc2movie.memory import free_memory; print(free_memory())"
    words = [sys.executable, "-c", program]
    found = [
        int(subprocess.run(words, capture_output=True, text=True, check=True, preexec_fn=before).stdout)
        for before in (None, limited(1024))
    ]
    assert 0 < found[1] < 2**30 < found[0]


def test_a_compressed_file_needs_no_more_memory_than_a_section(tmp_path: Path) -> None:
    """120 MB of zeros in a gzip file of 120 kB."""
    plain = sparse(tmp_path / "plain", 30, 1000, 2000)
    (tmp_path / "a.mrc.gz").write_bytes(gzip.compress(plain.read_bytes(), 6))
    process = started(tmp_path / "a.mrc.gz", tmp_path / "out", "--jobs", "1", preexec_fn=limited(768))
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
