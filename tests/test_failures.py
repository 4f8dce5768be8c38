"""The record of a failure: it says why, decides nothing, and goes when the movie is made."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from random import Random

import pytest
from faults import stacks, tree, unfinished, voxels
from movies import run, write_mrc
from test_record import mutated

from mrc2movie import __version__
from mrc2movie.store.failure import failure_path, load_failure


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with a good file and one that cannot be read."""
    directory = stacks(tmp_path / "in", 1)
    (directory / "bad.mrc").write_text("no picture\n")
    return directory


def test_a_failure_leaves_a_record_that_goes_when_the_file_is_converted(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(source, out, "--fps", "7") == 1
    failure = load_failure(out / "bad.avi")
    assert failure
    assert f"{failure.why}\n" in capsys.readouterr().err
    assert failure.why == f"{source}/bad.mrc: is no MRC file but a text file"
    assert (failure.movie, failure.source_path, failure.version) == ("bad.avi", f"{source}/bad.mrc", __version__)
    assert failure.source
    assert (failure.source.name, failure.source.size) == ("bad.mrc", 11)
    assert failure.settings["fps"] == 7
    assert load_failure(out / "0.avi") is None
    write_mrc(source / "bad.mrc", voxels())
    assert run(source, out, "--fps", "7") == 0
    assert not failure_path(out / "bad.avi").exists()
    assert unfinished(out) == []


def test_a_failure_goes_when_the_movie_of_before_is_up_to_date_again(source: Path, tmp_path: Path) -> None:
    out, good = tmp_path / "out", source / "0.mrc"
    assert run(good, out) == 0
    shutil.copy2(good, tmp_path / "copy")
    good.write_text("overwritten by mistake\n")
    assert run(good, out) == 1
    assert load_failure(out / "0.avi")
    shutil.copy2(tmp_path / "copy", good)
    assert run(good, out, "--dry-run") == 0
    assert load_failure(out / "0.avi"), "a dry run touches nothing"
    assert run(good, out) == 0
    assert load_failure(out / "0.avi") is None


def test_a_dry_run_leaves_no_record_of_what_would_fail(source: Path, tmp_path: Path) -> None:
    assert run(source, tmp_path / "out", "--dry-run") == 1
    assert not (tmp_path / "out").exists()


def test_a_failure_makes_nobodys_movie_ours(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(source / "bad.mrc", out) == 1
    (out / "bad.avi").write_bytes(b"my own film")
    write_mrc(source / "bad.mrc", voxels())
    assert run(source / "bad.mrc", out) == 1
    assert "is there without a record and so not ours" in capsys.readouterr().err
    assert (out / "bad.avi").read_bytes() == b"my own film"


def test_a_movie_of_before_stays_up_to_date_beside_a_failure_of_other_options(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    good = source / "0.mrc"
    assert run(good, out) == 0
    assert run(good, out, "--discard-range", "0", "99") == 1
    assert load_failure(out / "0.avi")
    before = (out / "0.avi").stat()
    assert run(good, out) == 0
    assert (out / "0.avi").stat() == before


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_failure_is_neither_written_nor_removed_through_a_link(source: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    assert run(source / "bad.mrc", out) == 1
    (out / ".mrc2movie" / "failures").rename(other)
    (out / ".mrc2movie" / "failures").symlink_to(other)
    before = tree(other)
    assert run(source / "bad.mrc", out, "--fps", "7") == 1
    write_mrc(source / "bad.mrc", voxels())
    assert run(source / "bad.mrc", out) == 0
    assert tree(other) == before
    shutil.rmtree(out)
    (other / "new").mkdir()
    out.mkdir()
    (out / ".mrc2movie").symlink_to(other / "new")
    (source / "bad.mrc").write_text("no picture\n")
    assert run(source, out) == 1
    assert list((other / "new").iterdir()) == []


def test_a_failure_that_cannot_be_kept_is_said_all_the_same(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / ".mrc2movie").mkdir(parents=True)
    (tmp_path / "out" / ".mrc2movie" / "failures").write_text("in the way")
    assert run(source, tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "bad.mrc: is no MRC file but a text file\n" in said
    assert said.endswith("1 converted, 1 failed\n")
    assert unfinished(tmp_path / "out") == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be two users")
def test_a_failure_in_a_directory_of_another_user_is_said_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as name:  # that of pytest is open to nobody else
        directory = Path(name)
        source, out = stacks(directory / "in", 1), directory / "out"
        (source / "bad.mrc").write_text("no picture\n")
        assert run(source, out) == 1
        for path in (directory, out, out / "mrc2movie.log", out / ".mrc2movie"):
            path.chmod(0o777)
        (out / ".mrc2movie" / "failures").chmod(0o755)
        before = tree(out / ".mrc2movie" / "failures")
        capsys.readouterr()
        os.seteuid(65534)
        try:
            assert run(source, out, "--fps", "7") == 1
        finally:
            os.seteuid(0)
        assert "bad.mrc: is no MRC file but a text file\n" in capsys.readouterr().err
        assert tree(out / ".mrc2movie" / "failures") == before
        assert unfinished(out) == []


def test_a_failure_whose_values_are_of_any_kind_never_meets_a_bug(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, random = tmp_path / "out", Random(5)
    assert run(source, out) == 1
    kept = failure_path(out / "bad.avi")
    whole = json.loads(kept.read_text())
    whole["settings"] = {name: whole["settings"][name] for name in ("fps", "format")}
    for text in ("", "{", "[]", "[" * 10_000, '{"format": 99}'):
        kept.write_text(text)
        assert load_failure(out / "bad.avi") is None
    statuses = set()
    for _ in range(60):
        changed = mutated(whole, random)
        kept.write_text(json.dumps(changed))
        capsys.readouterr()
        statuses.add(run("--status", out, "--json"))
        told = json.loads(capsys.readouterr().out)
        assert told["done"] == 1
        assert told["failed"] + told["left"] == 1, changed
    assert run(source, out) == 1
    assert load_failure(out / "bad.avi")
