"""``--watch``: files that are slow, pause, go on, come under other names or change, each converted when it is whole."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from faults import COMMAND, frame_count, unfinished, voxels
from movies import ramp, run, write_mrc
from mrc_bytes import mrc

from mrc2movie import Settings, convert_directory
from mrc2movie.batch import arrivals
from mrc2movie.errors import UsageError
from mrc2movie.store.claim import Claim

SECONDS = 0.3
"""So long a file must not have changed in these tests."""
SECTION = 32 * 48 * 2


def mdoc(sections: int) -> str:
    """What SerialEM has written beside a tilt series after so many sections."""
    return "PixelSpacing = 2.5\n" + "".join(f"[ZValue = {n}]\nTiltAngle = {3 * n}\n" for n in range(sections))


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for what another thread or process does; not for ever."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Microscope:
    """Writes files in a thread each, as programs and transfers do; what goes wrong there fails the test.

    Args:
        directory: Where.
        out: Where the movies of these files appear.
    """

    def __init__(self, directory: Path, out: Path) -> None:
        self._directory = directory
        self._out = out
        self._whole = mrc(voxels(6), 1)
        self._failed: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def begin(self) -> None:
        """Let all writers begin."""
        for write in (
            *(self.slow, self.pausing, self.going_on, self.behind_its_mdoc, self.renamed, self.overwritten),
            *(self.with_a_late_sidecar, self.in_a_new_directory, self.never_whole, self.text),
        ):
            thread = threading.Thread(target=self._guarded, args=(write,))
            thread.start()
            self._threads.append(thread)

    def end(self) -> None:
        """Wait for all writers."""
        for thread in self._threads:
            thread.join()
        assert self._failed == []

    def _guarded(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BaseException as error:
            self._failed.append(error)

    def _append(self, name: str, data: bytes) -> None:
        with (self._directory / name).open("ab") as file:
            file.write(data)

    def _wait_for(self, movie: str) -> None:
        wait_until((self._out / movie).exists)

    def slow(self) -> None:
        """The header promises all, and the sections come piece by piece."""
        for start in range(0, len(self._whole), SECTION):
            self._append("slow.mrc", self._whole[start : start + SECTION])
            time.sleep(SECONDS / 3)

    def pausing(self) -> None:
        """So, with a pause that is longer than a file must rest."""
        self._append("pausing.mrc", self._whole[: 1024 + 3 * SECTION])
        time.sleep(3 * SECONDS)
        self._append("pausing.mrc", self._whole[1024 + 3 * SECTION :])

    def going_on(self) -> None:
        """A tilt series whose header and mdoc always fit what is there, and that goes on when its movie is made."""
        for sections in (3, 5):
            (self._directory / "going_on.st").write_bytes(mrc(voxels(sections), 1))
            (self._directory / "going_on.st.mdoc").write_text(mdoc(sections))
            self._wait_for("going_on.avi")

    def behind_its_mdoc(self) -> None:
        """A transfer in which the mdoc comes first, and a file that fits its header."""
        (self._directory / "behind.mdoc").write_text(mdoc(5))
        (self._directory / "behind.st").write_bytes(mrc(voxels(3), 1))
        time.sleep(3 * SECONDS)
        (self._directory / "behind.st").write_bytes(mrc(voxels(5), 1))

    def renamed(self) -> None:
        """Transfers under other names, whole for a while before they get their own."""
        for name, other in (("renamed.mrc", ".renamed.mrc.a8f2"), ("moved.mrc", "moved.downloading.mrc")):
            (self._directory / other).write_bytes(self._whole)
            (self._directory / f"{name}.part").write_bytes(self._whole)
        time.sleep(3 * SECONDS)
        (self._directory / ".renamed.mrc.a8f2").rename(self._directory / "renamed.mrc")
        (self._directory / "moved.downloading.mrc").rename(self._directory / "moved.mrc")

    def overwritten(self) -> None:
        """Written anew when its movie is made, with other content."""
        for sections in (2, 7):
            (self._directory / "overwritten.mrc").write_bytes(mrc(voxels(sections), 1))
            self._wait_for("overwritten.avi")

    def with_a_late_sidecar(self) -> None:
        """The angles come when its movie is made."""
        (self._directory / "late.st").write_bytes(self._whole)
        self._wait_for("late.avi")
        (self._directory / "late.rawtlt").write_text("0\n3\n-3\n6\n-6\n9\n")

    def in_a_new_directory(self) -> None:
        """A directory that was not there."""
        time.sleep(SECONDS)
        (self._directory / "day2").mkdir()
        (self._directory / "day2" / "new.mrc").write_bytes(self._whole)

    def never_whole(self) -> None:
        """A transfer that is given up."""
        self._append("never.mrc", self._whole[: 1024 + 2 * SECTION])

    def text(self) -> None:
        """What no wait would make a picture of."""
        (self._directory / "text.mrc").write_text("no picture\n")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int, Sequence[str]]]:
    """A watched directory with many writers: the output, the exit status, and the lines of the log."""
    directory = tmp_path_factory.mktemp("watched")
    source, out = directory / "in", directory / "out"
    source.mkdir()
    microscope = Microscope(source, out)
    microscope.begin()
    try:
        status = run(source, out, "--watch", SECONDS, "--watch-until", 2, "--recursive", "--quiet")
    finally:
        microscope.end()
    yield out, status, (out / "mrc2movie.log").read_text().splitlines()


def sections_made(lines: Sequence[str], name: str) -> list[int]:
    """How many frames each movie had that was made of a file, one way."""
    made = re.compile(rf"/{re.escape(name)} -> .*: (\d+) frames of")
    return [int(found[1]) // 2 + 1 for line in lines if (found := made.search(line))]


@pytest.mark.parametrize("name", ["slow.mrc", "pausing.mrc", "renamed.mrc", "moved.mrc", "new.mrc"])
def test_a_file_is_converted_once_when_it_is_whole(watched: tuple[Path, int, Sequence[str]], name: str) -> None:
    assert sections_made(watched[2], name) == [6]


def test_a_file_whose_mdoc_lists_more_is_waited_for(watched: tuple[Path, int, Sequence[str]]) -> None:
    lines = watched[2]
    assert sections_made(lines, "behind.st") == [5]
    said = "behind.st: waits: 3 of the 5 sections that its mdoc lists are there"
    assert [line for line in lines if said in line] != []


@pytest.mark.parametrize(("name", "sections"), [("going_on.st", [3, 5]), ("overwritten.mrc", [2, 7])])
def test_a_file_that_goes_on_or_is_overwritten_is_made_anew(
    watched: tuple[Path, int, Sequence[str]], name: str, sections: list[int]
) -> None:
    out, _, lines = watched
    assert sections_made(lines, name) == sections
    assert frame_count((out / name).with_suffix(".avi")) == 2 * sections[-1] - 2


def test_a_file_whose_sidecar_comes_later_is_made_anew(watched: tuple[Path, int, Sequence[str]]) -> None:
    out, _, lines = watched
    assert sections_made(lines, "late.st") == [6, 6]
    assert json.loads((out / ".mrc2movie" / "late.avi.json").read_text())["sections"] == [4, 2, 0, 1, 3, 5]


def test_what_never_becomes_whole_is_said_once_and_at_the_end(watched: tuple[Path, int, Sequence[str]]) -> None:
    out, status, lines = watched
    assert not (out / "never.avi").exists()
    said = "never.mrc: waits: 2 of the 6 sections that its header promises are there"
    assert len([line for line in lines if said in line]) == 1
    assert status == 1
    assert " 1 failed, 1 not begun; " in lines[-1]


def test_what_can_never_be_converted_fails_with_its_line(watched: tuple[Path, int, Sequence[str]]) -> None:
    out, _, lines = watched
    assert len([line for line in lines if "text.mrc: is no MRC file but a text file" in line]) == 1
    assert (out / ".mrc2movie" / "failures" / "text.avi.json").exists()


def test_nothing_else_was_made_or_left_by_the_watch(
    watched: tuple[Path, int, Sequence[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    out, _, lines = watched
    stems = {"slow", "pausing", "going_on", "behind", "renamed", "moved", "overwritten", "late", "new"}
    assert {path.stem for path in out.rglob("*.avi")} == stems
    assert unfinished(out) == []
    assert len([line for line in lines if " INFO mrc2movie " in line]) == 1, "one header"
    assert run(out.parent / "in", out, "--recursive", "--log", out.parent / "log") == 1
    assert capsys.readouterr().err.endswith("\n1 converted, 9 up to date, 1 failed\n")  # never.mrc, as far as it goes


# The end


@pytest.mark.skipif(os.name == "nt", reason="no such signals on Windows")
@pytest.mark.parametrize(
    ("number", "status", "what"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_the_watch_with_its_closing_lines(
    tmp_path: Path, number: signal.Signals, status: int, what: str
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    write_mrc(source / "a.mrc", voxels())
    words: list[str | Path] = [COMMAND, source, out, "--watch", "0.1"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        wait_until((out / "a.avi").exists)
        (source / "b.mrc").write_bytes(mrc(ramp(3), 1)[:1100])
        assert process.stderr
        while "b.mrc: waits: " not in process.stderr.readline():
            pass
        begin = time.monotonic()
        process.send_signal(number)
        *_, counts, last = process.stderr.read().splitlines()
        assert process.wait() == status
        assert time.monotonic() - begin < 0.6
    assert counts == "1 converted, 1 not begun"
    assert last == f"mrc2movie: {what}; the same command again carries on"
    assert "1 converted, 1 not begun; " in (out / "mrc2movie.log").read_text()
    assert unfinished(out) == []


def test_a_watch_in_which_all_goes_well_ends_as_a_run_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = (tmp_path / "in", out, "--watch", "0.1", "--watch-until", "0.2")
    (tmp_path / "in").mkdir()
    assert run(*words) == 0, "there may be nothing yet"
    write_mrc(tmp_path / "in" / "a.mrc", voxels())
    write_mrc(tmp_path / "in" / "b.mrc", voxels())
    assert run(*words, "--json") == 0
    shown = capsys.readouterr()
    assert shown.err.endswith("\n2 converted\n")
    assert [json.loads(line)["status"] for line in shown.out.splitlines()] == ["converted"] * 2
    log = (out / "mrc2movie.log").read_text()
    assert run(*words) == 0
    assert capsys.readouterr().err.endswith("\n2 up to date\n")
    added = (out / "mrc2movie.log").read_text()[len(log) :].splitlines()
    assert len([line for line in added if " INFO mrc2movie " in line]) == 1
    assert " INFO 2 up to date; " in added[-1]


def test_a_file_may_be_watched_and_its_movie_named(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "a.st", voxels())
    assert run(source, tmp_path / "a.mp4", "--watch", "0.1", "--watch-until", "0.2") == 0
    assert frame_count(tmp_path / "a.mp4") == 10


def test_what_another_run_was_making_is_made_here_should_that_one_end(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    write_mrc(source / "a.mrc", voxels())
    claim = Claim(out / "a.avi")
    claim.__enter__()

    def give_up() -> None:
        try:
            wait_until(lambda: log.exists() and "left to another run" in log.read_text())
        finally:
            claim.__exit__()

    log = out / "mrc2movie.log"
    other = threading.Thread(target=give_up)
    other.start()
    assert run(source, out, "--watch", "0.1", "--watch-until", "0.2") == 0
    other.join()
    assert frame_count(out / "a.avi") == 10


def test_two_files_that_would_meet_keep_their_suffixes_though_one_comes_later(tmp_path: Path) -> None:
    """The one that is not whole yet counts: the names are those of a run over both."""
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    write_mrc(source / "a.st", voxels())
    (source / "a.rec").write_bytes(mrc(ramp(3), 1)[:1100])
    assert run(source, out, "--watch", "0.1", "--watch-until", "0.2") == 1
    assert [path.name for path in out.glob("*.avi")] == ["a.st.avi"]


def test_files_that_wait_are_left_for_those_who_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.mrc", "b.mrc", "c.downloading.mrc"):
        (source / name).write_bytes(mrc(ramp(3), 1)[:1100])
    assert run(source, out, "--watch", "0.1", "--watch-until", "0.2") == 1
    assert capsys.readouterr().err.endswith("\n2 not begun\n")
    assert run("--status", out) == 0
    assert capsys.readouterr().out == "0 done, 0 failed, 0 under way, 2 left\n"


def test_files_that_take_long_to_open_do_not_make_the_watch_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mrc(tmp_path / "a.mrc", voxels())

    def slowly(path: Path, settings: Settings) -> str:
        begin = time.thread_time()
        while time.thread_time() < begin + 0.1:
            pass
        return ""

    monkeypatch.setattr(arrivals, "why_not_whole", slowly)
    watched = arrivals.Arrivals([tmp_path], tmp_path / "out", Settings(watch=0.1))
    assert watched.look() == []
    time.sleep(0.15)
    assert watched.look() == [tmp_path / "a.mrc"]
    assert watched.look_seconds < 0.05


def test_a_directory_that_is_away_for_a_moment_does_not_end_the_watch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    write_mrc(source / "a.mrc", voxels())

    def unmounted_and_mounted() -> None:
        wait_until((out / "a.avi").exists)
        source.rename(tmp_path / "away")
        wait_until(lambda: f"{source}: waits: cannot be looked at" in (out / "mrc2movie.log").read_text())
        write_mrc(tmp_path / "away" / "b.mrc", voxels())
        (tmp_path / "away").rename(source)

    disk = threading.Thread(target=unmounted_and_mounted)
    disk.start()
    assert run(source, out, "--watch", "0.1", "--watch-until", "4") == 0
    disk.join()
    assert capsys.readouterr().err.endswith("\n2 converted\n")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("nowhere", "out", "--watch", "--watch-until", "0"), "nowhere: does not exist"),
        (("in", "out", "--watch-until", "3"), "--watch-until is for --watch"),
        (("in", "out", "--watch", "--dry-run"), "--watch and --dry-run contradict each other"),
        (("in", "out", "--watch=0"), "--watch 0: must be a number of seconds from 0.1"),
        (("in", "out", "--watch", "--watch-until", "0", "--codec", "ZZZZ"), "ZZZZ"),
        (("--demo", "out", "--watch"), "--demo writes what it converts"),
    ],
)
def test_a_watch_of_nothing_is_wrong_usage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    why: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    assert run(*words) == 2
    assert why in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_the_seconds_of_a_watch_may_be_left_out() -> None:
    assert Settings(watch=True).watch == 60
    with pytest.raises(UsageError, match="a watch is no single run"):
        convert_directory("in", "out", Settings(watch=1))


# Sidecars, in every run


def remade(source: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Why a run makes a movie anew; empty where it is up to date."""
    capsys.readouterr()
    assert run(source, out, "--dry-run") == 0
    found = re.search(r"would be converted \((.*)\)\n", capsys.readouterr().err)
    assert run(source, out) == 0
    assert capsys.readouterr().err.endswith("\n1 converted\n" if found else "\n1 up to date\n")
    return found[1] if found else ""


def test_a_sidecar_that_comes_changes_or_goes_makes_the_movie_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = write_mrc(tmp_path / "a.st", voxels(3)), tmp_path / "out"
    assert run(source, out) == 0
    (tmp_path / "a.tlt").write_text("0\n3\n-3\n")
    assert remade(source, out, capsys) == "a.tlt has changed"
    assert json.loads((out / ".mrc2movie" / "a.avi.json").read_text())["sections"] == [2, 0, 1]
    assert remade(source, out, capsys) == ""
    (tmp_path / "a.tlt").write_text("6\n3\n-3\n")
    assert remade(source, out, capsys) == "a.tlt has changed"
    (tmp_path / "a.tlt").unlink()
    (tmp_path / "a.st.mdoc").write_text(mdoc(3))
    assert remade(source, out, capsys) == "a.st.mdoc and a.tlt have changed"
    (tmp_path / "b.tlt").write_text("1\n")
    (tmp_path / "a.st.mdoc").chmod(0o400)
    assert remade(source, out, capsys) == ""


def test_a_tomogram_is_not_made_anew_for_the_sidecars_of_its_tilt_series(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = write_mrc(tmp_path / "a.rec", voxels(3)), tmp_path / "out"
    assert run(source, out) == 0
    (tmp_path / "a.tlt").write_text("0\n3\n-3\n")
    (tmp_path / "a.mdoc").write_text(mdoc(3))
    assert remade(source, out, capsys) == ""


def test_a_record_without_sidecars_is_that_of_an_earlier_version_and_up_to_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = write_mrc(tmp_path / "a.st", voxels(3)), tmp_path / "out"
    (tmp_path / "a.tlt").write_text("0\n3\n-3\n")
    assert run(source, out) == 0
    record = out / ".mrc2movie" / "a.avi.json"
    kept = json.loads(record.read_text())
    assert [sidecar["name"] for sidecar in kept.pop("sidecars")] == ["a.tlt"]
    record.write_text(json.dumps(kept))
    assert remade(source, out, capsys) == ""
