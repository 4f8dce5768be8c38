"""The record: whatever became of it, the movie is made anew or the problem is named; a dry run touches nothing."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from faults import closing_line, installed, mounted, stacks, tree, unfinished

DAMAGES = {
    "empty": b"",
    "truncated": b'{"format": 1, "source": {"name": "0.mrc", "si',
    "garbage": bytes(range(256)) * 20,
    "no object": b"[1, 2]",
    "nested without end": b"[" * 100_000,
    "a number without end": b'{"format": ' + b"9" * 10_000 + b"}",
    "settings of no kind": b'{"format": 1, "settings": []}',
    "from a newer version": b'{"format": 2, "source": 7}',
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_record_that_tells_nothing_lets_the_movie_be_made_anew(tmp_path: Path, damage: str) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    assert installed(source, out).returncode == 0
    record = out / ".mrc2movie" / "0.avi.json"
    record.write_bytes(DAMAGES[damage])
    why = {
        "from a newer version": "its record is of another version of mrc2movie",
        "settings of no kind": "the source has changed",
    }.get(damage, "its record cannot be read")
    planned = installed(source, out, "--dry-run")
    assert f"would be converted ({why})" in planned.stderr
    assert closing_line(installed(source, out)) == "1 converted"
    assert json.loads(record.read_text())["format"] == 1
    assert closing_line(installed(source, out)) == "1 up to date"


def test_a_record_that_is_a_directory_is_named(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    (out / ".mrc2movie" / "0.avi.json" / "deeper").mkdir(parents=True)
    result = installed(source, out)
    assert result.returncode == 1
    assert "its record 0.avi.json cannot be moved into place (Is a directory)" in result.stderr
    assert unfinished(out) == []
    assert not (out / "0.avi").exists()


def test_a_directory_of_records_that_is_read_only_is_named_and_the_old_movie_stays(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    assert installed(source, out).returncode == 0
    before = (out / "0.avi").read_bytes()
    records = out / ".mrc2movie"
    with mounted(records, "--bind", str(records)):
        subprocess.run(["mount", "-o", "remount,bind,ro", records], check=True)
        assert closing_line(installed(source, out)) == "1 up to date"
        result = installed(source, out, "--fps", "7")
        assert result.returncode == 1
        assert "its record 0.avi.json cannot be moved into place (" in result.stderr
        assert (out / "0.avi").read_bytes() == before
        assert unfinished(out) == []


def test_a_record_that_may_not_be_written_itself_is_replaced(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    assert installed(source, out).returncode == 0
    (out / ".mrc2movie" / "0.avi.json").chmod(0o444)
    assert closing_line(installed(source, out, "--fps", "7")) == "1 converted"


def test_a_dry_run_says_for_each_file_what_would_be_done_and_why_and_touches_nothing(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 6), tmp_path / "out"
    assert installed(source, out).returncode == 0
    os.utime(source / "0.mrc")
    (out / "1.avi").unlink()
    (out / "2.avi").write_bytes(b"changed")
    (out / ".mrc2movie" / "3.avi.json").unlink()
    (out / ".mrc2movie" / "4.avi.json").write_text("{")
    dead = out / ".mrc2movie-0123456789abcdef"
    dead.mkdir()
    (dead / "0123456789ab-1-1-0.avi").touch()
    os.utime(dead, (time.time() - 9999,) * 2)
    before = tree(tmp_path)
    result = installed(source, out, "--dry-run")
    assert tree(tmp_path) == before
    whys = {
        "0": "would be converted (the source has changed)",
        "1": "would be converted (new)",
        "2": "would be converted (the movie was changed)",
        "4": "would be converted (its record cannot be read)",
        "5": "up to date",
    }
    for stem, why in whys.items():
        assert f"{source}/{stem}.mrc -> {out}/{stem}.avi: {why}\n" in result.stderr
    assert f"{out}/3.avi is there without a record and so not ours" in result.stderr
    assert closing_line(result) == "1 up to date, 4 would be converted, 1 left alone"
    assert closing_line(installed(source, out, "--dry-run", "--overwrite")) == "6 would be converted"
    assert tree(tmp_path) == before
