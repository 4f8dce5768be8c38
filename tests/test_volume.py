"""The volume beside a movie, as MRC and MRCZ: its voxels, where they lie, when it is made, what it never replaces."""

import errno
import io
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import mrcfile
import mrcz
import numpy as np
import pytest
from faults import closing_line, faulty, installed, voxels
from movies import LOSSLESS, Reads, frames, less_memory_than, ramp, run, thinned, write_mrc
from mrc_bytes import IMOD_STAMP, described, mrc, read
from numpy.typing import NDArray

from mrc2movie import Settings, convert
from mrc2movie.errors import OutputError

rng = np.random.default_rng(17)
FORMATS = ("mrc", "mrcz")


def noise(*shape: int) -> NDArray[np.float32]:
    return rng.normal(0, 10, shape).astype(np.float32)


def volume_of(source: Path, *options: str, kind: str = "averaged", volume_format: str = "mrc") -> Path:
    """Convert a file; gives its volume."""
    out = source.parent / "out"
    words = ("--volume", kind, "--volume-format", volume_format, *options)
    assert run(source, out, *LOSSLESS, "--overwrite", *words) == 0
    return out / f"{source.stem}.{kind}.{volume_format}"


def header_of(path: Path) -> Any:
    with mrcfile.open(path) as found:
        return found.header.copy()


def is_valid(path: Path) -> bool:
    said = io.StringIO()
    valid = mrcfile.validate(path, print_file=said)
    print(said.getvalue())
    return bool(valid)


def running_means(sections: NDArray[Any], average: int) -> NDArray[np.float64]:
    """The slow and obvious way."""
    before, after = (average - 1) // 2, average // 2
    wide = sections.astype(np.float64)
    return np.stack([wide[max(0, z - before) : z + after + 1].mean(axis=0) for z in range(len(wide))])


# Which voxels


@pytest.mark.parametrize("average", [1, 2, 5])
def test_an_averaged_volume_has_the_running_means_of_the_movie(tmp_path: Path, average: int) -> None:
    data = noise(7, 20, 30)
    made = volume_of(write_mrc(tmp_path / "a.mrc", data, voxel_size_A=(2, 3, 4)), "--average", str(average))
    found = mrcfile.read(made)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, running_means(data, average), rtol=1e-6, atol=1e-5)
    assert is_valid(made)


def test_a_binned_volume_has_means_along_all_three_axes(tmp_path: Path) -> None:
    data = ramp(11, 22, 31)
    made = volume_of(write_mrc(tmp_path / "a.mrc", data, voxel_size_A=(2, 3, 4)), "--bin", "3", kind="binned")
    expected = data[:9, :21, :30].astype(np.float64).reshape(3, 3, 7, 3, 10, 3).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(mrcfile.read(made), expected, rtol=1e-6)
    with mrcfile.open(made) as found:
        assert [float(found.voxel_size[axis]) for axis in "xyz"] == [6, 9, 12]
        assert [float(found.header.origin[axis]) for axis in "xyz"] == [2, 3, 4]
        assert found.header.ispg == 1
    assert is_valid(made)


def test_a_bin_larger_than_the_volume_leaves_one_voxel_deep(tmp_path: Path) -> None:
    data = ramp(3, 6, 10)
    made = volume_of(write_mrc(tmp_path / "a.mrc", data), "--bin", "5", kind="binned")
    np.testing.assert_allclose(read(made), data[:, :5].reshape(1, 3, 1, 5, 2, 5).mean(axis=(1, 3, 5)))


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float16", "float32"])
@pytest.mark.parametrize("volume_format", FORMATS)
def test_sections_that_nothing_changes_keep_their_type(tmp_path: Path, dtype: str, volume_format: str) -> None:
    data = (ramp(4, 6, 9) - 100).astype(dtype)
    made = volume_of(write_mrc(tmp_path / "a.mrc", data), volume_format=volume_format)
    found = read(made)
    assert found.dtype == ("float32" if (dtype, volume_format) == ("float16", "mrcz") else dtype)
    np.testing.assert_array_equal(found, data)


def test_what_is_cut_out_keeps_its_type_and_place(tmp_path: Path) -> None:
    data = ramp(4, 20, 30)
    source = write_mrc(tmp_path / "a.mrc", data, voxel_size_A=2, origin=(100, 200, 300))
    made = volume_of(source, "--crop", "3", "5", "12", "10")  # counted from the upper left
    found = read(made)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, data[:, 5:15, 3:15])
    assert described(made).origin_A == (106, 210, 300)


@pytest.mark.parametrize("volume_format", FORMATS)
def test_unsigned_bytes_become_what_holds_them(tmp_path: Path, volume_format: str) -> None:
    data = ramp(4, 6, 9).astype(np.uint8)
    (tmp_path / "a.mrc").write_bytes(mrc(data, 0, stats=(0.0, 215.0, 107.0)))
    found = read(volume_of(tmp_path / "a.mrc", volume_format=volume_format))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, data)


def test_values_are_not_those_of_the_picture(tmp_path: Path) -> None:
    data = noise(5, 20, 30)
    options = ("--invert", "--match-mean", "--range=-1,1", "--clip-limit=4", "--label=section", "--min-size=99")
    made = volume_of(write_mrc(tmp_path / "a.mrc", data), *options)
    np.testing.assert_array_equal(mrcfile.read(made), data)


@pytest.mark.parametrize("playback", ["forward", "backward", "forward-backward"])
@pytest.mark.parametrize("volume_format", FORMATS)
@pytest.mark.parametrize("kind", ["averaged", "binned"])
def test_sections_are_written_once_in_the_order_of_the_file_whatever_the_playback(
    tmp_path: Path, playback: str, volume_format: str, kind: str
) -> None:
    data = ramp(9, 6, 10)
    source = write_mrc(tmp_path / "a.mrc", data, voxel_size_A=2, origin=(10, 20, 30))
    options = ("--playback", playback, "--every", "2", "--bin", "2")
    made = volume_of(source, *options, kind=kind, volume_format=volume_format)
    means = data[::2].astype(np.float64).reshape(5, 3, 2, 5, 2).mean(axis=(2, 4))
    expected = means if kind == "averaged" else means[:4].reshape(2, 2, 3, 5).mean(axis=1)
    np.testing.assert_allclose(read(made), expected)
    found = described(made)
    deep = 1 if kind == "averaged" else 2
    assert found.voxel_size_A == (4, 4, 4 * deep)
    assert found.origin_A == (11, 21, 30 + 2 * (deep - 1))


def test_the_file_is_read_no_more_often_than_without_a_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_mrc(tmp_path / "a.mrc", ramp(12, 6, 10))
    reads = Reads(monkeypatch)
    assert run(source, tmp_path / "out", "--volume", "averaged") == 0
    assert reads.of_sections(12, 120) == [3, *[2] * 10, 3]  # both ends of the volume were read to verify it


@pytest.mark.parametrize(
    "options",
    [
        ("--average=3",),
        ("--bin=2", "--average=2"),
        ("--axis=y",),
        ("--axis=x", "--every=2"),
        ("--flip=no",),
        ("--flip=no", "--axis=y", "--average=3"),
        ("--discard-range", "0", "3"),
        ("--smooth=1", "--max-size=20"),
        ("--crop", "3", "5", "20", "10", "--bin=2"),
        ("--playback=backward", "--discard-percentage", "0.2", "0.1"),
    ],
)
@pytest.mark.parametrize("volume_format", thinned(FORMATS, 2))
def test_the_movie_of_the_volume_is_the_movie(tmp_path: Path, options: tuple[str, ...], volume_format: str) -> None:
    data = (ramp(10, 24, 30) * 0.1).astype(np.float32)
    source = write_mrc(tmp_path / "a.mrc", data, voxel_size_A=(2, 3, 4))
    made = volume_of(source, *options, "--range=0,700", volume_format=volume_format)
    shown = frames(tmp_path / "out/a.avi")
    playback = [word for word in options if word.startswith("--playback")]
    again = tmp_path / "again"
    assert run(made, again, *LOSSLESS, "--range=0,700", *playback) == 0
    found = frames(again / "a.averaged.avi")
    assert len(found) == len(shown)
    for one, other in zip(found, shown, strict=True):
        np.testing.assert_array_equal(one, other)


# Where they lie


@pytest.mark.parametrize(
    ("axis", "axes", "shape"), [("z", (1, 2, 3), (5, 6, 9)), ("y", (1, 3, 2), (6, 5, 9)), ("x", (2, 3, 1), (9, 5, 6))]
)
@pytest.mark.parametrize("volume_format", FORMATS)
def test_planes_along_another_axis_keep_their_directions(
    tmp_path: Path, axis: str, axes: tuple[int, ...], shape: tuple[int, ...], volume_format: str
) -> None:
    data = ramp(5, 6, 9)
    source = write_mrc(tmp_path / "a.mrc", data, voxel_size_A=(2, 3, 4), origin=(10, 20, 30))
    made = volume_of(source, "--axis", axis, volume_format=volume_format)
    found = described(made)
    assert found.shape == shape
    assert found.header["axes"] == list(axes)
    by_direction = {
        name: (size, origin)
        for name, size, origin in zip(found.axes, found.voxel_size_A or (), found.origin_A, strict=True)
    }
    assert by_direction == {"x": (2, 10), "y": (3, 20), "z": (4, 30)}
    in_space = read(made).transpose([axes[::-1].index(direction) for direction in (3, 2, 1)])
    np.testing.assert_array_equal(in_space, data)
    if volume_format == "mrc":
        header = header_of(made)
        assert [header[f"m{name}"] for name in "xyz"] == [9, 6, 5]
        assert [header.cella[name] for name in "xyz"] == [18, 18, 20]
        assert is_valid(made)


def test_rows_of_which_the_first_is_the_top_are_turned(tmp_path: Path) -> None:
    data = ramp(4, 6, 10)
    source = write_mrc(tmp_path / "a.mrc", data)
    np.testing.assert_array_equal(mrcfile.read(volume_of(source, "--flip=no")), data[:, ::-1])
    np.testing.assert_array_equal(mrcfile.read(volume_of(source, "--flip=yes")), data)


@pytest.mark.parametrize(
    ("options", "step", "first"),
    [
        (("--discard-range", "0", "4"), 1, 4),
        (("--every=3",), 3, 0),
        (("--average=4",), 1, 0.5),  # one more follows than goes before
        (("--average=4", "--every=2"), 2, 0.5),
        (("--discard-percentage", "0.25", "0", "--average=3"), 1, 3),
    ],
)
def test_depth_counts_in_sections_of_the_file(
    tmp_path: Path, options: tuple[str, ...], step: float, first: float
) -> None:
    source = write_mrc(tmp_path / "a.mrc", ramp(12, 6, 10), voxel_size_A=10, origin=(0, 0, 1000))
    found = described(volume_of(source, *options))
    assert found.voxel_size_A == (10, 10, 10 * step)
    assert found.origin_A == (0, 0, 1000 + 10 * first)


def test_a_gap_in_the_middle_is_warned_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_mrc(tmp_path / "a.mrc", ramp(12, 6, 10), voxel_size_A=10)
    assert described(volume_of(source, "--discard-range", "3", "6")).voxel_size_A == (10, 10, 10)
    assert "the volume closes up where sections in its middle are left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "origin"),
    [
        ({"origin": (10, 20, 30)}, (10, 20, 30)),
        ({"nxstart": 5, "nystart": -6, "nzstart": 7}, (10, -18, 28)),
        ({"origin": (10, 20, 30), "nxstart": 5}, (10, 20, 30)),
        ({"origin": (np.nan, 20, 30)}, (0, 0, 0)),
        ({"origin": (1e30, 20, 30)}, (0, 0, 0)),
    ],
)
def test_the_origin_is_that_of_the_source(
    tmp_path: Path, fields: dict[str, Any], origin: tuple[float, float, float]
) -> None:
    source = write_mrc(tmp_path / "a.mrc", ramp(4, 6, 10), voxel_size_A=(2, 3, 4), **fields)
    assert described(volume_of(source)).origin_A == origin


@pytest.mark.parametrize(("flags", "nversion", "sign"), [(0, 0, -1), (4, 0, 1), (0, 20141, 1)])
def test_the_origin_of_a_file_of_imod_has_the_sign_that_it_has_there(
    tmp_path: Path, flags: int, nversion: int, sign: int
) -> None:
    raw = bytearray(mrc(ramp(4, 6, 10), 1, imod_stamp=IMOD_STAMP, imod_flags=flags, nversion=nversion))
    raw[196:208] = np.array([10, 20, 30], "<f4").tobytes()
    (tmp_path / "a.mrc").write_bytes(raw)
    assert described(volume_of(tmp_path / "a.mrc")).origin_A == (10 * sign, 20 * sign, 30 * sign)


def test_a_voxel_size_that_is_not_known_is_not_invented(tmp_path: Path) -> None:
    made = volume_of(write_mrc(tmp_path / "a.mrc", ramp()))
    assert described(made).voxel_size_A is None
    assert is_valid(made)
    made = volume_of(tmp_path / "a.mrc", "--pixel-size=7")
    assert described(made).voxel_size_A == (7, 7, 7)


def test_a_tilt_series_is_a_stack_of_images_in_the_order_of_its_tilts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ramp(4, 6, 10)
    source = write_mrc(tmp_path / "a.st", data, voxel_size_A=2)
    (tmp_path / "a.rawtlt").write_text("0\n3\n-3\n6\n")
    made = volume_of(source)
    np.testing.assert_array_equal(mrcfile.read(made), data[[2, 0, 1, 3]])
    header = header_of(made)
    assert (header.ispg, header.mz, header.origin.z) == (0, 1, 0)
    assert described(made).voxel_size_A == (2, 2, 2)
    assert is_valid(made)
    assert "mixes" not in capsys.readouterr().err
    volume_of(source, "--bin=2", kind="binned")
    assert "the volume mixes sections of a tilt series" in capsys.readouterr().err


def test_the_labels_say_what_was_done(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "Å b.mrc", noise(12, 40, 60), voxel_size_A=5)
    options = ("--average=5", "--bin=2", "--deconv", "--discard-range", "0", "2", "--flip=no")
    with mrcfile.open(volume_of(source, *options)) as found:
        said = " ".join(found.get_labels())
    assert "running means of 5 sections of ? b.mrc" in said
    assert "10 of 12 sections, 2 to 11" in said
    assert "mean of 2 x 2 x 1" in said
    assert "deconvolved at 4 um defocus" in said
    assert "rows in reverse order" in said


def test_statistics_are_those_of_the_finite_voxels(tmp_path: Path) -> None:
    data = (noise(5, 20, 30) + 1000).astype(np.float32)
    data[2, 3, 4], data[4] = np.inf, np.nan
    made = volume_of(write_mrc(tmp_path / "a.mrc", data))
    header, finite = header_of(made), data[np.isfinite(data)].astype(np.float64)
    assert (header.dmin, header.dmax) == (finite.min(), finite.max())
    np.testing.assert_allclose([header.dmean, header.rms], [finite.mean(), finite.std()], rtol=1e-6)
    np.testing.assert_array_equal(read(made), data)


def test_without_a_finite_voxel_statistics_are_marked_as_not_known(tmp_path: Path) -> None:
    made = volume_of(write_mrc(tmp_path / "a.mrc", np.full((3, 4, 5), np.nan, np.float32)))
    header = header_of(made)
    assert (header.dmin, header.dmax, header.dmean, header.rms) == (0, -1, -2, -1)


# MRCZ


@pytest.mark.parametrize("playback", ["forward", "backward"])
def test_an_mrcz_volume_is_read_by_the_mrcz_package(tmp_path: Path, playback: str) -> None:
    data = (noise(6, 50, 70) * 20).astype(np.int16)
    source = write_mrc(tmp_path / "a.mrc", data, voxel_size_A=(2, 3, 4))
    made = volume_of(source, "--playback", playback, volume_format="mrcz")
    found, header = mrcz.readMRC(str(made))
    np.testing.assert_array_equal(found, data)
    assert header["compressor"] == "zstd"
    np.testing.assert_allclose(header["pixelsize"], [4, 3, 2])
    assert header["packedBytes"] == made.stat().st_size - 1024


def test_without_blosc2_an_mrcz_volume_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "blosc2", None)
    source = write_mrc(tmp_path / "a.mrc", ramp())
    assert run(source, tmp_path / "out", "--volume=averaged", "--volume-format=mrcz") == 2
    said = capsys.readouterr().err
    assert "--volume-format mrcz needs the Python package blosc2" in said
    assert "pip install 'mrc2movie[mrcz]'" in said
    assert not (tmp_path / "out").exists()


# When it is made, and what it never replaces


def closing(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    capsys.readouterr()
    assert run(*words) == 0
    return capsys.readouterr().err.splitlines()[-1]


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name not in ("mrc2movie.log", ".mrc2movie"))


def test_a_volume_that_is_missing_changed_or_of_another_kind_is_made_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = write_mrc(tmp_path / "a.mrc", ramp()), tmp_path / "out"
    averaged, binned = ("--volume", "averaged"), ("--volume", "binned")
    assert closing(capsys, source, out) == "1 converted"
    assert closing(capsys, source, out, *averaged) == "1 converted"
    assert closing(capsys, source, out, *averaged) == "1 up to date"
    assert closing(capsys, source, out) == "1 up to date"
    assert closing(capsys, source, out, *binned) == "1 converted"
    assert closing(capsys, source, out, *averaged) == "1 up to date"  # both are known
    assert closing(capsys, source, out, *averaged, "--volume-format=mrcz") == "1 converted"
    assert names(out) == ["a.averaged.mrc", "a.averaged.mrcz", "a.avi", "a.binned.mrc"]
    assert closing(capsys, source, out, *averaged, "--average=3") == "1 converted"
    assert closing(capsys, source, out, *binned, "--average=3") == "1 converted"  # it shows what the movie did before
    (out / "a.averaged.mrc").unlink()
    assert "no volume like this yet" in dry(capsys, source, out, *averaged, "--average=3")
    assert closing(capsys, source, out, *averaged, "--average=3") == "1 converted"
    (out / "a.averaged.mrc").write_bytes(b"other")
    assert closing(capsys, source, out, *averaged, "--average=3") == "1 converted"
    assert read(out / "a.averaged.mrc").shape == ramp().shape


def dry(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    capsys.readouterr()
    assert run(*words, "--dry-run") == 0
    return capsys.readouterr().err


def test_a_volume_that_is_not_ours_is_left_alone_even_with_overwrite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = write_mrc(tmp_path / "a.mrc", ramp()), tmp_path / "out"
    out.mkdir()
    theirs = out / "a.averaged.mrc"
    theirs.write_bytes(b"data of months")
    for more in ((), ("--overwrite",), ("--overwrite", "--dry-run")):
        assert run(source, out, "--volume=averaged", *more) == 1
        assert "a.averaged.mrc is there without a record and so not ours" in capsys.readouterr().err
    with pytest.raises(OutputError, match="not ours"):
        convert(source, out / "a.avi", Settings(volume="averaged"))
    assert theirs.read_bytes() == b"data of months"
    assert names(out) == ["a.averaged.mrc"]


def test_a_volume_never_replaces_its_own_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_mrc(tmp_path / "a.mrc", ramp())
    assert run(source, tmp_path, "--volume=averaged") == 0
    made = tmp_path / "a.averaged.mrc"  # whose record says that it is ours
    before = made.read_bytes()
    assert run(made, tmp_path / "a.avi", "--volume=averaged", "--average=3", "--overwrite") == 1
    assert "a.averaged.mrc is the input itself" in capsys.readouterr().err
    with pytest.raises(OutputError, match="is the input itself"):
        convert(made, tmp_path / "a.avi", Settings(volume="averaged", average=3))
    assert made.read_bytes() == before


def test_volumes_are_no_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mrc(tmp_path / "a.mrc", ramp())
    words = (tmp_path, tmp_path, "--volume=averaged")
    assert closing(capsys, *words) == "1 converted"
    assert closing(capsys, *words, "--format=mp4") == "1 converted"
    assert closing(capsys, *words) == "1 up to date"


def test_colour_has_no_volume_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mrc").write_bytes(mrc(np.zeros((2, 20, 30), np.int8), 0)[:1024] + bytes(2 * 20 * 30 * 3))
    raw = bytearray((tmp_path / "a.mrc").read_bytes())
    raw[12] = 16
    (tmp_path / "a.mrc").write_bytes(raw)
    for more in ((), ("--dry-run",)):
        assert run(tmp_path / "a.mrc", tmp_path / "out", "--volume=averaged", *more) == 1
        assert "is in colour, which no volume holds; leave --volume out for it" in capsys.readouterr().err
    assert run(tmp_path / "a.mrc", tmp_path / "out") == 0


@pytest.mark.parametrize("call", thinned(["fsync", "write", "rename"], 3))
@pytest.mark.parametrize("volume_format", ["mrc", pytest.param("mrcz", marks=pytest.mark.large)])
def test_a_volume_that_cannot_be_written_fails_the_movie_and_the_next_run_makes_both(
    tmp_path: Path, call: str, volume_format: str
) -> None:
    source, out = write_mrc(tmp_path / "a.mrc", ramp()), tmp_path / "out"
    words = (source, out, "--volume=averaged", "--volume-format", volume_format)
    result = installed(*words, env=faulty(call, f".volume.{volume_format}", error=errno.ENOSPC))
    assert result.returncode == 1
    assert "(No space left on device); make room" in result.stderr
    assert names(out) == []
    assert closing_line(installed(*words)) == "1 converted"
    assert names(out) == [f"a.averaged.{volume_format}", "a.avi"]


def test_a_disk_that_loses_what_was_written_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mrc2movie.store.spool import PositionedFile

    write = PositionedFile.write

    def losing(file: PositionedFile, offset: int, data: memoryview) -> None:
        write(file, offset, data if offset != 1024 else memoryview(bytes(len(data))))

    monkeypatch.setattr(PositionedFile, "write", losing)
    source = write_mrc(tmp_path / "a.mrc", ramp() + 1)
    assert run(source, tmp_path / "out", "--volume=averaged") == 1
    assert "the volume was not written well: section 0 does not come back as it was written" in capsys.readouterr().err
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("stride", [31, pytest.param(1, marks=pytest.mark.large)])
def test_a_kill_at_any_step_leaves_a_whole_volume_and_the_next_run_makes_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stride: int
) -> None:
    source, out = write_mrc(tmp_path / "a.mrc", ramp()), tmp_path / "out"
    words = (source, out, "--volume=averaged")
    for step in range(0, 1000, stride):
        shutil.rmtree(out, ignore_errors=True)
        killed = installed(*words, env=faulty("step", str(out), after=step, kill=1)).returncode != 0
        for made in out.glob("[a-z]*.mrc"):
            np.testing.assert_array_equal(read(made), ramp())
        assert closing(capsys, *words) in ("1 converted", "1 up to date")
        assert names(out) == ["a.averaged.mrc", "a.avi"]
        if not killed:
            break
    assert step > 5


@pytest.mark.parametrize("volume_format", FORMATS)
def test_the_number_of_threads_changes_no_byte(tmp_path: Path, volume_format: str) -> None:
    source = write_mrc(tmp_path / "a.mrc", noise(9, 40, 60))
    options = ("--average=3", "--bin=2")
    made = [
        volume_of(source, *options, f"--jobs={jobs}", kind="binned", volume_format=volume_format).read_bytes()
        for jobs in (1, 4)
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("volume_format", FORMATS)
def test_memory_does_not_grow_with_the_number_of_sections(tmp_path: Path, volume_format: str) -> None:
    source = write_mrc(tmp_path / "a.mrc", np.tile(voxels(4, 128, 128), (100, 1, 1)))
    options = ("--range=minmax", "--average=3", "--jobs=2", "--playback=forward")
    with less_memory_than(10_000_000):
        made = volume_of(source, *options, volume_format=volume_format)
    assert described(made).shape == (400, 128, 128)  # 26 MB


def test_an_array_has_a_volume_too(tmp_path: Path) -> None:
    data = noise(5, 20, 30)
    made = convert(data, tmp_path / "a.mp4", Settings(volume="averaged"), voxel_size_A=(2, 3, 4))
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "a.averaged.mrc"), data)
    assert [each.file.name for each in made.record.pictures] == ["a.averaged.mrc"]
    assert json.loads((tmp_path / ".mrc2movie/a.mp4.json").read_text())["pictures"][0]["value"] == "averaged, mrc"


def test_volumes_of_many_files_side_by_side_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(8):
        write_mrc(tmp_path / "in" / f"{number}.mrc", np.full((9, 30, 40), number, np.int16) + ramp(9, 30, 40))
    with warnings.catch_warnings():
        assert run(tmp_path / "in", tmp_path / "out", "--volume=averaged", "--jobs=3") == 0
    for number in range(8):
        np.testing.assert_array_equal(read(tmp_path / "out" / f"{number}.averaged.mrc"), ramp(9, 30, 40) + number)


@pytest.mark.parametrize("flip", ["no", "yes"])
def test_the_volume_of_a_crop_lies_where_the_crop_does(tmp_path: Path, flip: str) -> None:
    source = write_mrc(tmp_path / "a.mrc", ramp(), voxel_size_A=10)
    with mrcfile.open(volume_of(source, f"--flip={flip}", "--crop", "2", "1", "3", "2")) as made:
        whole = ramp() if flip == "yes" else ramp()[:, ::-1]
        np.testing.assert_array_equal(made.data, whole[:, 1:3, 2:5])
        assert (float(made.header.origin.x), float(made.header.origin.y)) == (20, 10)
