"""The command line as a person meets it: help, refusals, terminal manners, exit statuses."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
from faults import COMMAND, installed
from movies import frames, ramp, run, write_mrc

import mrc2movie
from mrc2movie.options.settings import GROUPS, OPTIONS


def test_the_help_shows_every_option_with_its_default_in_its_group() -> None:
    shown = " ".join(installed("--help", "all").stdout.split())
    for group in GROUPS:
        assert f" {group}: " in f" {shown}"
    for option in OPTIONS:
        assert option.flag in shown
        if option.kind.metavar:
            assert f"(default: {option.default_text})" in shown


def test_the_version_stands_in_one_place() -> None:
    assert installed("--version").stdout.splitlines()[0] == f"mrc2movie {mrc2movie.__version__}"
    module = [sys.executable, "-m", "mrc2movie", "--version"]
    assert subprocess.run(module, capture_output=True, text=True, check=True).stdout.split()[1] == mrc2movie.__version__


@pytest.mark.parametrize("flag", ["--clip-limit", "--clip_limit", "--tile-grid-size=4", "--tile_grid_size=4"])
def test_options_are_spelled_with_dashes_or_underscores(tmp_path: Path, flag: str) -> None:
    source = write_mrc(tmp_path / "in_put.mrc", ramp())
    value = [] if "=" in flag else ["1"]
    assert run(flag, *value, "--", source, tmp_path / "out_put") == 0
    assert (tmp_path / "out_put" / "in_put.avi").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--fps 0", "--fps 0: must be a number from 0.1 to 1000"),
        ("--fps nan", "--fps nan: must be a number from 0.1 to 1000"),
        ("--fps fast", "--fps fast: must be a number"),
        ("--quality 101", "--quality 101: must be a whole number from 1 to 100"),
        ("--quality 9.5", "--quality 9.5: must be a whole number"),
        ("--codec MOTION", "--codec MOTION: must be a code of four letters"),
        ("--playback sideways", "--playback sideways: must be one of forward-backward, forward, backward"),
        ("--discard-range 5 5", "--discard-range 5 5: must be two whole numbers, 0 <= A < B"),
        ("--discard_percentage 10 20", "--discard-percentage 10 20: must be two fractions"),
        ("--discard_percentage 10 20", "0.1 means 10 %"),
        ("--discard_percentage 0.5 0.5", "with a sum below 1"),
        ("--discard_range 0 1 --discard_percentage 0 0.1", "cannot be combined"),
        ("--range percentile:9,1", "--range percentile:9,1: must be auto, minmax, percentile:P,Q"),
        ("--range 7,7", "--range 7,7: must be"),
        ("--range sigma:-1", "--range sigma:-1: must be"),
        ("--range nan,1", "--range nan,1: must be"),
        ("--clip_limit -1", "--clip-limit -1: must be a number from 0"),
        ("--tile_grid_size 0", "--tile-grid-size 0: must be a whole number from 1"),
        ("--flip maybe", "--flip maybe: must be one of auto, yes, no"),
        ("--jobs 0", "--jobs 0: must be a whole number from 1"),
        ("--quiet --verbose", "--quiet and --verbose contradict each other"),
        ("--log=", "--log : must be"),
        ("--nonsense", "--nonsense: no such option; see mrc2movie --help all"),
        ("--fp 25", "--fp: no such option; did you mean --fps?"),
        ("--demo there", "--demo takes no INPUT"),
    ],
)
def test_a_wrong_value_is_refused_with_the_flag_the_value_and_what_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp())
    assert run(source, tmp_path / "out", *words.split()) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_input_and_output_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert "INPUT and OUTPUT_DIR are needed" in capsys.readouterr().err


def test_the_installed_command_converts_a_directory_and_says_one_line_a_movie(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", ramp())
    write_mrc(tmp_path / "b.mrc", ramp())
    result = installed(tmp_path, tmp_path / "out", "--fps", "25")
    assert result.returncode == 0
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert [line.split(": ")[1].split(",")[0] for line in lines[:2]] == ["6 frames of 10 x 6"] * 2
    assert lines[2:] == ["2 converted"]


def test_quiet_says_nothing_when_all_is_well_and_what_is_wrong_otherwise(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", ramp())
    assert installed(tmp_path, tmp_path / "out", "--quiet").stderr == ""
    (tmp_path / "b.mrc").touch()
    assert len(installed(tmp_path, tmp_path / "out", "-q").stderr.splitlines()) == 1


def test_verbose_says_the_seconds_of_each_stage(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", ramp())
    shown = installed(tmp_path, tmp_path / "out", "-v").stderr
    assert re.search(r"reading [\d.]+, measuring [\d.]+, contrast [\d.]+, encoding [\d.]+, writing [\d.]+", shown)


def test_cprofile_shows_the_stages_by_name(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", ramp())
    profiler = [sys.executable, "-m", "cProfile", "-s", "cumtime", "-m", "mrc2movie"]
    result = subprocess.run([*profiler, tmp_path, tmp_path / "out"], capture_output=True, text=True, check=True)
    for stage in ("(convert_claimed)", "(measure)", "(make)", "(verify)", "(open_volume)", "(choose_range)"):
        assert stage in result.stdout


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be on Windows")
def test_a_file_name_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    name = "evil\x1b[31m\x07\n\u202e[red].mrc"
    write_mrc(tmp_path / name, ramp())
    (tmp_path / ("bad" + name)).touch()
    escaped = r"evil\x1b[31m\x07\n\u202e[red].mrc"
    for shown in (installed(tmp_path, tmp_path / "out").stderr, on_terminal(tmp_path, tmp_path / "out2")[1]):
        assert "\x1b[31m\x07" not in shown
        assert "\u202e" not in shown
        if "\x1b" not in shown:  # without a terminal nothing is wrapped
            assert escaped in shown
    log = (tmp_path / "out" / "mrc2movie.log").read_text(encoding="utf-8")
    assert escaped in log
    assert "\x1b" not in log


def on_terminal(*words: str | Path, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run the command with a pseudo-terminal of 200 columns; returns exit status and all that was written to it."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("4H", 50, 200, 0, 0))
    process = subprocess.Popen(
        [COMMAND, *words],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", **(environment or {})},
    )
    os.close(follower)
    shown = b""
    while select.select([leader], [], [], 60)[0]:
        try:
            chunk = os.read(leader, 65536)
        except OSError:  # the last process has closed the terminal
            break
        if not chunk:
            break
        shown += chunk
    os.close(leader)
    return process.wait(timeout=60), shown.decode()


def screen(shown: str) -> list[str]:
    """What stays on the terminal: carriage return, cursor up and erase line carried out, colours dropped."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[\d;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", shown):
        if token == "\r":
            column = 0
        elif token == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif token.endswith("A"):
            row = max(0, row - int(token[2:-1] or 1))
        elif token.endswith("K"):
            lines[row] = lines[row][:column]
        elif not token.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + token + lines[row][column + len(token) :]
            column += len(token)
    return [line.rstrip() for line in lines if line.strip()]


def test_a_terminal_sees_bars_that_no_line_tears(tmp_path: Path) -> None:
    for name in "abc":
        write_mrc(tmp_path / f"{name}.mrc", ramp(60, 128, 128))
    (tmp_path / "bad.mrc").write_bytes(b"bad")
    status, shown = on_terminal(tmp_path, tmp_path / "out")
    assert status == 1
    assert "files:" in shown
    assert "section/s" in shown
    remains = screen(shown)
    assert not [line for line in remains if "section/s" in line or "files:" in line]
    assert sum("frames of 128 x 128" in line for line in remains) == 3
    assert remains[-1] == "3 converted, 1 failed"
    (table,) = [remains[i : i + 5] for i, line in enumerate(remains) if line.split() == ["movie", "frames", "MB", "s"]]
    assert [line.split()[0] for line in table[1:]] == ["a.avi", "b.avi", "bad.avi", "c.avi"]


def test_of_many_files_the_table_shows_those_to_be_looked_at(tmp_path: Path) -> None:
    for number in range(45):
        write_mrc(tmp_path / f"{number}.mrc", ramp(1, 8, 8))
    remains = screen(on_terminal(tmp_path, tmp_path / "out")[1])
    assert not [line for line in remains if line.split() == ["movie", "frames", "MB", "s"]]
    (tmp_path / "bad.mrc").write_bytes(b"bad")
    remains = screen(on_terminal(tmp_path, tmp_path / "out")[1])
    (table,) = [remains[i:] for i, line in enumerate(remains) if line.split() == ["movie", "frames", "MB", "s"]]
    assert [line.split() for line in table[1:]] == [["bad.avi", "failed"], ["45", "up", "to", "date,", "1", "failed"]]


def test_no_color_is_respected(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", ramp())
    assert "\x1b[3" in on_terminal(tmp_path, tmp_path / "out")[1]
    assert "\x1b[3" not in on_terminal(tmp_path, tmp_path / "out2", environment={"NO_COLOR": "1"})[1]


@pytest.mark.skipif(os.name == "nt", reason="no such signals on Windows")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_no_temporary_and_says_how_to_carry_on(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    voxels = np.random.default_rng(0).normal(size=(400, 512, 512)).astype(np.float32)
    write_mrc(tmp_path / "a.mrc", voxels)
    out = tmp_path / "out"
    process = subprocess.Popen([COMMAND, tmp_path, out], stderr=subprocess.PIPE, text=True)
    while not list(out.glob(".mrc2movie-*")):
        time.sleep(0.005)
        assert process.poll() is None
    process.send_signal(number)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == status
    assert shown.endswith("the same command again carries on\n")
    assert "Traceback" not in shown
    assert [path.name for path in out.iterdir()] == ["mrc2movie.log"]


def test_help_imports_neither_numpy_nor_opencv() -> None:
    program = "import sys; from mrc2movie.cli.help import help_text; help_text('all'); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "cv2", "mrcfile", "rich", "tqdm"} & set(modules)


@pytest.mark.skipif(os.name == "nt", reason="written for a POSIX shell")
@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>&1 | true"])
@pytest.mark.parametrize("options", [(), ("--format", "mp4")])
def test_a_run_that_nobody_hears_converts_all_the_same(tmp_path: Path, closed: str, options: tuple[str, ...]) -> None:
    source, out = write_mrc(tmp_path / "a.mrc", ramp()), tmp_path / "out"
    words: list[str | Path] = [COMMAND, source, out, "--playback=forward", *options]
    shell: list[str | Path] = ["bash", "-o", "pipefail", "-c", f'"$@" {closed}', "bash", *words]
    assert subprocess.run(shell, check=False).returncode == 0
    (movie,) = out.glob("a.*")
    assert len(frames(movie)) == len(ramp())


@pytest.mark.skipif(os.name == "nt", reason="written for a POSIX shell")
def test_info_that_nobody_reads_ends_quietly(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "a.mrc", ramp())
    shell: list[str | Path] = ["bash", "-o", "pipefail", "-c", '"$@" | true', "bash", COMMAND, "--info"]
    shell += [source] * 2000
    result = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_demo_is_no_dry_run(tmp_path: Path) -> None:
    result = installed("--demo", tmp_path / "out", "--dry-run")
    assert result.returncode == 2
    assert "--demo writes what it converts; leave --dry-run out" in result.stderr
    assert not (tmp_path / "out").exists()


def test_options_may_stand_between_the_directories(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "a.mrc", ramp())
    for number, options in enumerate((["--fps", "5"], ["--recursive"], ["--discard-range", "0", "1", "-q"])):
        assert run(source, *options, tmp_path / str(number)) == 0
        assert (tmp_path / str(number) / "a.avi").exists()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["", "out"], 2, "INPUT: must not be empty"),
        (["in", ""], 2, "OUTPUT_DIR: must not be empty"),
        (["in", "out", "--codec", "ZZZZ"], 2, "--codec ZZZZ: OpenCV cannot write it into an AVI"),
        (["--demo", "out", "--codec", "ZZZZ"], 2, "--codec ZZZZ: OpenCV cannot write it into an AVI"),
        (["--demo", "in/a.mrc"], 1, "in/a.mrc: the demo cannot be written (Not a directory); take another OUTPUT_DIR"),
        (
            ["in", "in/a.mrc/x"],
            1,
            "in/a.mrc/x/mrc2movie.log: the log cannot be written (Not a directory); take another",
        ),
        (["in", "out", "--log", "x" * 300], 1, "x: the log cannot be written (File name too long); choose another"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    tmp_path: Path, words: list[str], status: int, said: str
) -> None:
    (tmp_path / "in").mkdir()
    write_mrc(tmp_path / "in" / "a.mrc", ramp())
    result = installed(*words, cwd=tmp_path)
    assert result.returncode == status
    (line,) = result.stderr.splitlines()
    assert said in line
    assert not list(tmp_path.rglob("*.avi"))
    assert not (tmp_path / "out" / "demo_data").exists()
