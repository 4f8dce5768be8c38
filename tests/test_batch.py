"""Directories, names, what is up to date, what is left behind."""

import gc
import gzip
import json
import os
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import mounted
from movies import frames, ramp, run, write_mrc
from mrc_bytes import mrc, write

from mrc2movie import __version__, convert_directory
from mrc2movie.batch.plan import plan
from mrc2movie.batch.report import Status
from mrc2movie.errors import UsageError
from mrc2movie.options.settings import Settings
from mrc2movie.readers.source import InputFile


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    """A directory with two MRC files and something else."""
    directory = tmp_path / "in"
    directory.mkdir()
    write_mrc(directory / "a.mrc", ramp(3))
    write_mrc(directory / "b.st", ramp(5))
    (directory / "notes.txt").write_text("not a stack")
    return directory


def names(directory: Path) -> list[str]:
    """All files below a directory, without its log and the plans of its runs."""
    found = (path for path in directory.rglob("*") if path.is_file() and path.parent.name != "plans")
    return sorted(path.relative_to(directory).as_posix() for path in found if path.name != "mrc2movie.log")


def targets(directory: Path, *files: str, **settings: object) -> dict[str, str]:
    """The planned movie of each input."""
    for file in files:
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        (directory / file).touch()
    jobs = plan([directory], directory / "out", Settings(**settings))  # type: ignore[arg-type]
    return {
        job.source.relative_to(directory).as_posix(): job.target.relative_to(directory / "out").as_posix()
        for job in jobs
    }


def test_every_file_of_a_directory_becomes_a_movie_and_leaves_nothing_else(stacks: Path, tmp_path: Path) -> None:
    assert run(stacks, tmp_path / "out") == 0
    assert names(tmp_path / "out") == [".mrc2movie/a.avi.json", ".mrc2movie/b.avi.json", "a.avi", "b.avi"]
    assert len(list((tmp_path / "out" / ".mrc2movie" / "plans").iterdir())) == 1
    assert len(frames(tmp_path / "out" / "b.avi")) == 8


def test_all_suffixes_of_the_field_are_known_in_any_case(tmp_path: Path) -> None:
    suffixes = (
        "mrc mrcs st ali preali rec map ccp4 bl flat join sint sqz srec mrcz MRC Rec mrc.gz st.BZ2 rec.xz map.zst "
        "tif TIFF dm3 DM4 em ser spi hed"
    )
    files = [f"{i}.{suffix}" for i, suffix in enumerate(suffixes.split())]
    found = targets(tmp_path, *files, "x.txt", "mrc", ".gz", "y.gz")
    assert found == {file: file.split(".")[0] + ".avi" for file in files}


def test_files_come_in_natural_order(tmp_path: Path) -> None:
    files = ["Tilt_1.mrc", "tilt_2.mrc", "tilt_10.mrc", "tilt_10b.mrc", "tilt_010c.mrc"]
    assert list(targets(tmp_path, *reversed(files))) == files


def test_only_inputs_that_would_meet_keep_their_suffixes(tmp_path: Path) -> None:
    assert targets(tmp_path, "a.st", "a.rec", "b.mrc", "c.mrc", "c.mrc.gz") == {
        "a.rec": "a.rec.avi",
        "a.st": "a.st.avi",
        "b.mrc": "b.avi",
        "c.mrc": "c.mrc.avi",
        "c.mrc.gz": "c.mrc.gz.avi",
    }


def test_a_name_that_makes_way_does_not_meet_a_third(tmp_path: Path) -> None:
    found = targets(tmp_path, "a.mrc", "a.st", "a.st.mrc")
    assert found == {"a.mrc": "a.mrc.avi", "a.st": "a.st.avi", "a.st.mrc": "a.st.mrc.avi"}


def test_recursive_mirrors_sub_directories_and_skips_its_own_output(tmp_path: Path) -> None:
    files = ["a.mrc", "day1/a.mrc", "day1/deep/b.st", "out/old.mrc", ".cache/c.mrc"]
    assert targets(tmp_path, *files, recursive=True) == {
        "a.mrc": "a.avi",
        "day1/a.mrc": "day1/a.avi",
        "day1/deep/b.st": "day1/deep/b.avi",
    }
    assert list(targets(tmp_path)) == ["a.mrc"]


def test_recursive_converts_into_mirrored_directories(tmp_path: Path) -> None:
    (tmp_path / "in" / "day1").mkdir(parents=True)
    write_mrc(tmp_path / "in" / "day1" / "a.mrc", ramp())
    assert run(tmp_path / "in", tmp_path / "out", "--recursive") == 0
    assert names(tmp_path / "out") == ["day1/.mrc2movie/a.avi.json", "day1/a.avi"]


def test_a_pattern_chooses_whatever_the_suffix(tmp_path: Path) -> None:
    found = targets(tmp_path, "x_rec.mrc", "x.mrc", "raw_rec.dat", pattern="*_rec.*")
    assert found == {"raw_rec.dat": "raw_rec.dat.avi", "x_rec.mrc": "x_rec.avi"}


def test_one_file_is_converted_whatever_its_name(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "stack", ramp())
    assert run(source, tmp_path / "out") == 0
    assert (tmp_path / "out" / "stack.avi").exists()


def test_nothing_to_convert_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, tmp_path / "out") == 2
    assert "named like a file of sections; choose others with --pattern" in capsys.readouterr().err
    assert run(tmp_path / "missing", tmp_path / "out") == 2
    assert "missing: does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_wrong_usage(stacks: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match="is not a directory"):
        convert_directory(stacks, tmp_path / "out")


def test_a_bad_file_gets_one_line_and_never_stops_the_others(
    stacks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stacks / "aa.mrc").write_bytes(b"nonsense")
    assert run(stacks, tmp_path / "out") == 1
    assert made(tmp_path / "out") == ["a.avi", "b.avi"]
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "aa.mrc" in line] == [f"[2/3] {stacks}/aa.mrc: is no MRC file but a text file"]
    assert lines[-1] == "2 converted, 1 failed"


def test_the_same_command_again_skips_what_is_up_to_date(
    stacks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(stacks, tmp_path / "out") == 0
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.avi")}
    capsys.readouterr()
    assert run(stacks, tmp_path / "out") == 0
    assert capsys.readouterr().err.splitlines()[-1] == "2 up to date"
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.avi")} == before


def test_what_has_changed_is_made_anew(stacks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def again(*options: str) -> list[str]:
        capsys.readouterr()
        assert run(stacks, tmp_path / "out", *options) == 0
        return [line for line in capsys.readouterr().err.splitlines() if "a.mrc" in line]

    def converted(*options: str) -> bool:
        return "frames of" in again(*options)[0]

    movie, record = tmp_path / "out" / "a.avi", tmp_path / "out" / ".mrc2movie" / "a.avi.json"
    assert converted()
    assert converted("--fps", "12")
    assert not converted("--fps", "12", "--jobs", "1", "--verbose")  # these do not change the movie
    write_mrc(stacks / "a.mrc", ramp(3) + 1)
    assert converted("--fps", "12")
    assert not converted("--fps", "12.0")
    movie.write_bytes(movie.read_bytes()[:-1])
    assert converted("--fps", "12")
    for damage in ("", "{", "[]", '{"format": 99}', '{"format": 1}'):
        record.write_text(damage)
        assert converted("--fps", "12"), damage
    assert converted("--fps", "12", "--overwrite")


def test_a_movie_without_a_record_is_left_alone_unless_overwritten(
    stacks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    mine = tmp_path / "out" / "a.avi"
    mine.write_bytes(b"my own film")
    assert run(stacks, tmp_path / "out") == 1
    assert mine.read_bytes() == b"my own film"
    assert "without a record and so not ours; --overwrite replaces it" in capsys.readouterr().err
    assert run(stacks, tmp_path / "out", "--overwrite") == 0
    assert len(frames(mine)) == 4


def test_a_dry_run_says_what_it_would_do_and_touches_nothing(
    stacks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(stacks, tmp_path / "out", "--dry-run") == 0
    assert f"{stacks}/a.mrc -> {tmp_path}/out/a.avi: would be converted (new)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run(stacks, tmp_path / "out") == 0
    capsys.readouterr()
    assert run(stacks, tmp_path / "out", "--dry-run", "--fps", "9") == 0
    assert "would be converted (other fps)" in capsys.readouterr().err


def test_the_record_says_how_the_movie_was_made(stacks: Path, tmp_path: Path) -> None:
    assert run(stacks, tmp_path / "out", "--discard_range", "0", "1", "--quality", "80") == 0
    record = json.loads((tmp_path / "out" / ".mrc2movie" / "b.avi.json").read_text())
    status = (stacks / "b.st").stat()
    assert record["source"] == {"name": "b.st", "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    assert record["movie"]["size"] == (tmp_path / "out" / "b.avi").stat().st_size
    assert record["settings"]["quality"] == 80
    assert record["settings"]["discard_range"] == [0, 1]
    assert record["grey_range"] == [60.0, 299.0]
    assert record["sections"] == [1, 2, 3, 4]
    assert record["frames"] == {"frames": 6, "width": 10, "height": 6, "fps": 30.0}
    assert list(record["seconds"]) == [
        *("reading", "measuring", "fitting", "contrast", "encoding", "writing", "flushing and verifying")
    ]
    assert record["header"]["mode"] == "1 (16-bit signed integer)"
    assert record["version"]


def test_the_log_is_appended_with_one_header_a_run(stacks: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert run(stacks, tmp_path / "out", "--quiet") == 0
    log = (tmp_path / "out" / "mrc2movie.log").read_text()
    assert log.count(f"{stacks} {tmp_path}/out --quiet") == 2
    assert log.count("frames of 10 x 6") == 2
    assert run(stacks, tmp_path / "out", "--log", tmp_path / "elsewhere.log") == 0
    assert "up to date" in (tmp_path / "elsewhere.log").read_text()
    assert (tmp_path / "out" / "mrc2movie.log").read_text() == log


def test_an_output_directory_that_cannot_be_made_is_named(
    stacks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    assert run(stacks, out) == 1
    assert f"{out}/mrc2movie.log: the log cannot be written" in capsys.readouterr().err
    report = convert_directory(stacks, out)
    assert [outcome.status for outcome in report.outcomes] == [Status.FAILED] * 2
    assert report.outcomes[0].why == f"{out}: the output directory cannot be made (Not a directory)"


def test_an_unexpected_error_is_reported_as_our_bug_and_the_batch_goes_on(
    stacks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_once(*arguments: object) -> None:
        monkeypatch.undo()
        raise ZeroDivisionError("by nought\x1b[2J")

    for options, traceback_shown in (((), False), (("--verbose", "--overwrite"), True)):
        monkeypatch.setattr("mrc2movie.conversion.measure.choose_range", fail_once)
        assert run(stacks, tmp_path / "out", "--jobs=1", *options) == 1  # one file after the other
        shown = capsys.readouterr().err
        assert f"{stacks}/a.mrc: unexpected ZeroDivisionError (by nought\\x1b[2J); this is a bug of mrc2movie" in shown
        assert "\x1b" not in shown + (tmp_path / "out" / "mrc2movie.log").read_text()
        assert "1 converted, 1 failed" in shown
        assert ("Traceback" in shown) is traceback_shown


@pytest.mark.parametrize("options", [(), ("-v",)])
def test_an_unexpected_error_that_is_about_no_file_is_reported_as_our_bug(
    stacks: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("by nought\x1b[2J")

    monkeypatch.setattr("mrc2movie.batch.plan.plan", fail)
    assert run(stacks, tmp_path / "out", *options) == 1
    *before, last = (shown := capsys.readouterr().err).splitlines()
    assert "\x1b" not in shown
    assert f"unexpected ZeroDivisionError (by nought\\x1b[2J); this is a bug of mrc2movie {__version__}" in last
    assert (before[:1] == ["Traceback (most recent call last):"]) is bool(options)


def test_an_input_that_cannot_be_looked_at_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"xxx( cannot be looked at \(File name too long\)|: does not exist);"):
        plan([tmp_path / ("x" * 300)], tmp_path / "out", Settings())


def test_x_contact_and_the_contact_sheet_of_x_do_not_meet(tmp_path: Path) -> None:
    found = targets(tmp_path, "x.mrc", "x.contact.mrc", "y.contact.mrc")
    assert found == {
        "x.contact.mrc": "x.contact.mrc.avi",
        "x.mrc": "x.mrc.avi",
        "y.contact.mrc": "y.contact.avi",
    }
    found = targets(tmp_path, "x.contact", pattern="x*")
    assert (found["x.contact"], found["x.mrc"]) == ("x.contact.avi", "x.mrc.avi")


def test_a_movie_of_another_input_is_left_alone(
    stacks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a loop over files that takes one at a time."""
    out, second = tmp_path / "out", write_mrc(stacks / "a.rec", ramp(5))
    assert run(stacks / "a.mrc", out) == 0
    before = (out / "a.avi").read_bytes()
    assert run(second, out) == 1
    assert f"{out}/a.avi is the movie of {stacks}/a.mrc; --overwrite replaces it" in capsys.readouterr().err
    assert (out / "a.avi").read_bytes() == before
    assert run(second, out, "--overwrite") == 0
    assert run(second, out) == 0
    assert len(frames(out / "a.avi")) == 8


def test_the_log_is_no_input(stacks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stacks / "notes.txt").unlink()
    for said in ("2 converted", "2 up to date"):
        assert run(stacks, stacks, "--pattern", "*") == 0
        assert capsys.readouterr().err.endswith(f"{said}\n")


# Names once given


def made(directory: Path) -> list[str]:
    """The movies of a directory."""
    return sorted(path.name for path in directory.glob("*.avi"))


def test_a_name_once_given_stays_and_a_file_that_arrives_later_takes_the_longer_one(
    stacks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(stacks, out) == 0
    before = (out / "a.avi").stat()
    write_mrc(stacks / "a.st", ramp(7))
    capsys.readouterr()
    assert run(stacks, out, "--dry-run") == 0
    said = capsys.readouterr().err
    assert f"{stacks}/a.mrc -> {out}/a.avi: up to date\n" in said
    assert f"{stacks}/a.st -> {out}/a.st.avi: would be converted (new)\n" in said
    for status in ("1 converted", "3 up to date"):
        assert run(stacks, out) == 0
        assert status in capsys.readouterr().err
    assert made(out) == ["a.avi", "a.st.avi", "b.avi"]
    assert (out / "a.avi").stat() == before
    write_mrc(stacks / "a.mrc", ramp(4))  # which is the file that a.avi is of
    assert run(stacks, out) == 0
    assert len(frames(out / "a.avi")) == 6
    assert made(out) == ["a.avi", "a.st.avi", "b.avi"]
    (stacks / "a.mrc").unlink()
    capsys.readouterr()
    assert run(stacks, out) == 0  # the longer name stays as well
    assert capsys.readouterr().err.endswith("2 up to date\n")
    assert run(stacks, out, "--format", "mp4") == 0  # where no name was given
    assert (out / "a.mp4").exists()


def test_names_that_meet_and_are_of_nobody_here_are_both_the_longer_ones(stacks: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    write_mrc(other / "a.mrc", ramp(9))
    assert run(other, out) == 0
    write_mrc(stacks / "a.st", ramp(7))
    for _ in range(2):
        assert run(stacks, out) == 0
        assert made(out) == ["a.avi", "a.mrc.avi", "a.st.avi", "b.avi"]
    assert len(frames(out / "a.avi")) == 16


def test_names_given_in_sub_directories_and_for_a_pattern_stay(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for day in ("day1", "day2"):
        (source / day).mkdir(parents=True)
        write_mrc(source / day / "x.dat", ramp(2))
        write_mrc(source / day / "x.mrc", ramp(3))
    assert run(source, out, "--recursive") == 0
    assert run(source, out, "--recursive", "--pattern", "x.*") == 0
    write_mrc(source / "day2" / "x.st", ramp(5))
    assert run(source, out, "--recursive", "--pattern", "x.*") == 0
    assert [made(out / day) for day in ("day1", "day2")] == [
        ["x.avi", "x.dat.avi"],
        ["x.avi", "x.dat.avi", "x.st.avi"],
    ]


def test_a_contact_sheet_makes_no_name_that_was_given_give_way(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("x.contact.mrc", "x.mrc"):
        assert run(write_mrc(source / name, ramp(3)), out) == 0
    assert run(source, out) == 0
    assert made(out) == ["x.avi", "x.contact.avi"]
    assert run(source, out, "--thumbnail", "--contact-sheet") == 1  # both want x.contact.png


def test_two_inputs_of_one_run_never_replace_each_other_where_their_names_are_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where a file system takes A.avi for a.avi; here two directories are one."""
    source, out = tmp_path / "in", tmp_path / "out"
    for directory in ("one", "two"):
        (source / directory).mkdir(parents=True)
        write_mrc(source / directory / "a.mrc", ramp(3 if directory == "one" else 5))
        (out / directory).mkdir(parents=True)
    with mounted(out / "two", "--bind", str(out / "one")):
        assert run(source, out, "--recursive", "--overwrite") == 1
        said = capsys.readouterr().err
        assert f"{out}/two/a.avi is, in this directory, the movie that was just made of {source}/one/a.mrc" in said
        assert said.endswith("1 converted, 1 left alone\n")
        assert len(frames(out / "one" / "a.avi")) == 4


# What is found in directories


def test_hidden_files_are_no_inputs_unless_they_are_named(stacks: Path, tmp_path: Path) -> None:
    (stacks / "._a.mrc").write_bytes(b"\0\5\26\7" + bytes(78))
    write_mrc(stacks / ".hidden.mrc", ramp(3))
    assert run(stacks, tmp_path / "out") == 0
    assert run(stacks, tmp_path / "out", "--pattern", "*") == 1  # notes.txt
    assert made(tmp_path / "out") == ["a.avi", "b.avi"]
    assert run(stacks, tmp_path / "out", "--pattern", ".h*") == 0
    assert run(stacks / ".hidden.mrc", tmp_path / "named") == 0
    assert (tmp_path / "out" / ".hidden.avi").exists() and (tmp_path / "named" / ".hidden.avi").exists()


@pytest.mark.parametrize("name", ["a.avi", "a.contact.png"])
def test_a_directory_in_place_of_a_movie_or_picture_is_named_before_the_conversion(
    stacks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / "out"
    (out / name).mkdir(parents=True)
    for options in (("--dry-run",), ("--overwrite",), ()):
        assert run(stacks, out, "--contact-sheet", *options) == 1
        said = capsys.readouterr().err
        assert f"the directory {out}/{name} is where a file belongs; rename it, or take another OUTPUT_DIR" in said
        assert "1 failed" in said
    assert names(out) == [".mrc2movie/b.avi.json", "b.avi", "b.contact.png"]


@pytest.fixture(params=[pytest.param(1000, marks=pytest.mark.large), 100])
def deep(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Path, Path]]:
    """A directory with a file at its top, one many levels deep, and one where no path leads; the second's place."""
    directory = tmp_path / "deep"
    directory.mkdir()
    write_mrc(directory / "top.mrc", ramp(2))
    for name, levels in (("d", request.param), ("long" * 60, 20)):
        here = os.open(directory, os.O_RDONLY)
        for _ in range(levels):
            os.mkdir(name, dir_fd=here)
            below = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.link(directory / "top.mrc", "x.mrc", dst_dir_fd=here)
        os.close(here)
    yield directory, Path(*["d"] * request.param, "x.mrc")
    subprocess.run(["rm", "-rf", directory, tmp_path / "out"], check=True)  # pytest cannot


def test_many_levels_of_directories_are_converted_and_what_no_path_leads_to_is_named(
    deep: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source, place), out = deep, tmp_path / "out"
    assert run(source, out, "--recursive") == 1
    said = capsys.readouterr().err
    assert "cannot be listed (File name too long)\n" in said
    assert said.endswith("\n2 converted, 1 failed\n")
    assert "bug" not in said
    assert len(frames(out / place.with_suffix(".avi"))) == 2
    assert run(source, out, "--recursive") == 1
    assert capsys.readouterr().err.endswith("\n2 up to date, 1 failed\n")


def test_a_run_keeps_little_of_each_file(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    extended = json.dumps({"numbers": [[number] for number in range(10_000)]}).encode()
    for number in range(4):
        write(source / f"{number}.mrc", mrc(ramp(2), 1, exttyp=b"json", extended=extended))
    convert_directory(source, tmp_path / "warm")
    gc.collect()
    tracemalloc.start()
    try:
        report = convert_directory(source, tmp_path / "out")
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.count(Status.CONVERTED) == 4
    assert report.outcomes[0].frames == 2
    assert report.outcomes[0].size == (tmp_path / "out" / "0.avi").stat().st_size
    assert kept < 2**19  # a header alone is 1 MB


# What a dry run finds


REFUSED = {
    "text.mrc": (b"hello\n", ()),
    "empty.mrc": (b"", ()),
    "zeros.st": (bytes(5000), ()),
    "tiff.mrc": (b"II*\0" + bytes(3000), ()),
    "cut.mrc": (mrc(ramp(3, 40, 40), 1)[:3000], ()),
    "short.mrc": (mrc(ramp(3), 1), ("--discard-range", "0", "9")),
    "unscaled.mrc": (mrc(ramp(3), 1, cella=(0, 0, 0)), ("--lowpass", "40")),
    "unscaled.rec": (mrc(ramp(3), 1, cella=(0, 0, 0)), ("--lowpass", "40", "--axis", "y")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_dry_run_refuses_what_a_real_run_refuses_in_the_same_words_and_writes_nothing(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, options = REFUSED[name]
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / name, data)
    write_mrc(tmp_path / "in" / "good.mrc", ramp(12), cella=(24, 12, 24))
    before = names(tmp_path)
    said = []
    for dry in ("--dry-run", "--quiet"):
        assert run(tmp_path / "in", tmp_path / "out", dry, *options) == 1
        assert dry == "--quiet" or names(tmp_path) == before
        said.append([line for line in capsys.readouterr().err.splitlines() if name in line])
    assert len(said[0]) == 1
    assert said[0] == said[1]


def test_a_dry_run_looks_only_at_the_head_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = mrc(ramp(2000, 200, 10), 1)
    with (tmp_path / "a.mrc").open("wb") as file:
        file.write(whole[:1024])
        file.truncate(len(whole))
    (tmp_path / "b.mrc.gz").write_bytes(gzip.compress(whole, 1)[:9000])  # ends early, as only a conversion finds
    reads = 0
    read_into = InputFile.read_into

    def counting(file: InputFile, offset: int, buffer: memoryview) -> int:
        nonlocal reads
        reads += (count := read_into(file, offset, buffer))
        return count

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InputFile, "read_into", counting)
        assert run(tmp_path, tmp_path / "out", "--dry-run") == 0
    assert reads < 40_000
    assert "2 would be converted" in capsys.readouterr().err


def test_an_image_whose_movie_is_up_to_date_is_not_looked_at(stacks: Path, tmp_path: Path) -> None:
    assert run(stacks, tmp_path / "out") == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InputFile, "read_into", None)
        assert run(stacks, tmp_path / "out", "--dry-run") == 0


# Images that are no inputs


def test_images_in_other_formats_are_counted_in_one_line(
    stacks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stacks / "below").mkdir()
    for name in ("1.jpg", "2.JPEG", "3.eer", "below/4.jpg", ".5.jpg", "6.png", "a.mdoc", "b.txt"):
        (stacks / name).touch()
    line = (
        "2 JPEG files, 1 EER file and 1 PNG file are no inputs: such files are not read; relion_convert_to_tiff and "
        "IMOD's clip make TIFF files of EER"
    )
    assert run(stacks, tmp_path / "out") == 0
    assert [text for text in capsys.readouterr().err.splitlines() if "inputs" in text] == [line]
    assert line in (tmp_path / "out" / "mrc2movie.log").read_text()
    assert run(stacks, tmp_path / "out", "--dry-run", "--recursive") == 0
    assert line.replace("2 JPEG", "3 JPEG") in capsys.readouterr().err
    assert run(stacks, tmp_path / "out", "--pattern", "*.st") == 0
    assert run(stacks / "a.mrc", tmp_path / "out") == 0
    assert "inputs" not in capsys.readouterr().err


def test_a_directory_of_nothing_but_images_in_other_formats_says_what_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(12):
        (tmp_path / f"{number}.eer").touch()
    assert run(tmp_path, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "is named like a file of sections; 12 EER files are no inputs: such files are not read" in said
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "a.png").touch()
    assert run(tmp_path / "only", tmp_path / "out") == 2
    assert "1 PNG file is no input: such files are not read" in capsys.readouterr().err


def test_our_own_pictures_among_the_inputs_are_not_counted(stacks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(stacks, stacks, "--thumbnail", "--contact-sheet") == 0
    capsys.readouterr()
    assert run(stacks, stacks, "--thumbnail", "--contact-sheet") == 0
    assert "inputs" not in capsys.readouterr().err


def test_hidden_files_are_no_inputs(stacks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stacks / "._a.mrc").write_bytes(b"\0\5\x16\7" + bytes(4000))
    (stacks / ".b.mrc").touch()
    assert run(stacks, tmp_path / "out") == 0
    assert "2 converted" in capsys.readouterr().err
