"""Inputs that grow, shrink, are replaced or removed while they are read: that file fails, and its message says why."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import closing_line, faulty, installed, started, unfinished, voxels, wait_for
from movies import write_mrc


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(1000))


def shrink(path: Path) -> None:
    os.truncate(path, 5000)


def shrink_a_little(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def replace(path: Path) -> None:
    write_mrc(path.with_name("other"), voxels(seed=7)).replace(path)


def write_over(path: Path) -> None:
    with path.open("rb+") as file:
        file.seek(4000)
        file.write(b"other")


def write_over_and_set_the_time_back(path: Path) -> None:
    before = path.stat()
    write_over(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = [
    (grow, "became longer while it was read"),
    (shrink, "became shorter while it was read"),
    (shrink_a_little, "became shorter while it was read"),
    (empty, "became shorter while it was read"),
    (replace, "was replaced by another file while it was read"),
    (Path.unlink, "was removed while it was read"),
    (write_over, "was written to while it was read"),
    (write_over_and_set_the_time_back, "was written to, or its attributes were changed, while it was read"),
]


@pytest.mark.parametrize(
    ("change", "message", "when"),
    [
        pytest.param(*change, when, marks=[] if (2 * turn + place) % 6 == 0 else [pytest.mark.large])  # some by default
        for place, change in enumerate(CHANGES)
        for turn, when in enumerate((1, 6, 11))
    ],
)
def test_a_file_that_changes_while_it_is_read_fails_and_says_so(
    tmp_path: Path, change: Callable[[Path], None], message: str, when: int
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    changing, out, mark = write_mrc(source / "a.mrc", voxels()), tmp_path / "out", tmp_path / "mark"
    write_mrc(source / "b.mrc", voxels())
    # A read hangs for a while: near the header, while measuring, or while converting.
    process = started(source, out, env=faulty("read", "a.mrc", after=when, sleep=0.4, once=1, mark=mark))
    wait_for(mark, process)
    change(changing)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"{changing}: {message}" in said
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "1 converted, 1 failed"
    assert unfinished(out) == []
    assert sorted(path.name for path in out.glob("*.avi")) == ["b.avi"]


def test_a_file_that_was_still_being_written_is_converted_by_the_next_run(tmp_path: Path) -> None:
    source, out, mark = tmp_path / "in", tmp_path / "out", tmp_path / "mark"
    source.mkdir()
    whole = write_mrc(tmp_path / "whole", voxels(8)).read_bytes()
    (source / "a.mrc").write_bytes(whole[:15000])
    process = started(source, out, env=faulty("fsync", ".mrc2movie-", sleep=1, mark=mark))
    wait_for(mark, process)
    (source / "a.mrc").write_bytes(whole)
    _, said = process.communicate(timeout=120)
    assert "a.mrc: became longer while it was read; convert it again when nothing writes to it" in said
    again = installed(source, out)
    assert closing_line(again) == "1 converted"
    assert "14 frames" in again.stderr
