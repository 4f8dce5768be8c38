"""Arguments as people type them: several inputs, a movie by its name, lists, files with options, wrong words."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from faults import COMMAND, closing_line, installed, started
from movies import frames, ramp, run, write_mrc

from mrc2movie import Settings, convert_directory
from mrc2movie.batch.report import Status


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with two directories of two files each."""
    for name in ("one/a.mrc", "one/b.rec", "two/b.st", "two/c.mrc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_mrc(tmp_path / name, ramp())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def movies(directory: Path) -> list[str]:
    """The movies below a directory."""
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.avi"))


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was said."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.skipif(os.name == "nt", reason="written for a POSIX shell")
def test_what_a_shell_makes_of_a_star_is_converted(here: Path) -> None:
    subprocess.run(["bash", "-c", f"{COMMAND} one/*.mrc two/* out -q"], check=True)
    assert movies(here / "out") == ["a.avi", "b.avi", "c.avi"]


def test_files_and_directories_go_together_and_names_that_would_meet_keep_their_suffixes(here: Path) -> None:
    assert run("one", "--fps", "5", "two/c.mrc", "two/b.st", "out") == 0
    assert movies(here / "out") == ["a.avi", "b.rec.avi", "b.st.avi", "c.avi"]


def test_two_inputs_of_one_name_are_refused_before_any_work(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mrc(here / "two/a.mrc", ramp())
    assert run("one", "two", "out") == 2
    assert f"{Path('one/a.mrc')} and {Path('two/a.mrc')} would become the same movie; give each" in only_line(capsys)
    assert not (here / "out").exists()


def test_an_input_that_is_named_twice_is_converted_once(here: Path) -> None:
    assert run("one", "one/a.mrc", here / "one" / "a.mrc", Path("two") / ".." / "one", "out") == 0
    assert movies(here / "out") == ["a.avi", "b.avi"]


def test_a_missing_and_an_empty_input_do_not_hurt_the_others(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "empty").mkdir()
    assert run("gone.mrc", "empty", "one", "out") == 1
    said = capsys.readouterr().err
    assert "gone.mrc: does not exist" in said
    assert "empty: no file in it is named like a file of sections" in said
    assert movies(here / "out") == ["a.avi", "b.avi"]
    assert run("gone.mrc", "empty", "elsewhere") == 2
    assert "none of the inputs can be converted" in only_line(capsys)
    assert not (here / "elsewhere").exists()


def test_the_output_directory_among_the_inputs_is_no_input(here: Path) -> None:
    (here / "out").mkdir()
    for _ in range(2):
        assert run("one", "out", "out") == 0
    assert movies(here / "out") == ["a.avi", "b.avi"]


def test_the_package_takes_several_inputs_too(here: Path) -> None:
    report = convert_directory([here / "one", "two/c.mrc"], "out")
    assert [outcome.status for outcome in report.outcomes] == [Status.CONVERTED] * 3
    assert movies(here / "out") == ["a.avi", "b.avi", "c.avi"]


@pytest.mark.parametrize("name", ["x.avi", "x.mp4", "x.MP4", "x.mov", "x.mkv", "x.webm", "x.gif"])
def test_a_file_becomes_the_movie_that_is_named(here: Path, name: str) -> None:
    assert run("one/a.mrc", f"new/{name}") == 0
    assert len(frames(here / "new" / name)) == 6
    record = json.loads((here / f"new/.mrc2movie/{name}.json").read_text())
    assert record["settings"]["format"] == name[2:].lower()
    assert (here / "new/mrc2movie.log").exists()


def test_a_movie_that_is_named_is_skipped_left_alone_and_replaced_as_any_other(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("one/a.mrc", "x.avi")
    assert run(*words) == 0
    assert run(*words) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "1 up to date"
    assert run("two/c.mrc", "x.avi") == 1
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert run("two/c.mrc", "x.avi", "--overwrite") == 0


def test_a_directory_that_is_named_like_a_movie_is_a_directory(here: Path) -> None:
    (here / "x.mp4").mkdir()
    assert run("one/a.mrc", "x.mp4") == 0
    assert movies(here / "x.mp4") == ["a.avi"]


def test_the_name_of_the_movie_wins_over_the_format_of_a_preset(here: Path) -> None:
    assert run("one/a.mrc", "x.avi", "--preset", "tilt") == 0
    assert (here / "x.avi").read_bytes()[:4] == b"RIFF"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("one/a.mrc x.avi --format mp4", "--format mp4 contradicts the name x.avi; leave --format out"),
        ("one/a.mrc x.mp4 --codec FFV1", "--codec FFV1 cannot go into --format mp4"),
        ("one x.mp4", "x.mp4 is named like one movie, and one is a directory; name a directory"),
        ("one/a.mrc one/b.rec x.mp4", "x.mp4 is named like one movie, and there are 2 inputs; name a directory"),
        ("gone.mrc x.mp4", "gone.mrc: does not exist"),
        ("x.gif x.gif --overwrite", "x.gif is the input itself"),
        ("one/a.mrc one/b.rec", "b.rec is not a directory; name a directory for the movies"),
        ("one/a.mrc", "OUTPUT_DIR is missing; see mrc2movie --help"),
        ("one/a.mrc --log out", "OUTPUT_DIR is missing; --log took out; see"),
        ("one --fps out", "--fps out: must be a number"),
        ("one out --fps", "--fps needs a value: FPS"),
        ("one --fps --quality 80 out", "--fps needs a value: FPS; write --fps=--quality if that is the value"),
        ("one out --discard-range 3", "--discard-range needs 2 values: A B"),
        ("one out --discard-range=3,5", "--discard-range takes its values after a space; write --discard-range A B"),
        ("one out --quiet=yes", "--quiet takes no value; leave =yes out"),
        ("one --frmat mp4 out", "--frmat: no such option; did you mean --format?"),
        ("one --clip_limt=2 out", "--clip_limt: no such option; did you mean --clip-limit?"),
        ("one -fps 25 out", "-fps: no such option; did you mean --fps?"),
        ("one out -x", "-x: no such option; see mrc2movie --help all"),
        ("one out --codec h265", "--codec h265: must be a code of four letters"),
        ("one out --codec h265", "; did you mean HEVC?"),
        ("one out --codec h.264", "; did you mean H264?"),
        ("one out --preset tomo", "one of tilt, tomogram, auto; did you mean tomogram?"),
        ("one out --playback foward", "; did you mean forward?"),
        ("one out --range minmx", "; did you mean minmax?"),
        ("one out --range percentle:1,99", "; did you mean percentile:P,Q?"),
        ("one out --label tlt", "; did you mean tilt?"),
        ("one out --range 200,-50", "--range 200,-50: must be"),
        ("--files-from gone out", "--files-from gone: cannot be read (No such file"),
        ("--files-from one out", "--files-from one: cannot be read (Is a directory)"),
        ("--files-from empty.txt out", "--files-from empty.txt: names no input"),
        ("--files-from= out", "--files-from: must not be empty"),
        ("--files-from list.txt", "INPUT and OUTPUT_DIR are needed; --files-from took list.txt"),
        ("one out --config gone", "gone: cannot be read (No such file or directory); name another --config"),
        ("one out --config bad.toml", "bad.toml: is not TOML"),
        ("--demo out --config dry.toml", "--demo writes what it converts; leave --dry-run and --watch out"),
        ("one out --config unknown.toml", "unknown.toml: fbs: no such option; did you mean fps?"),
        ("one out --config wrong.toml", "wrong.toml: --fps fast: must be a number"),
        ("--print-completion fsh", "--print-completion fsh: must be one of bash, zsh, tcsh"),
    ],
)
def test_the_word_that_is_wrong_is_named_in_one_line_and_nothing_is_done(
    here: Path, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    (here / "x.gif").write_bytes(b"a picture")
    (here / "empty.txt").write_text("\n\n")
    (here / "bad.toml").write_text("fps: 12")
    (here / "dry.toml").write_text("dry-run = true")
    (here / "unknown.toml").write_text("fbs = 12")
    (here / "wrong.toml").write_text("fps = 'fast'")
    assert run(*words.split()) == 2
    assert said in only_line(capsys)
    assert not list(here.rglob("*.log"))


@pytest.mark.parametrize("words", ["--range -50,200", "--range=-50,200", "--range -.5,200 -qv", "--thumbnail"])
def test_options_are_understood_as_they_are_typed(here: Path, words: str) -> None:
    words = words.replace("-qv", "-q")
    assert run(*words.split(), "one", "out") == 0


def test_letters_of_options_may_stand_together(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("one", "out", "-qv") == 2
    assert "--quiet and --verbose contradict each other" in only_line(capsys)


def test_what_follows_two_dashes_is_a_path(here: Path) -> None:
    write_mrc(here / "--fps.mrc", ramp())
    assert run("--fps", "5", "--", "--fps.mrc", "--out") == 0
    assert movies(here / "--out") == ["--fps.avi"]


@pytest.mark.parametrize("text", ["one/a.mrc\ntwo\n", "one/a.mrc\r\n\r\ntwo\r\n", "one/a.mrc\0two\0", "one/a.mrc\0two"])
def test_a_list_names_inputs_by_lines_or_between_nul(here: Path, text: str) -> None:
    (here / "list").write_bytes(text.encode())
    assert run("--files-from", "list", "out") == 0
    assert movies(here / "out") == ["a.avi", "b.avi", "c.avi"]


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be on Windows")
def test_a_list_on_standard_input_holds_any_name(here: Path) -> None:
    names = ["one/line\nbreak.mrc", "one/\udcff.mrc"]
    for name in names:
        write_mrc(here / name, ramp())
    listed = b"\0".join(os.fsencode(name) for name in names)
    result = subprocess.run(
        [COMMAND, "--files-from", "-", "two/c.mrc", "out", "-q"], input=listed, capture_output=True, check=True
    )
    assert result.stderr == b""
    assert len(movies(here / "out")) == 3


def test_a_list_of_one_file_becomes_the_movie_that_is_named(here: Path) -> None:
    (here / "list").write_text("one/a.mrc\n")
    assert run("--files-from", "list", "x.mp4") == 0
    assert len(frames(here / "x.mp4")) == 6


@pytest.mark.skipif(os.name == "nt", reason="no such signal on Windows")
def test_ctrl_c_ends_the_wait_for_a_list(here: Path) -> None:
    import fcntl  # not on Windows
    import termios

    with started("--files-from", "-", "out", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        os.write(process.stdin.fileno(), b"one/")
        while any(fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4))):  # until it reads
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert process.stderr is not None
        assert process.stderr.read() == "mrc2movie: interrupted; the same command again carries on\n"


def test_inputs_that_cannot_be_looked_at_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("x" * 300, "out") == 2
    assert "does not exist" in only_line(capsys)
    assert run("one", "x" * 300, "out") == 1
    assert movies(here / "out") == ["a.avi", "b.avi"]


def test_a_closed_standard_input_names_nothing(here: Path) -> None:
    result = subprocess.run(
        ["bash", "-c", f"{COMMAND} --files-from - out <&-"], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (
        2,
        "mrc2movie: --files-from -: names no input; give one path a line\n",
    )


def test_options_of_a_file_beside_the_inputs_are_used_named_and_recorded(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "one/mrc2movie.toml").write_text("fps = 12\nclip-limit = 0\ndiscard_range = [0, 1]\ninvert = true\n")
    assert run("one", "out", "--fps", "7") == 0
    said = f"options of {Path('one/mrc2movie.toml')}: fps = 12, clip-limit = 0, discard_range = [0, 1], invert = True"
    assert said.replace("clip-limit", "clip_limit") in capsys.readouterr().err
    assert said.replace("clip-limit", "clip_limit") in (here / "out/mrc2movie.log").read_text()
    used = json.loads((here / "out/.mrc2movie/a.avi.json").read_text())["settings"]
    assert (used["fps"], used["clip_limit"], used["discard_range"], used["invert"]) == (7, 0, [0, 1], True)
    assert run("one/a.mrc", "two/c.mrc", "out2") == 2
    assert "is not beside all inputs; name it with --config" in only_line(capsys)
    assert run("one", "two/c.mrc", "out2", "--config", os.devnull) == 0
    assert json.loads((here / "out2/.mrc2movie/a.avi.json").read_text())["settings"]["fps"] == 30


def test_a_file_with_options_that_nobody_named_replaces_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "one/mrc2movie.toml").write_text("overwrite = true\n")
    assert run("one", "out") == 2
    assert "overwrite: only a file named with --config may set it" in only_line(capsys)
    assert run("one", "out", "--config", "one/mrc2movie.toml") == 0


def test_the_format_of_a_file_with_options_yields_to_the_name_of_the_movie(here: Path) -> None:
    (here / "mine.toml").write_text('format = "mp4"\n')
    assert run("one/a.mrc", "x.avi", "--config", "mine.toml") == 0
    assert run("one/a.mrc", "out", "--config", "mine.toml") == 0
    assert len(frames(here / "x.avi")) == len(frames(here / "out/a.mp4")) == 6


def test_the_settings_name_the_nearest_word_too() -> None:
    with pytest.raises(Exception, match=r"--codec H265: must be .*; did you mean HEVC\?"):
        Settings(codec="H265")


def test_the_installed_command_says_one_line_about_a_wrong_word(here: Path) -> None:
    result = installed("one", "out", "--frmat", "mp4")
    assert (result.returncode, result.stdout) == (2, "")
    assert closing_line(result) == "mrc2movie: --frmat: no such option; did you mean --format?"
