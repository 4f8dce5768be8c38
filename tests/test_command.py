"""The command line as a person meets it: help, refusals, terminal manners, exit statuses."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from faults import COMMAND, faulty, installed
from movies import frames, ramp, run, thinned, write_mrc
from tqdm.utils import disp_len

import mrc2movie
from mrc2movie import console
from mrc2movie.batch.bars import TerminalBars
from mrc2movie.batch.report import Job, Outcome, Status
from mrc2movie.options.settings import GROUPS, OPTIONS
from mrc2movie.processors import available_processors


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
        ("--discard-range 5 5", "--discard-range 5 5: must be two whole numbers, A < B"),
        ("--discard-range -3 0", "--discard-range -3 0: must be two whole numbers, A < B, and B not 0"),
        ("--only 5", "--only 5: must be A:B with whole numbers A < B, such as 10:20"),
        ("--only 5:5", "--only 5:5: must be A:B"),
        ("--only 2: --discard-range 0 1", "--discard-range and --only cannot be combined"),
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
    threads = available_processors()
    assert lines[0] == f"2 files, {threads} thread{'s' * (threads > 1)}"
    assert [line.split(": ")[1].split(",")[0] for line in lines[1:3]] == ["6 frames of 10 x 6"] * 2
    assert [line.split(" -> ")[0] for line in lines[1:3]] == [f"[1/2] {tmp_path}/a.mrc", f"[2/2] {tmp_path}/b.mrc"]
    assert re.fullmatch(rf"[\d.]+ s, 0\.0 MB in, 0\.0 MB out; log: {tmp_path}/out/mrc2movie\.log", lines[3])
    assert lines[4:] == ["2 converted"]


def test_quiet_says_nothing_when_all_is_well_and_what_is_wrong_otherwise(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", ramp())
    assert installed(tmp_path, tmp_path / "out", "--quiet").stderr == ""
    (tmp_path / "b.mrc").touch()
    assert len(installed(tmp_path, tmp_path / "out", "-q").stderr.splitlines()) == 1


def test_verbose_says_the_seconds_of_each_stage(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", ramp())
    shown = installed(tmp_path, tmp_path / "out", "-v").stderr
    stages = ("reading", "measuring", "fitting", "contrast", "encoding", "writing")
    assert re.search(", ".join(rf"{stage} [\d.]+" for stage in stages), shown)


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


def on_terminal(*words: str | Path, environment: dict[str, str] | None = None, columns: int = 200) -> tuple[int, str]:
    """Run the command with a pseudo-terminal; returns exit status and all that was written to it."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("4H", 50, columns, 0, 0))
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
    assert "files |" in shown
    assert "sections/s" in shown
    remains = screen(shown)
    assert not [line for line in remains if "sections/s" in line or "files |" in line or " thread" in line]
    assert re.search(r" INFO 4 files, \d+ threads?\n", (tmp_path / "out" / "mrc2movie.log").read_text())
    assert sum("frames of 128 x 128" in line for line in remains) == 3
    (table,) = [remains[i:] for i, line in enumerate(remains) if line.split() == ["movie", "frames", "MB", "s"]]
    assert [line.split()[0] for line in table[1:4]] == ["a.avi", "b.avi", "c.avi"]
    assert table[4].startswith("failed: bad.mrc: ")
    assert re.fullmatch(rf"[\d.]+ s, 5\.9 MB in, [\d.]+ MB out; log: {tmp_path}/out/mrc2movie\.log", table[5])
    assert table[6:] == ["3 converted, 1 failed"]


def bars_of(shown: str, begin: str | tuple[str, ...]) -> list[str]:
    """Every state in which bars were drawn, by what they begin with."""
    drawn = re.split(r"[\r\n]|\x1b\[[\d;?]*[A-Za-z]", shown)
    return [text for text in drawn if text.startswith(begin)]


@pytest.mark.parametrize("columns", thinned([40, 80, 120], 2))
def test_bars_fit_the_terminal_and_show_how_far_each_file_is_over_all_passes(tmp_path: Path, columns: int) -> None:
    name = "日本の{0}_" + "a_long_name_" * 6 + "TS_07"
    write_mrc(tmp_path / f"{name}.mrc", ramp(80, 512, 512, "float32"))
    write_mrc(tmp_path / "b.mrc", ramp(4, 8, 8))
    (tmp_path / "c.mrc").write_bytes(b"bad")
    status, shown = on_terminal(
        tmp_path,
        tmp_path / "out",
        "--axis=y",
        "--jobs=1",
        "--range=0,1e7",
        columns=columns,
        environment={"LANG": "C.UTF-8"},
    )
    assert status == 1
    bars = [bar for bar in bars_of(shown, ("…", "b.mrc", "files ")) if "failed" not in bar]
    assert max(map(disp_len, bars)) <= columns
    bars = [bar for bar in bars if "07.mrc" in bar]
    percentages = [int(re.search(r"(\d+)%", bar)[1]) for bar in bars]  # type: ignore[index]
    assert percentages == sorted(percentages), "a pass began anew"
    assert len(set(percentages)) >= 2
    unit = "/s" if columns == 40 else " sections/s,"
    assert all(re.search(rf"[\d.]+{unit} \d+ MB/s$", bar.rstrip()) for bar in bars if "100%" not in bar)
    assert any(re.search(r"\d\d:\d\d", bar) for bar in bars)
    if columns == 120:
        stages = [stage for bar in bars for stage in ("turning", "measuring", "converting") if stage in bar]
        assert stages == sorted(stages, key=("turning", "measuring", "converting").index)
        assert stages
    assert {piece.split()[1] for piece in bars_of(shown, "files ") if columns == 40} <= {"0/3,", "1/3,", "2/3,", "3/3,"}


def test_the_clock_of_the_files_moves_while_one_file_takes_long(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", ramp())
    a_read_takes_long = faulty("read", "a.mrc", after=7, sleep=1.2)
    shown = on_terminal(tmp_path, tmp_path / "out", "--jobs=1", columns=80, environment=a_read_takes_long)[1]
    during, line, _ = shown.partition(" frames of ")  # for this line all bars are drawn anew
    assert line
    clocks = {found for bar in bars_of(during, "files ") for found in re.findall(r"(\d\d:\d\d) gone", bar)}
    assert len(clocks) >= 2


def test_several_files_under_way_have_bars_of_their_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    jobs = [Job(Path(f"{name}.mrc"), Path(f"{name}.avi"), Path()) for name in "ab"]
    bars = TerminalBars()
    bars.run_begins(2, 4)
    for done in (1, 2, 3, 4):
        for job in jobs:
            bars.section_done(job, "measuring", done, 4, 1_000_000)
    bars.tick()
    shown = screen(capsys.readouterr().err)
    assert [line.replace("|", " ").split()[:2] for line in shown[1:]] == [["a.mrc", "50%"], ["b.mrc", "50%"]]
    for job in jobs:
        bars.section_done(job, "converting", 2, 4, 1_000_000)
    bars.tick()
    shown = screen(capsys.readouterr().err)
    assert [line.replace("|", " ").split()[:2] for line in shown[1:]] == [["a.mrc", "75%"], ["b.mrc", "75%"]]
    bars.job_ends(Outcome(jobs[0], Status.CONVERTED))
    bars.tick()
    (files, left) = screen(capsys.readouterr().err)[-2:]
    assert "1/2" in files
    assert left.startswith("b.mrc")
    bars.close()
    assert screen(capsys.readouterr().err) == []


def test_of_many_files_the_table_shows_those_to_be_looked_at(tmp_path: Path) -> None:
    for number in range(45):
        write_mrc(tmp_path / f"{number}.mrc", ramp(1, 8, 8))
    remains = screen(on_terminal(tmp_path, tmp_path / "out")[1])
    assert not [line for line in remains if line.split() == ["movie", "frames", "MB", "s"]]
    (tmp_path / "bad.mrc").write_bytes(b"bad")
    remains = screen(on_terminal(tmp_path, tmp_path / "out")[1])
    assert not [line for line in remains if line.split() == ["movie", "frames", "MB", "s"]]
    assert remains[-3].startswith("failed: bad.mrc: ")
    assert remains[-1] == "45 up to date, 1 failed"


def test_no_color_is_respected(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", ramp())
    assert "\x1b[3" in on_terminal(tmp_path, tmp_path / "out")[1]
    assert "\x1b[3" not in on_terminal(tmp_path, tmp_path / "out2", environment={"NO_COLOR": "1"})[1]


@pytest.mark.skipif(os.name == "nt", reason="no such signals on Windows")
@pytest.mark.parametrize(("number", "status"), thinned([(signal.SIGINT, 130), (signal.SIGTERM, 143)], 2))
def test_an_interrupted_run_leaves_no_temporary_and_says_how_to_carry_on(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    voxels = np.random.default_rng(0).integers(-128, 128, (5, 512, 512), np.int8)
    write_mrc(tmp_path / "a.mrc", np.tile(voxels, (80, 1, 1)))
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
@pytest.mark.parametrize("closed", thinned(["<&- >&- 2>&-", "2>&-", ">&- 2>&-", "2>&1 | true"], 3))
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
    assert "--demo writes what it converts; leave --dry-run and --watch out" in result.stderr
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


def test_json_is_one_object_a_file_on_standard_output_as_each_is_done(tmp_path: Path) -> None:
    for name in "ac":
        write_mrc(tmp_path / f"{name}.mrc", ramp())
    (tmp_path / "b.mrc").write_bytes(b"bad")
    result = installed(tmp_path, tmp_path / "out", "--json")
    assert result.returncode == 1
    found = [json.loads(line) for line in result.stdout.splitlines()]
    seconds = [each.pop("seconds") for each in found]
    assert seconds[0] > 0 == seconds[1]
    size = (tmp_path / "out" / "a.avi").stat().st_size
    made = {"status": "converted", "why": "new", "frames": 6, "bytes": size}
    why = f"{tmp_path}/b.mrc: is no MRC file but a text file"
    assert found == [
        {"input": f"{tmp_path}/a.mrc", "output": f"{tmp_path}/out/a.avi", **made},
        {
            "input": f"{tmp_path}/b.mrc",
            "output": f"{tmp_path}/out/b.avi",
            "status": "failed",
            "why": why,
            "frames": 0,
            "bytes": 0,
        },
        {"input": f"{tmp_path}/c.mrc", "output": f"{tmp_path}/out/c.avi", **made},
    ]
    again = installed(tmp_path, tmp_path / "out", "--json", "--quiet")
    assert [json.loads(line)["status"] for line in again.stdout.splitlines()] == ["up_to_date", "failed", "up_to_date"]
    with subprocess.Popen([COMMAND, tmp_path, tmp_path / "other", "--json"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["input"] == f"{tmp_path}/a.mrc"


@pytest.mark.skipif(os.name == "nt", reason="written for a POSIX shell")
def test_json_that_nobody_reads_stops_no_conversion(tmp_path: Path) -> None:
    for name in "abc":
        write_mrc(tmp_path / f"{name}.mrc", ramp())
    shell: list[str | Path] = [
        "bash",
        "-o",
        "pipefail",
        "-c",
        '"$@" --json | true',
        "bash",
        COMMAND,
        tmp_path,
        tmp_path / "out",
    ]
    result = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert result.stderr.splitlines()[-1] == "3 converted"


def test_on_a_terminal_json_stands_on_lines_of_its_own(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", ramp(60, 128, 128))
    remains = screen(on_terminal(tmp_path, tmp_path / "out", "--json")[1])
    (found,) = [json.loads(line) for line in remains if line.startswith("{")]
    assert found["frames"] == 118


def test_a_file_that_takes_long_gives_a_sign_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "_SIGN_OF_LIFE_SECONDS", 0.05)
    for name in "ab":
        write_mrc(tmp_path / f"{name}.mrc", ramp(60, 400, 400))
    assert run(tmp_path, tmp_path / "out", "--jobs=1") == 0
    lines = capsys.readouterr().err.splitlines()
    place = rf"\[2/2\] {tmp_path}/b\.mrc: under way for [\d.]+ s"
    assert [line for line in lines if re.fullmatch(rf"{place}, converting, \d+% done, [\d.]+ s left", line)]
    numbers = [int(found) for line in lines for found in re.findall(r"b\.mrc: .*, (\d+)% done", line)]
    assert numbers == sorted(numbers)
    assert "mrc2movie clock" not in [thread.name for thread in threading.enumerate()]


def test_a_run_of_one_file_says_no_more_than_what_became_of_it(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "a.mrc", ramp())
    lines = installed(source, tmp_path / "out").stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{source} -> {tmp_path}/out/a.avi", "1 converted"]
