"""The record: whatever became of it, the movie is made anew or the problem is named; a dry run touches nothing."""

import json
import math
import os
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from faults import closing_line, installed, mounted, stacks, tree, unfinished, voxels
from movies import run, write_mrc

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
def test_a_record_that_tells_nothing_lets_the_movie_and_its_pictures_be_made_anew(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*options: str) -> str:
        capsys.readouterr()
        assert run(source, out, "--thumbnail", "--contact-sheet", *options) == 0
        return capsys.readouterr().err

    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    said()
    record = out / ".mrc2movie" / "0.avi.json"
    record.write_bytes(DAMAGES[damage])
    newer = damage == "from a newer version"
    why = "its record is of another version of mrc2movie" if newer else "its record cannot be read"
    assert f"would be converted ({why})" in said("--dry-run")
    assert said("--format", "mp4").endswith("\n1 converted\n")  # its pictures have the same names
    assert said().endswith("\n1 converted\n")
    assert json.loads(record.read_text())["format"] == 1
    assert said().endswith("\n1 up to date\n")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_record_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    assert installed(source, out).returncode == 0
    record = out / ".mrc2movie" / "0.avi.json"
    record.unlink()
    os.mkfifo(record)
    assert closing_line(installed(source, out)) == "1 converted"
    assert closing_line(installed(source, out)) == "1 up to date"


def test_a_record_that_is_a_directory_is_named(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    (out / ".mrc2movie" / "0.avi.json" / "deeper").mkdir(parents=True)
    result = installed(source, out)
    assert result.returncode == 1
    assert "0.avi.json is where a file belongs" in result.stderr
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


def test_pictures_beside_a_movie_whose_record_is_damaged_stay_ours(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    assert run(source, out, "--thumbnail") == 0
    (out / ".mrc2movie" / "0.avi.json").write_text("{")
    assert run(source, out) == 0
    assert run(source, out, "--thumbnail") == 0


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


STRANGE: list[Any] = [None, True, 7, -1, 10**400, 1e308, math.nan, math.inf, "", "x", "\ud800", "\0", "../../x", [], {}]
STRANGE += [["x"], {"x": 1}, nested(700)]


def mutated(value: Any, random: Random) -> Any:
    """A copy of what JSON holds with one thing at a random place in it removed, or replaced by something strange."""
    if not isinstance(value, dict | list) or not value or random.random() < 0.1:
        return random.choice(STRANGE)
    copy = value.copy()
    key = random.choice(list(copy) if isinstance(copy, dict) else range(len(copy)))
    if random.random() < 0.2:
        del copy[key]
    else:
        copy[key] = mutated(copy[key], random)
    return copy


def test_a_record_whose_values_are_of_any_kind_never_meets_a_bug(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out, random = stacks(tmp_path / "in", 1), tmp_path / "out", Random(5)
    options = ("--thumbnail", "--discard-range", "0", "1")
    assert run(source, out, *options) == 0
    record = out / ".mrc2movie" / "0.avi.json"
    whole = json.loads(record.read_text())
    statuses = set()
    for _ in range(120):
        made = {key: whole[key] for key in ("format", "source", "source_paths", "movie", "pictures", "settings")}
        for _ in range(random.randint(1, 3)):
            if isinstance(made, dict):
                made = mutated(made, random)
        record.write_text(json.dumps(made))
        capsys.readouterr()
        statuses.add(run(source, out, *options, "--dry-run"))
        said = capsys.readouterr().err
        assert "bug" not in said, made
        assert "1 failed" not in said, made
    assert statuses == {0, 1}  # up to date or damaged, and another's


# The input


def test_a_movie_of_another_directory_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, day in enumerate(("day1", "day2")):
        (tmp_path / day).mkdir()
        write_mrc(tmp_path / day / "a.mrc", voxels(3 + number))
    out = tmp_path / "out"
    assert run(tmp_path / "day1" / "a.mrc", out, "--thumbnail") == 0
    before = tree(out)
    for source, options in ((tmp_path / "day2", ()), (tmp_path / "day2" / "a.mrc", ("--dry-run", "--fps", "3"))):
        capsys.readouterr()
        assert run(source, out, *options, "--log", tmp_path / "log") == 1
        said = capsys.readouterr().err
        assert f"{out}/a.avi is the movie of {tmp_path}/day1/a.mrc; --overwrite replaces it" in said
        assert tree(out) == before
    assert run(tmp_path / "day2", out, "--format", "mp4", "--thumbnail") == 1
    assert f"{out}/a.png is the picture of {tmp_path}/day1/a.mrc; --overwrite replaces it" in capsys.readouterr().err
    assert run(tmp_path / "day2", out, "--overwrite") == 0
    assert run(tmp_path / "day2", out) == 0
    assert run(tmp_path / "day1", out) == 1


def test_an_input_is_known_wherever_it_is_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*words: str | Path) -> str:
        capsys.readouterr()
        assert run(*words) == 0
        return capsys.readouterr().err.splitlines()[-1]

    def change(path: Path) -> None:
        write_mrc(path, voxels(5, seed=path.stat().st_mtime_ns % 1000))

    project = tmp_path / "project"
    project.mkdir()
    source, out = stacks(project / "in", 1), project / "out"
    assert said(source, out) == "1 converted"
    (tmp_path / "link").symlink_to(source)
    assert said(tmp_path / "link", out) == "1 up to date"
    change(source / "0.mrc")
    assert said(tmp_path / "link" / "0.mrc", out) == "1 converted"
    monkeypatch.chdir(project)
    change(source / "0.mrc")
    assert said(Path("in"), Path("out")) == "1 converted"
    source.rename(project / "staged")
    assert said(project / "staged", out) == "1 up to date"  # by its size and time of change
    (project / "staged").rename(source)
    project = project.rename(tmp_path / "moved")
    assert said(project / "in", project / "out") == "1 up to date"
    change(project / "in" / "0.mrc")
    assert said(project / "in", project / "out") == "1 converted"  # by its path from the movies


def test_a_record_of_an_earlier_version_knows_its_input_by_name(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    assert run(source, out) == 0
    record = out / ".mrc2movie" / "0.avi.json"
    old = json.loads(record.read_text())
    del old["source_paths"]
    record.write_text(json.dumps(old))
    before = tree(out)
    assert run(source, out, "--log", tmp_path / "log") == 0
    assert tree(out) == before
    assert run(write_mrc(source / "0.rec", voxels(5)), out) == 1
    (source / "0.rec").unlink()
    source.rename(tmp_path / "elsewhere")
    write_mrc(tmp_path / "elsewhere" / "0.mrc", voxels(5))
    assert run(tmp_path / "elsewhere", out) == 0
    assert json.loads(record.read_text())["source_paths"] == [f"{tmp_path}/elsewhere/0.mrc", "../elsewhere/0.mrc"]


def test_other_permissions_or_a_link_do_not_make_a_movie_anew(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    assert run(source, out) == 0
    before = tree(out)
    (source / "0.mrc").chmod(0o400)
    (tmp_path / "link").hardlink_to(source / "0.mrc")
    assert run(source, out, "--log", tmp_path / "log") == 0
    assert tree(out) == before


def test_the_record_of_a_movie_that_is_up_to_date_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out, reads = stacks(tmp_path / "in", 1), tmp_path / "out", []
    words = (source, out, "--thumbnail", "--contact-sheet")
    assert run(*words) == 0
    read_text = Path.read_text

    def counting(path: Path, *given: Any, **named: Any) -> str:
        if path.suffix == ".json":
            reads.append(path.name)
        return read_text(path, *given, **named)

    monkeypatch.setattr(Path, "read_text", counting)
    assert run(*words) == 0
    assert reads == ["0.avi.json"]


# Several users


def test_a_file_that_is_made_anew_keeps_its_permissions(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    assert run(source, out, "--thumbnail") == 0
    files = [out / "0.avi", out / "0.png", out / ".mrc2movie" / "0.avi.json"]
    for file in files:
        file.chmod(0o640)
    assert run(source, out, "--thumbnail", "--overwrite") == 0
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o640] * 3


@pytest.mark.parametrize(("mode", "directory", "file"), [(0o775, 0o775, 0o664), (0o755, 0o755, 0o644)])
def test_what_is_made_in_a_directory_of_a_group_is_the_groups(
    tmp_path: Path, mode: int, directory: int, file: int
) -> None:
    (tmp_path / "in").mkdir()
    source, out = stacks(tmp_path / "in" / "deeper", 1), tmp_path / "out"
    out.mkdir()
    out.chmod(mode)
    before = os.umask(0o022)
    try:
        assert run(source.parent, out, "--recursive", "--thumbnail") == 0
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*") if path.suffix != ".log"}
    assert modes == {
        "deeper": directory,
        "0.avi": file,
        "0.png": file,
        ".mrc2movie": directory,
        "0.avi.json": file,
    }


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be two users")
def test_records_that_another_user_keeps_to_himself_are_named_before_any_work(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with tempfile.TemporaryDirectory() as name:  # that of pytest is open to nobody else
        directory = Path(name)
        source, out = stacks(directory / "in", 2), directory / "out"
        (source / "1.mrc").rename(directory / "1.mrc")
        assert run(source, out) == 0
        for path in (directory, out, out / "mrc2movie.log"):
            path.chmod(0o777)
        (directory / "1.mrc").rename(source / "1.mrc")
        capsys.readouterr()
        os.seteuid(65534)
        try:
            assert run(source, out) == 1
        finally:
            os.seteuid(0)
        shown = capsys.readouterr().err
        assert shown.endswith("\n1 up to date, 1 failed\n")
        said = f"{out}/.mrc2movie: is another user's, and you may not write the records of your movies into it; let its"
        assert said in shown
        assert "chmod g+w" in shown
        assert not (out / "1.avi").exists()
