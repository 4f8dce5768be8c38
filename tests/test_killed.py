"""kill -9 at any moment: a movie under its final name is complete, and the next run puts all in order."""

import bz2
import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults import (
    COMMAND,
    HIDDEN,
    WAYS,
    closing_line,
    faulty,
    frame_count,
    installed,
    movies_in,
    stacks,
    started,
    tree,
    unfinished,
    voxels,
    way_options,
)
from movies import run, write_mrc

from mrc2movie.store.claim import crashes, remove_what_dead_runs_left
from mrc2movie.store.owner import Owner

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no such signals on Windows")


def mixed(directory: Path) -> dict[str, int]:
    """A directory of files of all kinds, one of them broken; the frames of each movie by its stem."""
    stacks(directory, 3)
    write_mrc(directory / "float.rec", voxels(4).astype("float32"))
    (directory / "zipped.mrc.gz").write_bytes(gzip.compress(write_mrc(directory / "tmp", voxels(5)).read_bytes()))
    (directory / "bzipped.st.bz2").write_bytes(bz2.compress((directory / "tmp").read_bytes()))
    (directory / "tmp").unlink()
    write_mrc(directory / "one.map", voxels(1))
    (directory / "broken.mrc").write_bytes(b"not what it says")
    return {"0": 10, "1": 10, "2": 10, "float": 6, "zipped": 8, "bzipped": 8, "one": 1}


def all_complete(out: Path, frames: dict[str, int]) -> None:
    """Every movie under a final name decodes fully."""
    for movie in movies_in(out).values():
        assert frame_count(movie) == frames[movie.stem], movie


@pytest.mark.parametrize(
    ("way", "times"),
    [*((way, 2) for way in WAYS[::6]), *(pytest.param(way, 13, marks=pytest.mark.large) for way in WAYS)],
)
def test_a_movie_is_complete_or_absent_after_a_kill_at_any_moment(tmp_path: Path, way: str, times: int) -> None:
    frames = mixed(tmp_path / "in")
    out = tmp_path / "out"
    words: list[str | Path] = [tmp_path / "in", out, *way_options(way)]
    begin = time.monotonic()
    assert installed(*words).returncode == 1
    length = time.monotonic() - begin
    moments = random.Random(way)
    kills, attempts = 0, 0
    while kills < times:
        attempts += 1
        assert attempts < 100
        process = started(*words, "--fps", str(10 + attempts))  # another rate: there is always something to do
        time.sleep(moments.uniform(0.4, 1.0) * length)
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        length *= 1 if process.returncode == -signal.SIGKILL else 0.9  # the first run may have been a slow one
        all_complete(out, frames)
    last: list[str | Path] = [*words, "--fps", "5"]
    assert closing_line(installed(*last)) == "7 converted, 1 failed"
    assert closing_line(installed(*last)) == "7 up to date, 1 failed"
    assert sorted(movies_in(out)) == sorted(f"{stem}.{way.split()[0]}" for stem in frames)
    all_complete(out, frames)
    assert unfinished(out) == []


@pytest.mark.parametrize(("count", "stride"), [(1, 11), pytest.param(2, 1, marks=pytest.mark.large)])
def test_a_movie_is_complete_or_absent_after_a_kill_at_each_step(tmp_path: Path, count: int, stride: int) -> None:
    source, out = stacks(tmp_path / "in", count), tmp_path / "out"
    for turn, step in enumerate(range(1, 100, stride)):
        old = {name: tree(path) for name, path in movies_in(out).items()}
        words: list[str | Path] = [source, out, "--fps", str(10 + step)]
        killed = installed(*words, env=faulty("step", "out", after=step, kill=1))
        all_complete(out, {"0": 10, "1": 10})
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL
        made = [name for name, path in movies_in(out).items() if tree(path) != old.get(name)]
        counts = {"converted": count - len(made), "up to date": len(made)}
        said = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
        assert closing_line(installed(*words)) == said
        assert unfinished(out) == []
        if turn % 3 == 2:
            shutil.rmtree(out)
    assert 10 * count < step < 98


def claim(out: Path, target: str, owner: object) -> Path:
    """What a run leaves that makes, or made, a movie: by the run itself, and then under another owner's name."""
    process = started(out.parent / "in", out, env=faulty("read", f"{target.split('.')[0]}.mrc", kill=1))
    process.communicate()
    (directory,) = out.glob(f"{HIDDEN}*")
    for file in directory.iterdir():
        file.rename(directory / f"{owner}-0{Path(target).suffix}")
    return directory


def old(directory: Path, minutes: float) -> None:
    """Let a claim look as if it had been marked so long ago for the last time."""
    then = time.time() - 60 * minutes
    for path in (*directory.iterdir(), directory):
        os.utime(path, (then, then))


def test_what_a_dead_run_left_is_removed_also_where_its_number_is_used_again(tmp_path: Path) -> None:
    stacks(tmp_path / "in", 1)
    out = tmp_path / "out"
    me = Owner.me()
    claim(out, "0.avi", Owner(me.machine, me.process, me.begin - 1))
    assert closing_line(installed(tmp_path / "in", out)) == "1 converted"
    assert unfinished(out) == []


def test_what_a_living_run_makes_is_left_to_it_however_old(tmp_path: Path) -> None:
    stacks(tmp_path / "in", 1)
    out = tmp_path / "out"
    old(claim(out, "0.avi", Owner.me()), minutes=1000)
    left = installed(tmp_path / "in", out)
    assert left.returncode == 0
    assert closing_line(left) == "1 left to another run"
    assert f"is being made by another run (process {os.getpid()})" in left.stderr
    assert len(unfinished(out)) == 1


def test_what_a_run_on_another_machine_makes_is_left_to_it_until_it_was_silent_for_half_an_hour(tmp_path: Path) -> None:
    stacks(tmp_path / "in", 1)
    out = tmp_path / "out"
    directory = claim(out, "0.avi", Owner("0123456789ab", 77, 88))
    old(directory, minutes=25)
    left = installed(tmp_path / "in", out)
    assert closing_line(left) == "1 left to another run"
    assert "(process 77 on another machine)" in left.stderr
    old(directory, minutes=35)
    assert closing_line(installed(tmp_path / "in", out)) == "1 converted"
    assert unfinished(out) == []


@pytest.mark.parametrize("marked", ["directory", "movie"])
def test_a_run_on_another_machine_lives_as_long_as_it_marks_its_claim_or_writes_its_movie(
    tmp_path: Path, marked: str
) -> None:
    stacks(tmp_path / "in", 1)
    out = tmp_path / "out"
    directory = claim(out, "0.avi", "0123456789ab-77-88")
    old(directory, minutes=35)
    os.utime(directory if marked == "directory" else directory / "0123456789ab-77-88-0.avi")
    assert closing_line(installed(tmp_path / "in", out)) == "1 left to another run"
    assert closing_line(installed(tmp_path / "in", out, "--dry-run")) == "1 left to another run"
    assert len(unfinished(out)) == 1


def test_what_a_dead_run_left_of_an_input_that_is_gone_is_removed_too(tmp_path: Path) -> None:
    stacks(tmp_path / "in", 1)
    out = tmp_path / "out"
    claim(out, "0.avi", Owner(Owner.me().machine, 2**22 + 1, 1))
    write_mrc(tmp_path / "in" / "1.mrc", voxels(seed=1))  # only now, since a run makes several movies at a time
    (tmp_path / "in" / "0.mrc").unlink()
    (out / f"{HIDDEN}new-0123456789ab").mkdir()  # a run was killed just after it had made this
    (out / f"{HIDDEN}notes").write_text("not a directory, and so not ours")
    (out / f"{HIDDEN}old").mkdir()
    (out / f"{HIDDEN}old" / "0.avi.json").write_text("a directory, but no claim of ours by its name")
    old(out / f"{HIDDEN}old", minutes=1000)
    assert closing_line(installed(tmp_path / "in", out)) == "1 converted"
    assert unfinished(out) == [f"{HIDDEN}notes", f"{HIDDEN}old"]
    assert (out / f"{HIDDEN}old" / "0.avi.json").exists()


def test_a_process_of_the_same_number_in_a_container_is_another(tmp_path: Path) -> None:
    """The first process of every container is number 1."""
    stacks(tmp_path / "in", 1)
    out = tmp_path / "out"
    me = Owner.me()
    claim(out, "0.avi", Owner(me.machine, me.process, me.begin + 1))
    assert Owner(me.machine, me.process, me.begin + 1).is_alive() is False
    assert run(tmp_path / "in", out) == 0
    assert unfinished(out) == []


def test_what_a_dead_run_left_in_a_sub_directory_whose_inputs_are_gone_is_removed(tmp_path: Path) -> None:
    stacks(tmp_path / "in", 1)
    stacks(tmp_path / "in" / "day", 1)
    out = tmp_path / "out"
    claimed = out / "day" / f"{HIDDEN}0123456789abcdef"
    claimed.mkdir(parents=True)
    (claimed / f"{Owner(Owner.me().machine, 2**22 + 1, 1)}-0.avi").touch()
    (tmp_path / "in" / "day" / "0.mrc").unlink()
    assert closing_line(installed(tmp_path / "in", out, "--recursive")) == "1 converted"
    assert unfinished(out) == []


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    with subprocess.Popen([COMMAND, "--version"], stdout=subprocess.DEVNULL) as process:
        begin = Path(f"/proc/{process.pid}/stat")
        if not begin.exists():
            pytest.skip("no /proc here")
        owner = Owner(Owner.me().machine, process.pid, int(begin.read_text().rpartition(")")[2].split()[19]))
        assert owner.is_alive()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and was not buried yet
        assert not owner.is_alive()


def test_a_run_that_the_system_hides_from_other_users_is_not_taken_for_dead() -> None:
    """Shared machines are mounted so: /proc shows each user his own processes."""
    program = (
        "import os, sys; from mrc2movie.store.owner import Owner; machine = Owner.me().machine; "
        "os.setgroups([]); os.setgid(12345); os.setuid(12345); "
        "print(Owner(machine, int(sys.argv[1]), 1).is_alive(), Owner(machine, 2**22 + 1, 1).is_alive())"
    )
    hiding = ["unshare", "--mount", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*hiding, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no right to mount /proc anew here")
    words = [*hiding, sys.executable, "-c", program, str(os.getpid())]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "None False\n"


def test_without_proc_a_run_is_dead_when_no_process_has_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrc2movie.store.owner._PROC", Path("/nowhere"))
    with subprocess.Popen([COMMAND, "--version"], stdout=subprocess.DEVNULL) as process:
        owner = Owner(Owner.me().machine, process.pid, 0)
        assert owner.is_alive() is None  # it may be another of the same number
        process.wait()
        assert owner.is_alive() is False
    assert Owner.me().is_alive()


def test_a_file_that_crashed_two_runs_is_skipped_and_the_others_are_converted(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 3), tmp_path / "out"
    crash = faulty("read", "1.mrc", crash=1)
    for _ in range(2):
        assert installed(source, out, env=crash).returncode == -signal.SIGSEGV
    result = installed(source, out, env=crash)
    # Whether the last file was made before the first crash depends on the threads.
    assert closing_line(result) in ("1 converted, 1 up to date, 1 failed", "2 up to date, 1 failed")
    assert f"{source}/1.mrc: is skipped, since 2 runs crashed while they converted it; --overwrite" in result.stderr
    assert closing_line(installed(source, out, "--dry-run")) == "2 up to date, 1 failed"
    kept = Path(result.stderr.split("please report it with ")[1].splitlines()[0])
    assert "Segmentation fault" in kept.read_text()
    assert unfinished(out) == []


def test_a_file_that_crashed_two_runs_is_tried_again_with_overwrite_other_options_or_another_source(
    tmp_path: Path,
) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"

    crash = faulty("read", "0.mrc", crash=1)
    for options in ((), (), ("--overwrite",)):
        assert installed(source, out, *options, env=crash).returncode == -signal.SIGSEGV
    assert run(source, out) == 1
    assert run(source, out, "--overwrite", "--dry-run") == 0
    assert run(source, out, "--fps", "7", "--dry-run") == 0
    status = (source / "0.mrc").stat()
    os.utime(source / "0.mrc")
    assert run(source, out, "--dry-run") == 0
    os.utime(source / "0.mrc", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run(source, out, "--dry-run") == 1
    assert run(source, out, "--overwrite") == 0
    assert run(source, out) == 0
    assert [path.name for path in (out / ".mrc2movie").iterdir()] == ["0.avi.json"]


def test_runs_that_were_killed_from_outside_do_not_count_as_crashes(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    for _ in range(3):
        assert installed(source, out, env=faulty("read", "0.mrc", kill=1)).returncode == -signal.SIGKILL
    assert closing_line(installed(source, out)) == "1 converted"


def test_a_crash_counts_for_every_file_under_way_in_the_process(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from mrc2movie.store.claim import Claim; "
        "a, b, c = (Claim(Path(sys.argv[1]) / f'{name}.avi', name * 16) for name in 'abc'); "
        "a.__enter__(); b.__enter__(); a.__exit__(); c.__enter__(); os.kill(os.getpid(), signal.SIGSEGV)"
    )
    crashed = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, check=False)
    assert crashed.returncode == -signal.SIGSEGV
    remove_what_dead_runs_left(tmp_path)
    assert [len(crashes(tmp_path / f"{name}.avi", name * 16)) for name in "abc"] == [0, 1, 1]
    assert unfinished(tmp_path) == []
