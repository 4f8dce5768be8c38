"""OME-Zarr volumes: their metadata by the models of the standard, their voxels by another library than wrote them."""

import errno
import json
import os
import shutil
import stat
import sys
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import ome_zarr_models.v04.image
import ome_zarr_models.v05.image
import pytest
import tensorstore
import zarr
from faults import faulty, installed
from movies import LOSSLESS, less_memory_than, ramp, run, thinned, write_mrc
from numpy.typing import NDArray

VERSIONS = ("0.5", "0.4")
DRIVERS = {"0.5": "zarr3", "0.4": "zarr"}
MODELS: dict[str, Any] = {"0.5": ome_zarr_models.v05.image.Image, "0.4": ome_zarr_models.v04.image.Image}

Large: TypeAlias = tuple[str, Path, NDArray[Any]]

rng = np.random.default_rng(5)


def volume_of(source: Path, *options: str, kind: str = "averaged") -> Path:
    words = ("--volume", kind, "--volume-format=zarr", *options)
    assert run(source, source.parent / "out", *LOSSLESS, "--overwrite", *words) == 0
    return source.parent / "out" / f"{source.stem}.{kind}.zarr"


def level(made: Path, number: int, version: str = "0.5") -> NDArray[Any]:
    """A resolution as TensorStore reads it, which is not what wrote it."""
    spec = {"driver": DRIVERS[version], "kvstore": {"driver": "file", "path": str(made / str(number))}}
    return np.asarray(tensorstore.open(spec, read=True).result().read().result())


def metadata(made: Path) -> dict[str, Any]:
    if (made / "zarr.json").exists():
        found: dict[str, Any] = json.loads((made / "zarr.json").read_text())["attributes"]["ome"]
        return found
    found = json.loads((made / ".zattrs").read_text())
    return found


def means_of_8(finer: NDArray[Any]) -> NDArray[np.float64]:
    """Means of 2 x 2 x 2 voxels, of fewer at an end that is odd."""
    more = [(0, side % 2) for side in finer.shape]
    wide = np.pad(finer.astype(np.float64), more, constant_values=np.nan)
    z, y, x = (side // 2 for side in wide.shape)
    found: NDArray[np.float64] = np.nanmean(wide.reshape(z, 2, y, 2, x, 2), axis=(1, 3, 5))
    return found


@pytest.fixture(scope="module", params=[("0.5", "forward-backward"), ("0.4", "backward")], ids=VERSIONS)
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Large:
    """A version, an image with more than a chunk along each side, all of them odd, and its voxels."""
    version, playback = request.param
    data = rng.normal(0, 10, (67, 259, 301)).astype(np.float32)
    path = tmp_path_factory.mktemp("zarr") / "a.mrc"
    source = write_mrc(path, data, voxel_size_A=(10, 20, 40), origin=(100, 0, -300))
    options = ("--playback", playback, "--range=-20,30", "--invert")
    return version, volume_of(source, "--zarr-version", version, *options), data


def test_the_models_of_the_standard_take_it_and_another_library_reads_it(large: Large) -> None:
    version, made, data = large
    assert MODELS[version].from_zarr(zarr.open_group(made, mode="r"))
    levels = [level(made, number, version) for number in range(2)]
    np.testing.assert_array_equal(levels[0], data)
    assert levels[1].shape == (34, 130, 151)
    np.testing.assert_allclose(levels[1], means_of_8(data), atol=1e-4)


def test_chunks_are_64_by_256_by_256_and_compressed_with_zstd(large: Large) -> None:
    version, made, _ = large
    array = zarr.open_group(made, mode="r")["0"]
    assert isinstance(array, zarr.Array)
    assert array.chunks == (64, 256, 256)
    assert "zstd" in str(array.compressors).lower()
    keys = {str(path.relative_to(made / "0")) for path in (made / "0").rglob("*") if path.is_file()}
    chunks = {"/".join(map(str, place)) for place in product((0, 1), repeat=3)}
    expected = {f"c/{key}" for key in chunks} | {"zarr.json"} if version == "0.5" else chunks | {".zarray", ".zattrs"}
    assert keys == expected


def test_places_are_in_nanometres_at_the_centres_of_voxels(large: Large) -> None:
    version, made, data = large
    found = metadata(made)
    (image,) = found["multiscales"]
    assert (image if version == "0.4" else found)["version"] == version
    assert image["axes"] == [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    placed = [
        {each["type"]: each[each["type"]] for each in dataset["coordinateTransformations"]}
        for dataset in image["datasets"]
    ]
    assert placed == [
        {"scale": [4, 2, 1], "translation": [-30, 0, 10]},
        {"scale": [8, 4, 2], "translation": [-28, 1, 10.5]},
    ]
    (channel,) = found["omero"]["channels"]
    assert channel["window"] == {"start": -20, "end": 30, "min": float(data.min()), "max": float(data.max())}
    assert channel["inverted"] is True
    outside: Any = zarr.open_group(made, mode="r").attrs["omero"]
    assert outside["channels"] == [channel]  # where neuroglancer looks for it


def test_a_size_that_is_not_known_is_counted_in_voxels(tmp_path: Path) -> None:
    (image,) = metadata(volume_of(write_mrc(tmp_path / "a.mrc", ramp())))["multiscales"]
    assert image["axes"] == [{"name": name, "type": "space"} for name in "zyx"]
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == [1, 1, 1]


def test_planes_along_another_axis_are_named_for_it(tmp_path: Path) -> None:
    data = ramp(5, 6, 9)
    made = volume_of(write_mrc(tmp_path / "a.mrc", data, voxel_size_A=(10, 20, 40)), "--axis=y")
    (image,) = metadata(made)["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == ["y", "z", "x"]
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == [2, 4, 1]
    np.testing.assert_array_equal(level(made, 0), data.swapaxes(0, 1))
    assert MODELS["0.5"].from_zarr(zarr.open_group(made, mode="r"))


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float16"])
def test_types_are_those_that_viewers_read(tmp_path: Path, dtype: str) -> None:
    data = (rng.integers(0, 256, (66, 4, 5)) - (0 if dtype[0] == "u" else 128)).astype(dtype)
    made = volume_of(write_mrc(tmp_path / "a.mrc", data))
    found = level(made, 0)
    assert found.dtype == ("float32" if dtype == "float16" else dtype)
    np.testing.assert_array_equal(found, data)
    half = level(made, 1)
    assert half.dtype == found.dtype
    np.testing.assert_array_equal(half, means_of_8(data) if dtype == "float16" else np.rint(means_of_8(data)))


def test_a_binned_volume_has_means_along_all_three_axes(tmp_path: Path) -> None:
    data = ramp(9, 22, 31)
    made = volume_of(write_mrc(tmp_path / "a.mrc", data, voxel_size_A=10), "--bin=2", kind="binned")
    expected = data[:8, :, :30].astype(np.float64).reshape(4, 2, 11, 2, 15, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(level(made, 0), expected)


def test_one_long_side_alone_is_halved(tmp_path: Path) -> None:
    data = rng.normal(0, 1, (1, 1, 700)).astype(np.float32)
    made = volume_of(write_mrc(tmp_path / "a.mrc", data, voxel_size_A=10))
    assert [level(made, number).shape for number in range(3)] == [(1, 1, 700), (1, 1, 350), (1, 1, 175)]
    np.testing.assert_allclose(level(made, 2), means_of_8(means_of_8(data)), atol=1e-6)
    (image,) = metadata(made)["multiscales"]
    assert image["datasets"][2]["coordinateTransformations"] == [
        {"type": "scale", "scale": [1, 1, 4]},
        {"type": "translation", "translation": [0, 0, 1.5]},
    ]


def test_another_version_replaces_the_directory_as_a_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = write_mrc(tmp_path / "a.mrc", ramp()), tmp_path / "out"

    def said(*options: str) -> str:
        capsys.readouterr()
        assert run(source, out, "--volume=averaged", "--volume-format=zarr", *options) == 0
        return capsys.readouterr().err.splitlines()[-1]

    made = out / "a.averaged.zarr"
    assert said() == "1 converted"
    assert said() == "1 up to date"
    assert said("--zarr-version=0.4") == "1 converted"
    assert sorted(path.name for path in made.iterdir()) == [".zattrs", ".zgroup", "0"]
    assert said("--zarr-version=0.4") == "1 up to date"
    (made / "0/0/0/0").unlink()
    assert said("--zarr-version=0.4") == "1 converted"
    np.testing.assert_array_equal(level(made, 0, "0.4"), ramp())
    assert said("--overwrite") == "1 converted"
    assert sorted(path.name for path in out.iterdir()) == [".mrc2movie", "a.averaged.zarr", "a.avi", "mrc2movie.log"]


def test_a_directory_that_is_not_ours_is_left_alone_even_with_overwrite(tmp_path: Path) -> None:
    source, theirs = write_mrc(tmp_path / "a.mrc", ramp()), tmp_path / "out" / "a.averaged.zarr"
    theirs.mkdir(parents=True)
    (theirs / "data").write_bytes(b"of months")
    for more in ((), ("--overwrite",)):
        assert run(source, tmp_path / "out", "--volume=averaged", "--volume-format=zarr", *more) == 1
        assert (theirs / "data").read_bytes() == b"of months"


@pytest.mark.skipif(os.name == "nt", reason="no such permissions on Windows")
def test_a_group_that_may_write_a_directory_may_write_the_zarr_in_it(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o770)
    made = volume_of(write_mrc(tmp_path / "a.mrc", ramp()))
    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) & 0o070 for path in (made, *made.rglob("*"))}
    assert modes == {True: 0o070, False: 0o060}


def test_memory_does_not_grow_with_the_number_of_sections(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "a.mrc", np.tile(rng.integers(0, 99, (8, 64, 64), np.int16), (100, 1, 1)))
    options = ("--range=minmax", "--average=3", "--jobs=2", "--playback=forward")
    volume_of(write_mrc(tmp_path / "b.mrc", ramp()))  # what is imported stays
    with less_memory_than(8_000_000):  # of a volume of 13 MB, in which a chunk has 1 MB
        made = volume_of(source, *options)
    assert level(made, 0).shape == (800, 64, 64)


@pytest.mark.parametrize("call", thinned(["write", "fsync", "rename"], 3))
def test_a_zarr_that_cannot_be_written_fails_the_movie_and_leaves_nothing(tmp_path: Path, call: str) -> None:
    source, out = write_mrc(tmp_path / "a.mrc", ramp()), tmp_path / "out"
    words = (source, out, "--volume=averaged", "--volume-format=zarr")
    result = installed(*words, env=faulty(call, ".volume.zarr", error=errno.ENOSPC))
    assert result.returncode == 1
    assert "(No space left on device); make room" in result.stderr
    assert sorted(path.name for path in out.iterdir()) == ["mrc2movie.log"] or not list(out.glob("[a-z]*.zarr"))
    assert [path.name for path in out.iterdir() if path.name.startswith(".mrc2movie-")] == []


@pytest.mark.large
def test_a_kill_at_any_step_leaves_a_whole_zarr(tmp_path: Path) -> None:
    source, out = write_mrc(tmp_path / "a.mrc", ramp()), tmp_path / "out"
    words = (source, out, "--volume=averaged", "--volume-format=zarr")
    for step in range(0, 1000, 5):
        shutil.rmtree(out, ignore_errors=True)
        killed = installed(*words, env=faulty("step", str(out), after=step, kill=1)).returncode != 0
        if (out / "a.averaged.zarr").exists():
            np.testing.assert_array_equal(level(out / "a.averaged.zarr", 0), ramp())
        assert run(*words) == 0
        assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == [
            *("a.averaged.zarr", "a.avi", "mrc2movie.log"),
        ]
        if not killed:
            break
    assert step > 20


def test_without_zarr_it_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_mrc(tmp_path / "a.mrc", ramp())
    words = (source, tmp_path / "out", "--volume=averaged", "--volume-format=zarr")
    monkeypatch.setattr(zarr, "__version__", "2.18.7")
    assert run(*words) == 2
    assert "needs the Python package zarr 3 or later, and this is 2.18.7" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "zarr", None)
    assert run(*words) == 2
    assert "pip install 'mrc2movie[zarr]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
