"""Disks that are full, over quota, failing, read-only or gone: the error is named, and nothing unfinished remains."""

import errno
import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from faults import (
    COMMAND,
    WAYS,
    closing_line,
    faulty,
    frame_count,
    installed,
    mounted,
    movies_in,
    stacks,
    started,
    unfinished,
    voxels,
    wait_for,
    way_options,
)
from movies import run, thinned, write_mrc

from mrc2movie import convert
from mrc2movie.errors import DiskFull, OutputError
from mrc2movie.store.spool import PacketSpool

pytestmark = pytest.mark.skipif(os.name == "nt", reason="such file systems and signals are not on Windows")

FULL = "No space left on device"
QUOTA = "Disk quota exceeded"
FAILING = "Input/output error"


@pytest.mark.parametrize("way", thinned(WAYS, 4))
def test_a_full_disk_is_named_and_ends_the_run_with_a_hint_how_to_resume(tmp_path: Path, way: str) -> None:
    source = stacks(tmp_path / "in", 3, sections=20, rows=256, columns=256)
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=900k", "tmpfs") as disk:
        result = installed(source, disk / "out", *way_options(way), "--log", tmp_path / "log")
        assert result.returncode == 1
        assert f"({FULL}); make room" in result.stderr
        assert result.stderr.count(FULL) == 1, "one file fails, and no other is tried"
        assert "the same command again carries on" in result.stderr
        assert closing_line(result).endswith("not begun")
        assert unfinished(disk) == []
        assert not [path for path in movies_in(disk / "out").values() if frame_count(path) != 38]


@pytest.mark.parametrize("axis", ["y", "x"])
def test_a_disk_without_room_for_the_planes_of_another_axis_is_named(tmp_path: Path, axis: str) -> None:
    source = stacks(tmp_path / "in", 2, sections=20, rows=256, columns=256)
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=900k", "tmpfs") as disk:
        result = installed(source, disk / "out", "--axis", axis, "--log", tmp_path / "log")
        assert result.returncode == 1
        assert f"planes along another axis cannot be kept ({FULL}); make room, or show fewer" in result.stderr
        assert closing_line(result) == "1 failed, 1 not begun"
        assert not movies_in(disk / "out") and unfinished(disk) == []


@pytest.mark.parametrize(
    ("way", "number", "name", "stops"),
    [
        pytest.param(way, *error, marks=[pytest.mark.large] if (place + turn) % 5 else [])  # some by default
        for place, way in enumerate(WAYS)
        for turn, error in enumerate(
            [(errno.ENOSPC, FULL, True), (errno.EDQUOT, QUOTA, True), (errno.EIO, FAILING, False)]
        )
    ],
)
def test_a_write_that_fails_is_named_by_its_cause(
    tmp_path: Path, way: str, number: int, name: str, stops: bool
) -> None:
    source, out = stacks(tmp_path / "in", 2), tmp_path / "out"
    environment = faulty("write", ".mrc2movie-", after=3000, error=number)
    result = installed(source, out, *way_options(way), env=environment)
    assert result.returncode == 1
    assert result.stderr.count(f"({name})") == (1 if stops else 2)
    assert len(result.stderr.splitlines()) == 5, "a library said something, too"
    assert closing_line(result) == ("1 failed, 1 not begun" if stops else "2 failed")
    assert "Traceback" not in result.stderr
    assert unfinished(out) == []
    assert movies_in(out) == {}


@pytest.mark.parametrize("call", ["fsync", "rename", "create"])
@pytest.mark.parametrize(
    ("number", "name"), thinned([(errno.ENOSPC, FULL), (errno.EDQUOT, QUOTA), (errno.EIO, FAILING)], 3)
)
def test_a_flush_or_a_renaming_that_fails_is_named_by_its_cause(
    tmp_path: Path, call: str, number: int, name: str
) -> None:
    source, out = stacks(tmp_path / "in", 2), tmp_path / "out"
    result = installed(source, out, env=faulty(call, ".mrc2movie-", error=number))
    assert result.returncode == 1
    assert f"({name})" in result.stderr
    assert closing_line(result) == ("2 failed" if number == errno.EIO else "1 failed, 1 not begun")
    assert "Traceback" not in result.stderr
    assert unfinished(out) == []
    assert movies_in(out) == {}


@pytest.mark.parametrize(
    "size", [pytest.param(size, marks=[pytest.mark.large] if size % 12 else []) for size in range(200, 232, 4)]
)
def test_a_disk_without_room_for_what_is_unpacked_is_named_and_ends_the_run(tmp_path: Path, size: int) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for number in range(2):
        plain = write_mrc(tmp_path / "plain", voxels(20, 128, 128))
        (source / f"{number}.mrc.gz").write_bytes(gzip.compress(plain.read_bytes(), 1))
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs") as disk:
        result = installed(source, disk / "out", "--playback", "backward", "--log", tmp_path / "log")
        assert result.returncode == 1
        assert f"in another order, cannot be kept ({FULL}); make room, or take the file's own order" in result.stderr
        assert closing_line(result) == "1 failed, 1 not begun"
        assert unfinished(disk) == []


def test_a_disk_without_room_for_directories_ends_the_run(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for day in ("a", "b", "c"):
        stacks(source / day, 1)
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "nr_inodes=2", "tmpfs") as disk:
        result = installed(source, disk / "out", "--recursive", "--log", tmp_path / "log")
        assert result.returncode == 1
        assert f"its directory cannot be made ({FULL}); make room" in result.stderr
        assert closing_line(result) == "1 failed, 2 not begun"


def test_an_input_directory_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    stacks(source / "day1", 1)
    stacks(source / "day2", 1)
    result = installed(source, out, "--recursive", env=faulty("list", "/in/day2", error=errno.EIO))
    assert result.returncode == 1
    assert f"{source}/day2: cannot be listed ({FAILING})" in result.stderr
    assert closing_line(result) == "2 converted, 1 failed"
    result = installed(source, out, env=faulty("list", "/in", error=errno.EIO))
    assert result.returncode == 2
    assert f"{source} cannot be looked at ({FAILING})" in result.stderr


def test_a_disk_that_flushes_no_directories_gets_its_movies_all_the_same(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    # The movie is flushed first, then the record and its directory, then the movie and its directory.
    result = installed(source, out, env=faulty("fsync", "/out", after=2, error=errno.EINVAL))
    assert closing_line(result) == "1 converted"
    assert result.returncode == 0


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_disk_that_flushes_nothing_gets_its_movies_all_the_same(tmp_path: Path, number: int) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    result = installed(source, out, "--thumbnail", "32", env=faulty("fsync", "/out", error=number))
    assert closing_line(result) == "1 converted"
    assert result.returncode == 0


@pytest.mark.parametrize("way", ["avi", "mp4", "gif"])
def test_a_power_loss_at_any_moment_leaves_only_whole_files_under_their_names(tmp_path: Path, way: str) -> None:
    """What was written and not flushed is lost, and so are names in a directory that was not flushed."""
    source, out, log = stacks(tmp_path / "in", 2), tmp_path / "out", tmp_path / "calls"
    environment = faulty("none", "", log=log)
    options = ["--thumbnail", "32", "--contact-sheet", *way_options(way)]
    assert installed(source, out, "--jobs", "1", *options, env=environment).returncode == 0
    written, flushed, named, unsafe = set(), set(), [], set()
    for line in log.read_text().splitlines():
        call, path, to = line.split("\t")
        if call == "write":
            written.add(path)
            flushed.discard(path)
        elif call == "fsync":
            flushed.add(path)
            unsafe.discard(path)
        elif call == "rename" and not Path(to).name.startswith(".mrc2movie-"):
            assert path in written & flushed, f"{to} can be there without its content"
            named.append(Path(to).name)
            unsafe.add(str(Path(to).parent))
        elif call == "rmdir":
            assert unsafe == set(), "the claim is given up before the names last"
    expected = [
        name for stem in "01" for name in (f"{stem}.{way}.json", f"{stem}.png", f"{stem}.contact.png", f"{stem}.{way}")
    ]
    assert named.pop(0) == next((out / ".mrc2movie" / "plans").iterdir()).name
    assert named == expected


def test_a_directory_in_place_of_a_movie_is_named_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "0.mrc", tmp_path / "out"
    source.write_bytes(b"which would be named when it is read")
    for place in (out / "0.avi", out / "0.png", out / ".mrc2movie" / "0.avi.json"):
        place.mkdir(parents=True)
        for options in ((), ("--overwrite",), ("--dry-run",)):
            assert run(source, out, "--thumbnail", "32", *options) == 1
            why = f"{out}/0.avi: the directory {place} is where a file belongs; rename it"
            assert why in capsys.readouterr().err.replace("\n", " ")
        assert unfinished(out) == []
        place.rmdir()
    (out / "0.avi").mkdir()
    with pytest.raises(OutputError, match="is where a file belongs"):
        convert(source, out / "0.avi")


def test_a_directory_that_only_grows_keeps_no_more_than_one_leftover_a_run(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 3), tmp_path / "out"
    result = installed(source, out, env=faulty("remove", "/out/.mrc2movie-new", error=errno.EPERM))
    assert result.returncode == 1
    why = "the movie cannot be written (Operation not permitted); take an OUTPUT_DIR where you may rename and remove"
    assert result.stderr.count(why) == 3
    assert len(unfinished(out)) <= 2, "a directory and the mark in it"


@pytest.mark.parametrize("descriptors", [6, 7, 8])
def test_too_few_descriptors_leave_nothing_behind(tmp_path: Path, descriptors: int) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    words = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", str(COMMAND), str(source), str(out)]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode in (0, 1, 2)
    assert unfinished(out) == []


def test_bytes_of_which_a_disk_takes_only_a_part_are_kept_whole(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from mrc2movie.store.spool import Spool\n"
        "spool, pieces = Spool(Path(sys.argv[1]), 'the bytes'), [os.urandom(size) for size in (1, 1000, 333)]\n"
        "for place, piece in enumerate(pieces): spool.write(place * 1000, memoryview(piece))\n"
        "for place, piece in enumerate(pieces):\n"
        "    found = bytearray(len(piece))\n"
        "    spool.read_into(place * 1000, memoryview(found))\n"
        "    assert found == piece, place\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    result = subprocess.run(
        words, env=faulty("write", str(tmp_path), short=1), capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_failure_at_the_very_end_leaves_the_old_movie_which_is_then_made_anew(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    assert installed(source, out).returncode == 0
    before = (out / "0.avi").read_bytes()
    # The claim is renamed first, then the record, and then the movie.
    environment = faulty("rename", ".mrc2movie-", after=2, error=errno.EIO)
    result = installed(source, out, "--fps", "7", env=environment)
    assert f"the movie cannot be moved into place ({FAILING})" in result.stderr
    assert (out / "0.avi").read_bytes() == before
    assert closing_line(installed(source, out)) == "1 converted"


def test_a_full_disk_spoils_neither_the_run_nor_the_log_when_only_the_log_is_on_it(tmp_path: Path) -> None:
    source = stacks(tmp_path / "in", 2)
    result = installed(source, tmp_path / "out", "--log", "/dev/full")
    assert result.returncode == 0
    assert result.stderr.count("/dev/full: the log cannot be written") == 1
    assert closing_line(result) == "2 converted"


def test_frames_kept_for_the_way_back_need_room_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as disk:
        monkeypatch.setattr("mrc2movie.store.spool.free_memory", lambda: 0)
        with closing(PacketSpool(disk)) as spool, pytest.raises(DiskFull, match=rf"way back cannot be kept \({FULL}\)"):
            for _ in range(13):  # 104 MB; 96 are kept in memory
                spool.append(np.zeros(2**23, np.uint8))
        assert list(disk.iterdir()) == []


@pytest.mark.large
def test_a_disk_without_room_for_the_frames_of_the_way_back_is_named(tmp_path: Path) -> None:
    source = stacks(tmp_path / "in", 1, sections=300, rows=900, columns=900)
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=150m", "tmpfs") as disk:
        result = installed(source, disk / "out", "--quality", "98", "--log", tmp_path / "log")
        assert f"({FULL})" in result.stderr
        assert unfinished(disk) == []


def test_a_read_only_file_system_is_named(tmp_path: Path) -> None:
    source = stacks(tmp_path / "in", 2)
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(8 * 2**20)
    if shutil.which("mke2fs") is None:
        pytest.skip("no mke2fs to make a file system with")
    subprocess.run(["mke2fs", "-q", "-F", image], check=True)
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
        assert installed(source, disk / "out").returncode == 0
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        log = tmp_path / "log"
        result = installed(source, disk / "out", "--overwrite", "--log", log)
        assert result.returncode == 1
        assert result.stderr.count("(Read-only file system); take another OUTPUT_DIR") == 2
        assert closing_line(installed(source, disk / "out", "--log", log)) == "2 up to date"
        result = installed(source, disk / "out", "--overwrite")
        assert result.returncode == 1
        assert "the log cannot be written (Read-only file system)" in result.stderr
        result = installed(source, disk / "new", "--log", log)
        assert f"{disk}/new: the output directory cannot be made (Read-only file system)" in result.stderr


def test_a_disk_that_becomes_read_only_fails_the_file(tmp_path: Path) -> None:
    source = stacks(tmp_path / "in", 1)
    result = installed(source, tmp_path / "out", env=faulty("write", ".mrc2movie-", after=1000, error=errno.EROFS))
    assert result.returncode == 1
    assert "(Read-only file system)" in result.stderr


def test_an_output_directory_that_vanishes_is_named_and_not_made_again(tmp_path: Path) -> None:
    source, out, mark = stacks(tmp_path / "in", 2), tmp_path / "out", tmp_path / "mark"
    environment = faulty("fsync", ".avi", sleep=1, mark=mark)
    process = started(source, out, "--jobs", "1", env=environment)
    wait_for(mark, process)
    shutil.rmtree(out)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the output directory has vanished" in said
    assert f"{out}: No such file or directory" in said
    assert said.splitlines()[-1] == "2 failed"
    assert not out.exists()


def test_a_disk_that_hangs_does_not_keep_a_second_signal_waiting(tmp_path: Path) -> None:
    source, out, mark = stacks(tmp_path / "in", 1), tmp_path / "out", tmp_path / "mark"
    process = started(source, out, env=faulty("fsync", ".mrc2movie-", sleep=9, mark=mark))
    wait_for(mark, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.12)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    assert time.monotonic() - begin < 0.2  # 0.28 without a second one
    assert process.returncode == 130
    process.communicate()
