"""The manifest for pipelines, held against the schema that comes with the package."""

import errno
import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from faults import faulty, installed
from movies import ramp, run, write_mrc

from mrc2movie import Settings, convert_directory
from mrc2movie.pages.manifest import Input, in_json, manifest
from mrc2movie.store.claim import Claim

SCHEMA = json.loads((files("mrc2movie.pages") / "manifest.schema.json").read_text(encoding="utf-8"))


def checked(path: Path) -> list[dict[str, Any]]:
    """The entries of a manifest that keeps to its schema."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="ascii"), parse_constant=pytest.fail)
    jsonschema.validate(found, SCHEMA, cls=jsonschema.Draft202012Validator)
    entries: list[dict[str, Any]] = found["files"]
    return entries


def assets(image: dict[str, Any]) -> dict[str, str]:
    """The names of the files, by their types."""
    return {each["type"]: Path(each["path"]).name for each in image["assets"]}


def series(directory: Path, *names: str) -> Path:
    directory.mkdir(exist_ok=True)
    for name in names:
        write_mrc(directory / name, ramp(), voxel_size_A=(2, 3, 4))
    return directory


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_what_batchruntomo_leaves_of_a_series_is_one_entry(tmp_path: Path) -> None:
    source = series(tmp_path / "in", "TS_01_rec.mrc", "TS_01_ali.mrc", "TS_02.mrc")
    (source / "TS_01.rawtlt").write_text("-60\n-20\n20\n60\n")
    options = ("--thumbnail", "--contact-sheet", "--volume=averaged", "--manifest", tmp_path / "m.json")
    assert run(source, tmp_path / "out", *options) == 0
    first, second = checked(tmp_path / "m.json")
    assert (first["title"], second["title"]) == ("TS_01", "TS_02")
    assert first["primaryFilePath"] == str(source / "TS_01_ali.mrc")
    assert (first["status"], first["message"], first["thumbnailIndex"]) == ("success", "", 0)
    assert first["fileMetadata"]["bytes"] == (source / "TS_01_ali.mrc").stat().st_size
    aligned, reconstructed = first["imageSet"]
    assert aligned["imageName"] == "TS_01_ali.mrc"
    assert assets(aligned) == {
        "tiltMovie": "TS_01_ali.avi",
        "thumbnail": "TS_01_ali.png",
        "keyImage": "TS_01_ali.contact.png",
        "averagedVolume": "TS_01_ali.averaged.mrc",
    }
    assert assets(reconstructed)["recMovie"] == "TS_01_rec.avi"
    assert reconstructed["imageMetadata"]["voxelSizeAngstrom"] == [2, 3, 4]
    assert reconstructed["imageMetadata"]["shape"] == [4, 6, 10]
    for image in first["imageSet"]:
        for asset in image["assets"]:
            assert asset["metadata"]["bytes"] == os.stat(asset["path"]).st_size  # noqa: PTH116


@pytest.mark.parametrize(
    ("names", "titles", "steps"),
    [
        (["a.st", "a.preali", "a.ali", "a.rec"], ["a"], ["a.st", "a.preali", "a.ali", "a.rec"]),
        (["a_full_rec.mrc", "a_rec.mrc", "a.mrc"], ["a"], ["a.mrc", "a_full_rec.mrc", "a_rec.mrc"]),
        (["a_full.rec", "a_ali.mrc.gz"], ["a"], ["a_ali.mrc.gz", "a_full.rec"]),
        (["A_REC.MRC", "A_Ali.mrc"], ["A"], ["A_Ali.mrc", "A_REC.MRC"]),
        (["a_full.mrc", "a.mrc"], ["a_full", "a"], ["a_full.mrc", "a.mrc"]),
        (["_rec.mrc", "_ali.mrc"], ["_rec", "_ali"], ["_rec.mrc", "_ali.mrc"]),
        (["ali.mrc", "trial.mrc"], ["ali", "trial"], ["ali.mrc", "trial.mrc"]),
        (["x/a_ali.mrc", "y/a_rec.mrc"], ["a", "a"], ["a_ali.mrc", "a_rec.mrc"]),
    ],
)
def test_names_tell_the_series(tmp_path: Path, names: list[str], titles: list[str], steps: list[str]) -> None:
    inputs = [Input(tmp_path / name, tmp_path / "out" / f"{name}.avi", "error", "no") for name in names]
    entries = manifest(inputs)["files"]
    assert [entry["title"] for entry in entries] == titles
    assert [image["imageName"] for entry in entries for image in entry["imageSet"]] == steps


@pytest.mark.parametrize(
    ("name", "header", "kind"),
    [
        ("a.mrc", {"ispg": 1}, "recMovie"),
        ("a.mrc", {"ispg": 0}, "tiltMovie"),
        ("a.rec", {"ispg": 0}, "recMovie"),
        ("a_rec.mrc", {"ispg": 0}, "recMovie"),
        ("a_ali.mrc", {"ispg": 1}, "tiltMovie"),
        ("a.mrcs", {"ispg": 1}, "tiltMovie"),
    ],
)
def test_a_movie_of_a_volume_is_told_from_one_of_images(
    tmp_path: Path, name: str, header: dict[str, Any], kind: str
) -> None:
    source = write_mrc(tmp_path / name, ramp(), **header)
    assert run(source, tmp_path / "out", "--manifest", tmp_path / "m.json") == 0
    assert kind in assets(checked(tmp_path / "m.json")[0]["imageSet"][0])


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (("--volume=averaged",), "averagedVolume"),
        (("--volume=binned",), "volume"),
        (("--volume=binned", "--volume-format=mrcz"), "volume"),
        (("--volume=averaged", "--volume-format=zarr"), "neuroglancerZarr"),
    ],
)
def test_each_volume_has_its_type(tmp_path: Path, options: tuple[str, ...], kind: str) -> None:
    source = write_mrc(tmp_path / "a.rec", ramp())
    words: tuple[str | Path, ...] = (source, tmp_path / "out", *options, "--manifest", tmp_path / "m.json")
    for _ in range(2):  # the second time the movie is up to date
        assert run(*words) == 0
        assert set(assets(checked(tmp_path / "m.json")[0]["imageSet"][0])) == {"recMovie", kind}


def test_files_that_fail_are_in_it(tmp_path: Path) -> None:
    source = series(tmp_path / "in", "a_ali.mrc", "c.mrc")
    (source / "a_rec.mrc").write_text("no MRC")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/c.avi").write_bytes(b"not ours")
    assert run(source, tmp_path / "out", "--manifest", tmp_path / "m.json") == 1
    first, second = checked(tmp_path / "m.json")
    assert first["status"] == "error"
    assert first["message"] == f"{source / 'a_rec.mrc'}: is no MRC file but a text file"
    assert [list(assets(image)) for image in first["imageSet"]] == [["tiltMovie"], []]
    assert second["status"] == "error"
    assert "is there without a record" in second["message"]


def test_a_movie_that_another_run_makes_is_pending(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "a.mrc", ramp())
    (tmp_path / "out").mkdir()
    with Claim(tmp_path / "out/a.avi"):
        assert run(source, tmp_path / "out", "--manifest", tmp_path / "m.json") == 0
    (entry,) = checked(tmp_path / "m.json")
    assert entry["status"] == "pending"
    assert "is being made by another run" in entry["message"]


def test_pictures_that_show_what_the_movie_no_longer_does_are_not_in_it(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "a.mrc", ramp())
    words = (source, tmp_path / "out", "--manifest", tmp_path / "m.json")
    assert run(*words, "--thumbnail") == 0
    assert run(*words, "--invert") == 0
    assert list(assets(checked(tmp_path / "m.json")[0]["imageSet"][0])) == ["recMovie"]


def test_hostile_names_pass(tmp_path: Path) -> None:
    names = ['<img onerror="x">', "a]]>'b", "\u202eright to left", "n" * 251]
    series(tmp_path / "in", *(f"{name}.mrc" for name in names))
    assert run(tmp_path / "in", tmp_path / "out", "--manifest", tmp_path / "m.json") == 0
    assert sorted(entry["title"] for entry in checked(tmp_path / "m.json")) == sorted(names)
    undecodable = Input(tmp_path / os.fsdecode(b"\xff.mrc"), tmp_path / "a.avi", "error", "no")
    assert json.loads(in_json([undecodable]))["files"][0]["title"] == "\udcff"


DAMAGES: list[dict[str, Any]] = [
    {"header": {"sections": {"tilt_degrees": "no"}}, "frames": 7, "kind": None, "shape": [1, 2]},
    {"header": 1, "frames": {"fps": float("nan")}, "signals": [3, {"text": 4}], "warnings": [["x"]], "version": 2},
    {"header": {"sections": {"tilt_degrees": [1, "x"]}}, "grey_range": [1, float("inf")], "voxel_size_A": "1"},
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_does_no_harm(tmp_path: Path, damage: dict[str, Any]) -> None:
    source = write_mrc(tmp_path / "a.mrc", ramp())
    words = (source, tmp_path / "out", "--manifest", tmp_path / "m.json")
    assert run(*words) == 0
    record = tmp_path / "out/.mrc2movie/a.avi.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), **damage}))
    assert run(*words) == 0
    assert len(checked(tmp_path / "m.json")) == 1


def test_it_replaces_an_earlier_one_whole_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, path = write_mrc(tmp_path / "a.mrc", ramp()), tmp_path / "m.json"
    words = (source, tmp_path / "out", "--manifest", path)
    assert run(*words) == 0
    before = path.read_bytes()
    for call in ("write", "fsync", "rename"):
        result = installed(*words, "--overwrite", env=faulty(call, ".m.json", error=errno.ENOSPC))
        assert result.returncode == 1
        assert "m.json: the manifest cannot be" in result.stderr
        assert "(No space left on device); make room" in result.stderr
        assert path.read_bytes() == before
        assert sorted(each.name for each in tmp_path.iterdir()) == ["a.mrc", "m.json", "out"]
    path.unlink()
    for theirs, what in ((source, "is there and no manifest"), (tmp_path / "out", "is there and no plain file")):
        assert run(source, tmp_path / "other", "--manifest", theirs) == 2
        assert what in capsys.readouterr().err
    assert run(source, tmp_path / "other", "--manifest", tmp_path / "no/m.json") == 2
    assert "its directory does not exist" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_it_may_lie_in_an_output_directory_that_is_not_there_yet(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "a.mrc", ramp())
    assert run(source, tmp_path / "out", "--manifest", tmp_path / "out/m.json") == 0
    assert len(checked(tmp_path / "out/m.json")) == 1


def test_a_dry_run_writes_none(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "a.mrc", ramp())
    assert run(source, tmp_path / "out", "--dry-run", "--manifest", tmp_path / "m.json") == 0
    assert not (tmp_path / "m.json").exists()


def test_a_file_beside_the_data_cannot_have_it_written_or_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mrc(tmp_path / "a.mrc", ramp())
    for line in ('manifest = "m.json"', 'callback = "http://localhost/"'):
        (tmp_path / "mrc2movie.toml").write_text(line)
        assert run(tmp_path, tmp_path / "out") == 2
        assert "only a file named with --config may set it" in capsys.readouterr().err


def test_the_function_of_the_package_writes_it_too(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", ramp())
    report = convert_directory(tmp_path, tmp_path / "out", Settings(manifest=str(tmp_path / "m.json")))
    assert report.exit_status == 0
    (entry,) = checked(tmp_path / "m.json")
    assert entry["primaryFilePath"] == str(tmp_path / "a.mrc")
