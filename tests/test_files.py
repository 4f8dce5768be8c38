"""Files and directories come to their names whole, and are told from what they were before."""

import os
from pathlib import Path

from mrc2movie.store.artifact import HiddenArtifact, publish
from mrc2movie.store.claim import Claim
from mrc2movie.store.files import FileStamp


def volume(path: Path, text: str) -> Path:
    """A directory as a chunked volume is kept: files in directories."""
    for name in ("zarr.json", "0/c/0", "0/c/1"):
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{name} {text}")
    return path


def contents(path: Path) -> dict[str, str]:
    return {str(file.relative_to(path)): file.read_text() for file in sorted(path.rglob("*")) if file.is_file()}


def test_a_directory_comes_to_its_name_whole_in_place_of_an_older_one(tmp_path: Path) -> None:
    target = volume(tmp_path / "a.zarr", "old")
    (target / "0/c/2").write_text("only in the old one")
    with Claim(tmp_path / "a.avi") as claim:
        made = HiddenArtifact.of(volume(claim.beside(".zarr"), "new"), target, "volume", "binned")
        publish([made])
    assert contents(target) == contents(volume(tmp_path / "expected", "new"))
    assert made.artifact.file == FileStamp.of(target)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_directory_that_is_not_published_vanishes_with_the_claim(tmp_path: Path) -> None:
    with Claim(tmp_path / "a.avi") as claim:
        volume(claim.beside(".zarr"), "new")
    assert list(tmp_path.iterdir()) == []


def test_a_change_of_any_file_of_a_directory_changes_its_stamp(tmp_path: Path) -> None:
    target = volume(tmp_path / "a.zarr", "x")
    before = FileStamp.of(target)
    assert FileStamp.of(target) == before
    file = target / "0/c/0"
    os.utime(file, ns=(0, before.mtime_ns + 1000))
    assert FileStamp.of(target) != before
