"""``--status``: what is done, failed, under way and left, by what the runs have left; nothing is written."""

import json
import os
import platform
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from faults import faulty, stacks, started, tree, unfinished, voxels, wait_for
from movies import run, write_mrc

from mrc2movie import Settings, convert_directory
from mrc2movie.store.claim import Claim


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Any:
    """Asks for the status as JSON, while nothing is touched."""

    def ask(output_directory: Path, is_still: bool = True) -> dict[str, Any]:
        before = tree(output_directory)
        capsys.readouterr()
        status = run("--status", output_directory, "--json")
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert status == (1 if found["failed"] or found["left_alone"] else 0)
        assert not is_still or tree(output_directory) == before
        return found

    return ask


def numbers(told: dict[str, Any]) -> tuple[int, int, int, int]:
    """Done, failed, under way, left."""
    assert told["left_alone"] == 0
    return told["done"], told["failed"], told["under_way"], told["left"]


def test_every_planned_file_is_done_failed_or_left(
    tmp_path: Path, told: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = stacks(tmp_path / "in", 6), tmp_path / "out"
    (source / "0.mrc").write_text("no picture\n")
    assert run(source, out) == 1
    assert numbers(told(out)) == (5, 1, 0, 0)
    (out / "1.avi").unlink()
    os.utime(source / "2.mrc")
    (source / "3.mrc").rename(source / "3.st")
    (source / "4.mrc").unlink()
    found = told(out)
    assert numbers(found) == (3, 1, 0, 2), "also movies whose inputs are gone"
    (failed,) = found["files"]
    assert (failed["status"], failed["output"]) == ("failed", f"{out}/0.avi")
    assert failed["why"] == f"{source}/0.mrc: is no MRC file but a text file"
    assert run("--status", out) == 1
    assert capsys.readouterr().out == f"failed: {failed['why']}\n3 done, 1 failed, 0 under way, 2 left\n"
    write_mrc(source / "0.mrc", voxels())
    assert numbers(told(out)) == (3, 0, 0, 3), "it will be tried"
    (source / "2.mrc").unlink()
    (out / "2.avi").unlink()
    assert numbers(told(out)) == (3, 0, 0, 2), "nobody can make it"


def test_what_is_done_depends_on_the_options_of_the_last_run(tmp_path: Path, told: Any) -> None:
    source, out = stacks(tmp_path / "in", 3), tmp_path / "out"
    (source / "0.mrc").write_text("no picture\n")
    assert run(source, out) == 1
    assert run(source, out, "--fps", "7", "--preset", "tilt", "--discard-range", "0", "1", "--format", "avi") == 1
    assert numbers(told(out)) == (2, 1, 0, 0)
    shutil.copytree(out, tmp_path / "copy")
    assert run(source, out) == 1
    assert numbers(told(out)) == (2, 1, 0, 0)
    plans = sorted((out / ".mrc2movie" / "plans").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    os.utime(plans[0])  # as left by a run with the other options that has just begun
    assert numbers(told(out)) == (0, 0, 0, 3)


def test_a_run_that_makes_everything_anew_has_done_what_it_has_made(tmp_path: Path, told: Any) -> None:
    source, out = stacks(tmp_path / "in", 3), tmp_path / "out"
    assert run(source, out) == 0
    assert run(source, out, "--overwrite") == 0
    assert numbers(told(out)) == (3, 0, 0, 0)
    plan = max((out / ".mrc2movie" / "plans").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    made = sorted(movie.stat().st_mtime_ns for movie in out.glob("*.avi"))
    os.utime(plan, ns=(made[0] + 1000, made[0] + 1000))
    before = made.count(made[0])  # the clock of a file system may tick slowly
    assert numbers(told(out)) == (3 - before, 0, 0, before), "they were made before the plan"


def test_files_of_several_runs_are_counted_once(tmp_path: Path, told: Any) -> None:
    day1, day2, out = stacks(tmp_path / "day1", 4), tmp_path / "day2", tmp_path / "out"
    day2.mkdir()
    for name in ("x", "y"):
        write_mrc(day2 / f"{name}.mrc", voxels())
    assert run(day1, out) == 0
    assert run(day2, out) == 0
    assert run(day1 / "0.mrc", day1 / "1.mrc", out) == 0
    assert run(day1 / "2.mrc", day1 / "3.mrc", day2 / "x.mrc", out) == 0
    assert numbers(told(out)) == (6, 0, 0, 0)
    for movie in out.glob("*.avi"):
        movie.unlink()
    assert numbers(told(out)) == (0, 0, 0, 6)


def test_a_loop_over_a_few_files_at_a_time_keeps_one_plan(tmp_path: Path, told: Any) -> None:
    source, out = stacks(tmp_path / "in", 6), tmp_path / "out"
    for first in (0, 2, 4):
        assert run(source / f"{first}.mrc", source / f"{first + 1}.mrc", out) == 0
    (plan,) = (out / ".mrc2movie" / "plans").iterdir()
    assert len(json.loads(plan.read_text())["files"]) == 6
    (source / "0.mrc").unlink()
    assert run(source / "1.mrc", source / "2.mrc", out) == 0
    assert len(json.loads(plan.read_text())["files"]) == 5
    assert numbers(told(out)) == (6, 0, 0, 0)


def test_the_same_command_again_leaves_its_plan_as_it_is(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 3), tmp_path / "out"
    assert run(source, out) == 0
    before = tree(out)
    assert run(source, out, "--log", tmp_path / "log") == 0
    assert tree(out) == before
    write_mrc(source / "new.mrc", voxels())
    assert run(source, out) == 0
    (plan,) = (out / ".mrc2movie" / "plans").iterdir()
    assert [Path(found).name for _, found, *_ in json.loads(plan.read_text())["files"]] == [
        *("0.mrc", "1.mrc", "2.mrc", "new.mrc")
    ]


def test_a_shell_loop_over_single_files_is_counted_by_what_it_has_left(tmp_path: Path, told: Any) -> None:
    source, out = stacks(tmp_path / "in", 5), tmp_path / "out"
    (source / "0.mrc").write_text("no picture\n")
    for number in range(5):
        run(source / f"{number}.mrc", out / f"day{number % 2}")
    assert not list(out.rglob("plans"))
    assert numbers(told(out)) == (4, 1, 0, 0)
    os.utime(source / "1.mrc")
    (out / "day0" / "2.avi").unlink()
    (source / "3.mrc").unlink()
    assert numbers(told(out)) == (2, 1, 0, 1)
    os.utime(source / "0.mrc")
    assert numbers(told(out)) == (2, 0, 0, 2)


def test_a_file_that_would_replace_what_is_not_ours_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = stacks(tmp_path / "in", 2), tmp_path / "out"
    out.mkdir()
    (out / "0.avi").write_bytes(b"my own film")
    assert run(source, out) == 1
    capsys.readouterr()
    assert run("--status", out) == 1
    why = f"{out}/0.avi is there without a record and so not ours; --overwrite replaces it"
    assert capsys.readouterr().out == f"left alone: {why}\n1 done, 0 failed, 1 left alone, 0 under way, 0 left\n"


def test_what_is_under_way_is_shown_with_where_since_when_and_how_far(
    tmp_path: Path, told: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out, mark = stacks(tmp_path / "in", 3), tmp_path / "out", tmp_path / "mark"
    write_mrc(source / "1.mrc", voxels(40, 200, 200))
    process = started(source, out, "--jobs", "1", env=faulty("read", "1.mrc", after=45, sleep=20, mark=mark))
    wait_for(mark, process)
    found = told(out)
    assert numbers(found) == (1, 0, 1, 1)
    (making,) = found["files"]
    assert making["input"] == f"{source}/1.mrc"
    assert (making["host"], making["process"]) == (platform.node(), process.pid)
    assert 0 <= making["seconds"] < 60
    assert run("--status", out) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"^under way: {source}/1.mrc on \S+ \(process {process.pid}\) since \d\d:\d\d:\d\d, for", shown)
    rate, counts = shown.splitlines()[-2:]
    assert re.fullmatch(r"[\d.e+]+ files an hour, .* left", rate)
    assert counts == "1 done, 0 failed, 1 under way, 1 left"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert unfinished(out) != []
    assert numbers(told(out)) == (1, 0, 0, 2), "what a dead run left is not under way"


def test_a_claim_tells_how_far_its_movie_is(tmp_path: Path, told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrc2movie.store.claim._BEAT_SECONDS", 0.02)
    monkeypatch.setattr("mrc2movie.store.under_way._RUN_BEGAN", time.time() - 1800)
    source, out = stacks(tmp_path / "in", 4), tmp_path / "out"
    assert run(source, out) == 0
    with Claim(out / "1.avi", source=source / "1.mrc") as claim:
        claim.how_far = "converting", 0.25
        for path in (out / "2.avi", out / "3.avi"):
            path.unlink()
        time.sleep(0.2)
        found = told(out, is_still=False)
        assert numbers(found) == (1, 0, 1, 2)
        (making,) = found["files"]
        assert (making["stage"], making["done"]) == ("converting", 0.25)
        assert found["files_an_hour"] == pytest.approx(2, abs=0.1), "one in half an hour"
        assert found["seconds_left"] == pytest.approx(2.75 * 1800, rel=0.05)
        (told_file,) = claim.directory.glob("*.under_way")
        for nonsense in (b"", b"{", b"[]", b'{"movie": 3}', b"\xff\n", b"[" * 9000):
            told_file.write_bytes(nonsense)
            assert numbers(told(out, is_still=False)) == (1, 0, 1, 2)
    assert numbers(told(out)) == (2, 0, 0, 2)


def test_a_single_file_that_is_under_way_is_known_by_its_claim(tmp_path: Path, told: Any) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    out.mkdir()
    with Claim(out / "0.avi", source=source / "0.mrc"):
        found = told(out)
        assert numbers(found) == (0, 0, 1, 0)
        assert found["files"][0]["output"] == f"{out}/0.avi"


def test_sub_directories_and_what_cannot_be_listed_are_counted(tmp_path: Path, told: Any) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    stacks(source / "day", 2)
    (source / "away").symlink_to(source / "away")
    assert run(source, out, "--recursive") == 0
    assert numbers(told(out)) == (3, 0, 0, 0)
    (out / "day" / "1.avi").unlink()
    assert numbers(told(out)) == (2, 0, 0, 1)


def test_a_plan_that_cannot_be_read_is_named_and_one_that_leads_elsewhere_is_none(tmp_path: Path, told: Any) -> None:
    source, out = stacks(tmp_path / "in", 3), tmp_path / "out"
    assert run(source, out) == 0
    (plan,) = (out / ".mrc2movie" / "plans").iterdir()
    whole = json.loads(plan.read_text())
    damaged = (
        *("", "{", "[]", '{"format": 99}'),
        json.dumps({**whole, "files": [["../0.avi", f"{source}/0.mrc", "", ""]]}),
        json.dumps({**whole, "files": [["/etc/passwd", f"{source}/0.mrc", "", ""]]}),
        json.dumps({**whole, "files": [["0.avi", 7, "", ""]]}),
        json.dumps({**whole, "files": [["0.avi", f"{source}/0.mrc"]]}),
        json.dumps({**whole, "options": {"unheard_of": 1}}),
        json.dumps({**whole, "options": {"fps": "fast"}}),
    )
    for text in damaged:
        plan.write_text(text)
        found = told(out)
        assert numbers(found) == (3, 0, 0, 0), "by their records"
        assert len(found["notes"]) == 1
        assert str(plan) in found["notes"][0]
    files = [["0.avi", f"{source}/\0", "", ""], ["1.avi", f"{source}/1.mrc", "", ""], ["x.avi", f"{source}/\0", "", ""]]
    plan.write_text(json.dumps({**whole, "files": files}))
    found = told(out)
    assert (numbers(found), found["notes"]) == ((3, 0, 0, 0), [])


def test_a_plan_is_never_left_through_a_link_nor_by_a_dry_run(tmp_path: Path) -> None:
    source, out, other = stacks(tmp_path / "in", 2), tmp_path / "out", tmp_path / "other"
    assert run(source, out, "--dry-run") == 0
    assert not out.exists()
    other.mkdir()
    (out / ".mrc2movie").mkdir(parents=True)
    (out / ".mrc2movie" / "plans").symlink_to(other)
    assert run(source, out) == 0
    assert list(other.iterdir()) == []
    assert unfinished(out) == []


def test_a_run_from_python_leaves_a_plan_too(tmp_path: Path, told: Any) -> None:
    source, out = stacks(tmp_path / "in", 3), tmp_path / "out"
    convert_directory(source, out, Settings(discard_range=(0, 1), thumbnail=True, label=["tilt"]))  # type: ignore[arg-type]
    assert numbers(told(out)) == (3, 0, 0, 0)
    (out / "1.png").unlink()
    assert numbers(told(out)) == (2, 0, 0, 1)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("in", "--status", "out"), "--status converts nothing"),
        (("--status", "nowhere"), "--status nowhere: is no directory"),
        (("--status", "."), "--status .: no run has left anything in it"),
        (("--status", ""), "--status: must not be empty"),
    ],
)
def test_a_status_of_nothing_is_wrong_usage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    why: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    assert why in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
