"""Links: none is written through, each is followed once, and the output never feeds itself."""

import os
from pathlib import Path

import pytest
from faults import closing_line, installed, stacks, tree, voxels
from movies import thinned, write_mrc

from mrc2movie.demo import make_demo

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")


def test_an_output_that_is_a_link_is_never_written_through(tmp_path: Path) -> None:
    source, out, mine = stacks(tmp_path / "in", 1), tmp_path / "out", tmp_path / "mine.avi"
    out.mkdir()
    mine.write_bytes(b"my own film")
    (out / "0.avi").symlink_to(mine)
    assert closing_line(installed(source, out)) == "1 left alone"
    assert closing_line(installed(source, out, "--overwrite")) == "1 converted"
    assert not (out / "0.avi").is_symlink()
    assert mine.read_bytes() == b"my own film"


def test_a_movie_of_ours_that_became_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    assert installed(source, out).returncode == 0
    moved = (out / "0.avi").rename(tmp_path / "moved.avi")
    before = moved.read_bytes()
    (out / "0.avi").symlink_to(moved)
    assert closing_line(installed(source, out, "--fps", "7")) == "1 converted"
    assert not (out / "0.avi").is_symlink()
    assert moved.read_bytes() == before


@pytest.mark.parametrize("dangling", [False, True])
def test_a_directory_of_the_output_that_is_a_link_is_never_written_through(tmp_path: Path, dangling: bool) -> None:
    source, out, other = tmp_path / "in", tmp_path / "out", tmp_path / "other"
    source.mkdir()
    stacks(source / "day1", 1)
    out.mkdir()
    if not dangling:
        other.mkdir()
    (out / "day1").symlink_to(other)
    result = installed(source, out, "--recursive")
    assert result.returncode == 1
    assert f"{out}/day1: is a symbolic link, which is never written through" in result.stderr
    assert not other.exists() or not list(other.iterdir())


def test_records_and_log_are_never_written_through_a_link(tmp_path: Path) -> None:
    source, out, other = stacks(tmp_path / "in", 1), tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.mkdir()
    (out / ".mrc2movie").symlink_to(other)
    result = installed(source, out)
    assert result.returncode == 1
    assert ".mrc2movie is a symbolic link, which is never written through" in result.stderr
    assert list(other.iterdir()) == []
    (out / ".mrc2movie").unlink()
    (out / "mrc2movie.log").unlink()
    (out / "mrc2movie.log").symlink_to(other / "log")
    result = installed(source, out)
    assert result.returncode == 1
    assert "the log is a symbolic link, which is never written through; name it with --log" in result.stderr
    assert list(other.iterdir()) == []


def test_an_output_directory_that_the_user_names_by_a_link_is_taken(tmp_path: Path) -> None:
    source = stacks(tmp_path / "in", 1)
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    assert closing_line(installed(source, tmp_path / "out")) == "1 converted"
    assert (tmp_path / "real" / "0.avi").exists()


def test_a_movie_of_ours_that_became_a_link_to_nothing_is_made_anew(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    assert installed(source, out).returncode == 0
    (out / "0.avi").unlink()
    (out / "0.avi").symlink_to(tmp_path / "nothing")
    assert closing_line(installed(source, out)) == "1 converted"
    assert not (out / "0.avi").is_symlink()
    assert not (tmp_path / "nothing").exists()


def test_a_dry_run_names_a_link_in_the_way(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    stacks(source / "day", 1)
    out.mkdir()
    (out / "day").symlink_to(tmp_path)
    for options in (("--dry-run",), ()):
        result = installed(source, out, "--recursive", "--log", tmp_path / "log", *options)
        assert result.returncode == 1
        assert f"{out}/day: is a symbolic link, which is never written through; remove it" in result.stderr


def test_a_link_to_a_directory_is_followed_once(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    stacks(source / "day1", 1)
    elsewhere = stacks(tmp_path / "elsewhere", 1)
    (source / "again").symlink_to(source / "day1")
    (source / "round").symlink_to(source)
    (source / "day1" / "up").symlink_to(source)
    (source / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(source)
    (source / "self").symlink_to("self")
    assert closing_line(installed(source, out, "--recursive")) == "3 converted"
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*.avi"))
    assert found == ["0.avi", "day1/0.avi", "linked/0.avi"]


def test_a_link_to_a_file_is_followed_and_one_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.mrc").symlink_to(write_mrc(tmp_path / "data", voxels()))
    (source / "b.mrc").symlink_to(tmp_path / "missing")
    (source / "c.mrc").symlink_to("c.mrc")
    result = installed(source, out)
    assert closing_line(result) == "1 converted, 2 failed"
    assert "b.mrc: is a link to" in result.stderr
    assert "c.mrc: is a link that leads round in a circle" in result.stderr


@pytest.mark.parametrize("name", ["in/out", "in", "in/deep/out"])
def test_the_output_does_not_feed_itself(tmp_path: Path, name: str) -> None:
    source, out = stacks(tmp_path / "in", 2), tmp_path / name
    (source / "deep").mkdir()
    (source / "0.mrc").rename(source / "deep" / "0.mrc")
    words: list[str | Path] = [source, out, "--recursive", "--pattern", "[01]*", "--log", tmp_path / "log"]
    assert closing_line(installed(*words)) == "2 converted"
    before = tree(out)
    assert closing_line(installed(*words)) == "2 up to date"
    assert tree(out) == before


def test_the_output_does_not_feed_itself_through_a_link(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 1), tmp_path / "out"
    out.mkdir()
    (source / "movies").symlink_to(out)
    words: list[str | Path] = [source, out, "--recursive", "--pattern", "0*"]
    assert closing_line(installed(*words)) == "1 converted"
    assert closing_line(installed(*words)) == "1 up to date"


@pytest.mark.parametrize("name", thinned(["demo_data", "demo_data/tilt_series.mrc", "demo_data/tilt_series.rawtlt"], 2))
@pytest.mark.parametrize("dangling", [False, True])
def test_the_demo_is_never_written_through_a_link(tmp_path: Path, name: str, dangling: bool) -> None:
    link, mine = tmp_path / "out" / name, tmp_path / "mine"
    link.parent.mkdir(parents=True)
    if not dangling:
        mine.mkdir() if name == "demo_data" else mine.write_bytes(b"my own data")
    link.symlink_to(mine)
    before = tree(tmp_path)
    result = installed("--demo", tmp_path / "out")
    why = f"mrc2movie: {link}: is a symbolic link, which is never written through; remove it\n"
    assert (result.returncode, result.stderr) == (1, why)
    assert tree(tmp_path) == before


@pytest.mark.large  # 13 s
def test_the_demo_is_made_anew_whatever_its_files_became(tmp_path: Path) -> None:
    data = tmp_path / "demo_data"
    data.mkdir()
    os.mkfifo(data / "tilt_series.rawtlt")
    (tmp_path / "mine").write_bytes(b"my own data")
    (data / "tomogram.mrc").hardlink_to(tmp_path / "mine")
    make_demo(tmp_path)
    assert len((data / "tilt_series.rawtlt").read_text().split()) == 41
    assert (tmp_path / "mine").read_bytes() == b"my own data"
