"""Many runs on one output directory, on one machine or several: every movie right, none lost, none torn."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from faults import (
    COMMAND,
    closing_line,
    faulty,
    frame_count,
    installed,
    movies_in,
    stacks,
    started,
    unfinished,
    wait_for,
)
from movies import thinned

from mrc2movie import Settings, convert
from mrc2movie.cli import main
from mrc2movie.errors import LeftToAnotherRun
from mrc2movie.store.claim import Claim

COUNT = 40


def elsewhere(name: str) -> list[str]:
    """What lets a command believe to be on a machine of this name; skips the test where that cannot be."""
    words = ["unshare", "--uts", "sh", "-c", f'hostname {name} && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no right to take another host name here")
    return words


@pytest.mark.parametrize(
    ("machines", "container"),
    [
        (8, "avi"),
        *(pytest.param(*each, marks=pytest.mark.large) for each in ((1, "avi"), (1, "mp4"), (8, "mp4"))),
    ],
)
def test_eight_runs_at_once_make_every_movie_once(tmp_path: Path, machines: int, container: str) -> None:
    source, out = stacks(tmp_path / "in", COUNT), tmp_path / "out"
    words: list[str | Path] = [COMMAND, source, out, "--format", container, "--jobs", "1", "--log", "/dev/null"]
    runs = [
        subprocess.Popen([*(elsewhere(f"node{i}") if machines > 1 else []), *words], stderr=subprocess.PIPE, text=True)
        for i in range(8)
    ]
    said = [run.communicate(timeout=120)[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * 8
    assert sum(text.count(" frames of ") for text in said) == COUNT, "none was made twice"
    movies = movies_in(out)
    assert len(movies) == COUNT
    assert {frame_count(movie) for movie in movies.values()} == {10}
    assert unfinished(out) == []
    assert closing_line(installed(source, out, "--format", container)) == f"{COUNT} up to date"


@pytest.mark.parametrize(
    ("call", "match", "after"),
    [("remove", ".claim", 0), ("fsync", ".avi", 0), ("remove", ".claim", 1)],
    ids=["just claimed", "unfinished", "movie in place"],
)
def test_a_turn_of_a_slurm_job_takes_what_the_one_before_it_left_elsewhere(
    tmp_path: Path, call: str, match: str, after: int
) -> None:
    """Else the claim would be taken for a living run's for half an hour."""
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    lost = subprocess.run(
        [*elsewhere("node1"), COMMAND, source, out],
        env=faulty(call, match, after, kill=1) | {"SLURM_JOB_ID": "7"},
        check=False,
    )
    assert lost.returncode == -signal.SIGKILL
    in_place = len(movies_in(out))
    assert in_place == after
    other = installed(source, out, env=os.environ | {"SLURM_JOB_ID": "8"})
    assert closing_line(other) == ("1 up to date" if in_place else "1 left to another run")
    assert unfinished(out) != [], "another job cannot know that the node was lost"
    again = installed(source, out, env=os.environ | {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"})
    assert closing_line(again) == ("1 up to date" if in_place else "1 converted")
    assert unfinished(out) == []


def test_a_turn_that_is_killed_while_it_cleans_up_is_known_until_the_end(tmp_path: Path) -> None:
    """A large file takes a while to be removed from a network disk; and then there is no patience left."""
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    out.mkdir()
    code = """
import sys
from pathlib import Path
from mrc2movie.store.claim import Claim
from mrc2movie.store.turn import slurm_turn

with Claim(Path(sys.argv[1]), turn=slurm_turn({"SLURM_JOB_ID": "7"})) as claim:
    claim.hidden.touch()
"""
    words: list[str | Path] = [*elsewhere("node1"), sys.executable, "-c", code, out / "0.avi"]
    lost = subprocess.run(words, env=faulty("remove", ".avi", kill=1), check=False)
    assert lost.returncode == -signal.SIGKILL
    again = installed(source, out, env=os.environ | {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"})
    assert closing_line(again) == "1 converted"
    assert unfinished(out) == []


@pytest.mark.large
def test_eight_runs_of_which_some_are_killed_lose_nothing(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", COUNT, sections=60, rows=96, columns=96), tmp_path / "out"
    runs = [started(source, out, "--jobs", "1") for _ in range(8)]
    while len(movies_in(out)) < 3 and any(run.poll() is None for run in runs):
        time.sleep(0.005)
    for run in runs[::2]:
        run.kill()
    for run in runs:
        run.communicate(timeout=120)
    assert [run.returncode for run in runs[1::2]] == [0] * 4
    assert -signal.SIGKILL in [run.returncode for run in runs[::2]]
    assert {frame_count(movie) for movie in movies_in(out).values()} <= {118}
    assert installed(source, out).returncode == 0
    assert len(movies_in(out)) == COUNT
    assert unfinished(out) == []
    assert closing_line(installed(source, out)) == f"{COUNT} up to date"


def test_what_another_run_is_making_is_left_to_it(tmp_path: Path) -> None:
    source, out, mark = stacks(tmp_path / "in", 2), tmp_path / "out", tmp_path / "mark"
    first = started(source, out, "--jobs", "1", env=faulty("fsync", ".avi", sleep=2, mark=mark))
    wait_for(mark, first)
    planned = installed(source, out, "--dry-run")
    assert closing_line(planned) == "1 would be converted, 1 left to another run"
    second = installed(source, out)
    assert second.returncode == 0
    assert closing_line(second) == "1 converted, 1 left to another run"
    assert f"is being made by another run (process {first.pid})" in second.stderr
    _, said = first.communicate(timeout=120)
    assert said.splitlines()[-1] == "1 converted, 1 up to date"


@pytest.mark.parametrize("finished", thinned([True, False], 2))
def test_a_run_whose_claim_was_taken_for_abandoned_publishes_nothing(tmp_path: Path, finished: bool) -> None:
    """As after a laptop's sleep: another machine has taken over meanwhile, and maybe finished."""
    source, out, mark = stacks(tmp_path / "in", 1), tmp_path / "out", tmp_path / "mark"
    process = started(source, out, env=faulty("fsync", ".mrc2movie-", sleep=1, mark=mark))
    wait_for(mark, process)
    (claimed,) = out.glob(".mrc2movie-*")
    shutil.rmtree(claimed)
    if finished:
        assert closing_line(installed(source, out, "--fps", "7")) == "1 converted"
    else:
        claimed.mkdir()
        (claimed / "0123456789ab-77-88-0.claim").touch()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "another run took it for abandoned" in said
    if finished:
        assert closing_line(installed(source, out, "--fps", "7")) == "1 up to date"
    else:
        assert [path.name for path in claimed.iterdir()] == ["0123456789ab-77-88-0.claim"]


AS_ANOTHER_USER = """
import os, sys
from pathlib import Path
from mrc2movie.errors import LeftToAnotherRun, OutputError
from mrc2movie.store.claim import Claim, living_owner

os.setuid(12345)
target = Path(sys.argv[1])
owner = living_owner(target)
try:
    with Claim(target):
        print("taken")
except LeftToAnotherRun:
    print("left to", owner.in_words)
except OutputError as error:
    print(owner, error)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("secret", [False, True])
def test_another_users_claim_in_a_directory_for_all_is_left_to_him(secret: bool) -> None:
    """Sticky, as /tmp is: nobody may replace what is another's; and with umask 077 nobody may look into it."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o1777)
        target = Path(directory) / "a.avi"

        def another_user() -> str:
            words = [sys.executable, "-c", AS_ANOTHER_USER, str(target)]
            return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

        with Claim(target) as claim:
            if secret:
                claim.directory.chmod(0o700)
            seen = "owner unknown" if secret else f"process {os.getpid()}"
            assert another_user() == f"left to {seen}"
            if secret:
                then = time.time() - 31 * 60
                os.utime(claim.directory, (then, then))
                assert f"{claim.directory} is in the way, and belongs to another user (root)" in another_user()
        assert another_user() == "taken"
        assert list(Path(directory).iterdir()) == []


CLEANING_UP = """
import os, sys
from pathlib import Path
from mrc2movie.errors import OutputError
from mrc2movie.store.claim import Claim, remove_what_dead_runs_left

os.setuid(12345)
target = Path(sys.argv[1])
remove_what_dead_runs_left(target.parent)
try:
    with Claim(target):
        print("taken")
except OutputError as error:
    print(error)
"""


def claimed(target: Path) -> Path:
    """The place of a target's claim."""
    with Claim(target) as claim:
        return claim.directory


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("mode", [0o1777, 0o777])
@pytest.mark.parametrize("what", ["link", "directory", "claim"])
def test_what_another_user_put_in_place_of_a_claim_is_neither_followed_nor_removed(what: str, mode: int) -> None:
    """The name is known before, and in a directory for all anybody may take it."""
    with TemporaryDirectory() as directory:
        out, mine = Path(directory) / "out", Path(directory) / "mine"
        Path(directory).chmod(0o755)
        mine.mkdir()
        for name in ("thesis.tex", "0123456789ab-77-88-0.avi"):
            (mine / name).touch()
        out.mkdir()
        out.chmod(mode)
        place = claimed(out / "a.avi")
        if what == "link":
            place.symlink_to(mine)
            os.chown(place, 54321, 54321, follow_symlinks=False)
        else:
            place.mkdir()
            (place / ("0123456789ab-77-88-0.claim" if what == "claim" else "thesis.tex")).touch()
            os.chown(place, 54321, 54321)
        for path in (mine, place.resolve()):
            for file in (*path.iterdir(), path):
                os.chown(file, 12345 if path == mine else 54321, -1)
                os.utime(file, (0, 0))
        before = sorted(path for path in Path(directory).rglob("*"))
        words = [sys.executable, "-c", CLEANING_UP, str(out / "a.avi")]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert sorted(path for path in Path(directory).rglob("*")) == before
        why = "is a link; remove it" if what == "link" else "belongs to another user (54321)"
        assert f"the movie cannot be written: {place} is in the way, and {why}" in said


@pytest.mark.parametrize("holds", [True, False])
def test_what_is_in_the_way_of_a_claim_is_named_and_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, holds: bool
) -> None:
    if not holds:  # as on Windows, where directories cannot be held open
        monkeypatch.setattr("mrc2movie.store.claim._HOLDS_DIRECTORIES", False)
    source, out, mine = stacks(tmp_path / "in", 1), tmp_path / "out", tmp_path / "mine"
    out.mkdir()
    mine.mkdir()
    (mine / "0123456789ab-77-88-0.avi").touch()
    os.utime(mine / "0123456789ab-77-88-0.avi", (0, 0))
    os.utime(mine, (0, 0))
    place = claimed(out / "0.avi")

    def said(way: str, why: str) -> None:
        for options in ((), ("--dry-run",)) if way == str(place) else ((),):
            assert main([str(source), str(out), *options]) == 1
            said = f"{out}/0.avi: the movie cannot be written: {way} is in the way, and {why}; remove it"
            assert said in capsys.readouterr().err.replace("\n", " ")

    place.symlink_to(mine)
    said(str(place), "is a link")
    assert len(list(mine.iterdir())) == 1
    place.unlink()
    place.touch()
    said(str(place), "is a file")
    place.unlink()
    (place / "notes").mkdir(parents=True)
    said(f"{place}/notes", "does not belong there")
    (place / "notes").rmdir()
    (place / "0123456789ab-77-88-0.avi").mkdir()
    os.utime(place / "0123456789ab-77-88-0.avi", (0, 0))
    os.utime(place, (0, 0))
    assert main([str(source), str(out)]) == 0, "a directory of a dead run: some products are directories"
    assert unfinished(out) == []


def test_threads_of_one_process_leave_a_movie_to_each_other_too(tmp_path: Path) -> None:
    source, target = stacks(tmp_path / "in", 1) / "0.mrc", tmp_path / "0.avi"
    with Claim(target), pytest.raises(LeftToAnotherRun):
        convert(source, target)
    assert unfinished(tmp_path) == []
    assert convert(source, target, Settings(fps=5)).record.frames.frames == 10


def test_a_run_marks_its_claim_as_long_as_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrc2movie.store.claim._BEAT_SECONDS", 0.05)
    threads = threading.active_count()
    with Claim(tmp_path / "a.avi") as claim:
        before = claim.directory.stat().st_mtime_ns
        time.sleep(0.3)
        assert claim.directory.stat().st_mtime_ns > before
    assert threading.active_count() == threads
    assert list(tmp_path.iterdir()) == []
