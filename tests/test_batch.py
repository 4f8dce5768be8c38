"""Directories, names, what is up to date, what is left behind."""

import json
from pathlib import Path

import pytest
from movies import frames, ramp, run, write_mrc

from mrc2movie import __version__, convert_directory
from mrc2movie.batch.report import Status
from mrc2movie.batch.run import plan
from mrc2movie.errors import UsageError
from mrc2movie.options.settings import Settings


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
    """All files below a directory, without its log."""
    found = (path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    return sorted(name for name in found if name != "mrc2movie.log")


def targets(directory: Path, *files: str, **settings: object) -> dict[str, str]:
    """The planned movie of each input."""
    for file in files:
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        (directory / file).touch()
    jobs = plan(directory, directory / "out", Settings(**settings))  # type: ignore[arg-type]
    return {
        job.source.relative_to(directory).as_posix(): job.target.relative_to(directory / "out").as_posix()
        for job in jobs
    }


def test_every_file_of_a_directory_becomes_a_movie_and_leaves_nothing_else(stacks: Path, tmp_path: Path) -> None:
    assert run(stacks, tmp_path / "out") == 0
    assert names(tmp_path / "out") == [".mrc2movie/a.avi.json", ".mrc2movie/b.avi.json", "a.avi", "b.avi"]
    assert len(frames(tmp_path / "out" / "b.avi")) == 8


def test_all_suffixes_of_the_field_are_known_in_any_case(tmp_path: Path) -> None:
    suffixes = (
        "mrc mrcs st ali preali rec map ccp4 bl flat join sint sqz srec mrcz MRC Rec mrc.gz st.BZ2 rec.xz map.zst"
    )
    files = [f"{i}.{suffix}" for i, suffix in enumerate(suffixes.split())]
    found = targets(tmp_path, *files, "x.tif", "mrc", ".gz", "y.gz")
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
    assert "named like an MRC file; choose others with --pattern" in capsys.readouterr().err
    assert run(tmp_path / "missing", tmp_path / "out") == 2
    assert "missing does not exist" in capsys.readouterr().err
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
    assert names(tmp_path / "out") == [".mrc2movie/a.avi.json", ".mrc2movie/b.avi.json", "a.avi", "b.avi"]
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "aa.mrc" in line] == [f"{stacks}/aa.mrc: is no MRC file but a text file"]
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
        *("reading", "measuring", "contrast", "encoding", "writing", "flushing and verifying")
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
        monkeypatch.setattr("mrc2movie.conversion.convert.choose_range", fail_once)
        assert run(stacks, tmp_path / "out", *options) == 1
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

    monkeypatch.setattr("mrc2movie.batch.run.plan", fail)
    assert run(stacks, tmp_path / "out", *options) == 1
    *before, last = (shown := capsys.readouterr().err).splitlines()
    assert "\x1b" not in shown
    assert f"unexpected ZeroDivisionError (by nought\\x1b[2J); this is a bug of mrc2movie {__version__}" in last
    assert (before[:1] == ["Traceback (most recent call last):"]) is bool(options)


def test_an_input_that_cannot_be_looked_at_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"xxx (cannot be looked at \(File name too long\)|does not exist);"):
        plan(tmp_path / ("x" * 300), tmp_path / "out", Settings())


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
