"""TIFF stacks as tifffile writes them, and as nobody should."""

import gzip
import io
import itertools
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from movies import less_memory_than, ramp, refused_at_once, run, shown
from mrc_bytes import described, read, section_of, write
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.readers import open_volume

VOXELS = np.arange(3 * 37 * 53).reshape(3, 37, 53)


def tiff(voxels: NDArray[Any], **options: Any) -> bytes:
    """A file of (z, y, x) voxels by tifffile."""
    written = io.BytesIO()
    tifffile.imwrite(written, voxels, **{"photometric": "minisblack", **options})
    return written.getvalue()


def directory(tags: dict[int, tuple[str, Any]], order: str = "<", following: int = 0, at: int = 8) -> bytes:
    """A classic file with a single directory, byte by byte: a letter of `struct`, and a value or several."""
    kinds = {"H": 3, "I": 4, "B": 1, "L": 5}  # a rational by its position
    raw = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", at, len(tags))
    for tag, (letter, value) in sorted(tags.items()):
        count, number = value if isinstance(value, tuple) else (1, value)
        raw += struct.pack(order + "2HI", tag, kinds[letter], count)
        raw += struct.pack(order + ("I" if count > 1 else letter), number).ljust(4, b"\0")
    return raw + struct.pack(order + "I", following)


def page(columns: int = 4, rows: int = 3, /, **others: Any) -> dict[int, tuple[str, Any]]:
    """The tags of an 8-bit grey page in one strip, some of them changed: ``t259`` is the compression."""
    tags: dict[int, tuple[str, Any]] = {
        **{256: ("I", columns), 257: ("I", rows), 258: ("H", 8), 259: ("H", 1), 262: ("H", 1)},
        **{273: ("I", 200), 277: ("H", 1), 278: ("I", rows), 279: ("I", columns * rows)},
    }
    tags.update({int(name[1:]): value if isinstance(value, tuple) else ("I", value) for name, value in others.items()})
    return tags


def whole(tags: dict[int, tuple[str, Any]], **others: Any) -> bytes:
    """A file of such a page whose pixels, 12 of them, are at 200."""
    return directory(tags, **others).ljust(200, b"\0") + bytes(range(12))


# Pixels


ARRANGEMENTS: tuple[dict[str, Any], ...] = ({}, {"rowsperstrip": 7}, {"tile": (16, 32)})
COMPRESSIONS: tuple[dict[str, Any], ...] = (
    {},
    {"compression": "packbits"},
    *({"compression": name} for name in ("lzw", "zlib")),
    *({"compression": name, "predictor": 2} for name in ("lzw", "zlib")),
)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
def test_every_type_in_every_arrangement_is_exact(tmp_path: Path, dtype: str, order: str) -> None:
    voxels = VOXELS.astype(dtype)
    for big, (arrangement, compression) in enumerate(itertools.product(ARRANGEMENTS, COMPRESSIONS)):
        options = {**arrangement, **compression, "bigtiff": bool(big % 2), "byteorder": order}
        if dtype.startswith("f") and "predictor" in options:
            options["predictor"] = 3
        found = read(write(tmp_path / "a.tif", tiff(voxels, **options)))
        assert found.dtype == (np.float32 if dtype == "f8" else dtype), options
        assert_array_equal(found, voxels.astype(found.dtype), err_msg=str(options))


@pytest.mark.parametrize("options", [{}, {"compression": "lzw", "predictor": 2}, {"tile": (16, 16)}])
def test_a_movie_shows_row_0_at_the_top(tmp_path: Path, options: dict[str, Any]) -> None:
    voxels = ramp(3, 18, 20, "uint16")
    path = write(tmp_path / "a.tif", tiff(voxels, **options))
    frames = shown(tmp_path, path, "--range=0,1275")
    assert_array_equal(frames, np.rint(voxels / 5))


def test_the_corner_that_the_orientation_names_is_where_the_first_pixel_is(tmp_path: Path) -> None:
    voxels = ramp(2, 6, 10, "uint8")
    pictures = {1: voxels, 2: voxels[:, :, ::-1], 3: voxels[:, ::-1, ::-1], 4: voxels[:, ::-1]}
    for orientation, picture in pictures.items():
        path = write(tmp_path / "a.tif", tiff(voxels, extratags=[(274, 3, 1, orientation, False)]))
        assert_array_equal(shown(tmp_path, path, "--range=0,255"), picture)
    with pytest.raises(InputError, match=r"pages on their side \(its orientation tag\); turn them first"):
        open_volume(write(tmp_path / "b.tif", whole(page(t274=6))))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_white_may_be_zero(tmp_path: Path, dtype: str) -> None:
    voxels = ramp(2, 6, 10, dtype)
    path = write(tmp_path / "a.tif", tiff(voxels, photometric="miniswhite"))
    found = read(path).astype(int)
    assert_array_equal(found - found[0, 0, 0], -voxels.astype(int))
    assert "zero is white in the file: shown so" in described(path).notes


@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"tile": (16, 16)}, {"samples": 4}])
def test_8_bit_colours_are_shown(tmp_path: Path, options: dict[str, Any]) -> None:
    samples = options.pop("samples", 3)
    pixels = np.random.default_rng(1).integers(0, 255, (2, 12, 20, samples), np.uint8)
    options = {"photometric": "rgb", **({"extrasamples": ["unassalpha"]} if samples > 3 else {}), **options}
    path = write(tmp_path / "a.tif", tiff(pixels, **options))
    assert_array_equal(read(path), pixels[..., :3])
    assert described(path).colour


def test_strips_that_lie_apart_are_put_together(tmp_path: Path) -> None:
    for compression in (None, "zlib", "lzw"):
        packed = tiff(VOXELS.astype("u2"), rowsperstrip=10, compression=compression)
        with tifffile.TiffFile(io.BytesIO(packed)) as file:
            first = file.pages[0]
            assert isinstance(first, tifffile.TiffPage)
            positions, lengths = first.tags[273], first.dataoffsets
            assert positions.count == 4
        # The second strip goes to the end, and the first after it, with a hole of a megabyte between.
        data = bytearray(packed)
        for strip in (1, 0):
            data += bytes(2**20)
            where, size = lengths[strip], first.databytecounts[strip]
            data += packed[where : where + size]
            struct.pack_into("<I", data, positions.valueoffset + 4 * strip, len(data) - size)
            data[where : where + size] = bytes(size)
        assert_array_equal(read(write(tmp_path / "a.tif", bytes(data))), VOXELS)


# Stacks


def imagej(voxels: NDArray[Any], images: int, order: str = ">") -> bytes:
    """A stack as ImageJ writes it above 4 GB: one directory, and the images one after the other."""
    text = f"ImageJ=1.53t\nimages={images}\nslices={images}\nunit=nm\nspacing=3.0\n\0".encode()
    _, rows, columns = voxels.shape
    tags = page(columns, rows, t258=("H", 16), t270=("B", (len(text), 150)), t273=400, t279=rows * columns * 2)
    return directory(tags, order).ljust(150, b"\0") + text.ljust(250, b"\0") + voxels.astype(order + "u2").tobytes()


@pytest.mark.parametrize("order", "<>")
def test_the_images_of_imagej_follow_a_single_directory(tmp_path: Path, order: str) -> None:
    voxels = ramp(5, 7, 9)
    path = write(tmp_path / "a.tif", imagej(voxels, 5, order))
    assert_array_equal(read(path), voxels)
    os.truncate(path, path.stat().st_size - 1)
    assert_array_equal(read(path), voxels[:4])
    assert described(path).warnings == ("truncated: 4 of 5 pages are whole and shown",)
    write(path, imagej(voxels, 10**15, order))
    with less_memory_than(10**6):
        assert described(path).shape == (5, 7, 9)


def test_pages_of_another_size_and_thumbnails_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for number, section in enumerate(ramp(3, 32, 48)):
            writer.write(section, contiguous=False)
            writer.write(section[::4, ::4], subfiletype=1)
            if number == 1:
                writer.write(section[:20])
    assert_array_equal(read(path), ramp(3, 32, 48))
    assert described(path).warnings == ("1 pages of another size or type than the first one are left out",)


def test_a_single_page_is_an_image(tmp_path: Path) -> None:
    description = described(write(tmp_path / "a.tif", tiff(ramp(1, 8, 8)[0])))
    assert (description.shape, description.kind) == ((1, 8, 8), "image")


# What is told


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"imagej": True, "resolution": (2, 1), "metadata": {"unit": "nm", "spacing": 2.0}}, (5, 10, 20)),
        ({"imagej": True, "resolution": (400, 400), "metadata": {"unit": "um"}}, (25, 25, None)),
        ({"imagej": True, "resolution": (400, 400), "metadata": {"unit": "\\u00B5m"}}, (25, 25, None)),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "pixel"}}, None),
        ({"resolution": (5e7, 2.5e7), "resolutionunit": "centimeter"}, (2, 4, None)),
        ({"resolution": (300, 300), "resolutionunit": "inch"}, None),
        ({"resolution": (1, 1), "resolutionunit": "none"}, None),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.0005, "PhysicalSizeY": 0.001}}, (5, 10, None)),
        (
            {
                "ome": True,
                "metadata": {
                    f"PhysicalSize{axis}{end}": value
                    for axis, length in zip("XYZ", (1.5, 2.5, 3.5), strict=True)
                    for end, value in (("", length), ("Unit", "nm"))
                },
            },
            (15, 25, 35),
        ),
    ],
)
def test_the_pixel_size_is_that_of_the_description_or_the_resolution(
    tmp_path: Path, options: dict[str, Any], size: tuple[float, float, float | None] | None
) -> None:
    options.setdefault("metadata", {})["axes"] = "ZYX"
    found = described(write(tmp_path / "a.tif", tiff(ramp(3, 8, 8, "uint8"), **options))).voxel_size_A
    assert (found is None) == (size is None)
    if found and size:
        assert found[:2] == pytest.approx(size[:2], rel=1e-5)
        assert found[2] == size[2]


MDOC = """T = SerialEM: Krios
Voltage = 300

[{heading} = {number}]
TiltAngle = {tilt}
PixelSpacing = 1.25
ExposureDose = 6
ExposureTime = 1.5
NumSubFrames = 4
Magnification = 33000
"""


def test_frames_of_serialem_have_what_their_mdoc_says(tmp_path: Path) -> None:
    frames = np.random.default_rng(2).poisson(2, (4, 40, 60)).astype(np.uint8)
    path = write(tmp_path / "a.tif", tiff(frames, compression="lzw", description="SerialEM: frames"))
    (tmp_path / "a.tif.mdoc").write_text(MDOC.format(heading="FrameSet", number=0, tilt=33))
    assert_array_equal(read(path), frames)
    description = described(path)
    told = description.header["sections"]
    assert isinstance(told, dict)
    assert told["exposure_s"] == [0.375] * 4
    assert told["dose_e_per_A2"] == [1.5] * 4
    assert told["magnification"] == [33000] * 4
    assert description.voxel_size_A == (1.25, 1.25, 1.25)
    assert description.optics.voltage_kV == 300
    assert description.tilts is not None
    assert not description.tilts.vary
    assert description.header["dialect"] == "SerialEM"


def test_a_tilt_series_in_tiff_is_one_by_its_mdoc(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", tiff(ramp(3, 8, 8)))
    parts = (MDOC.format(heading="ZValue", number=number, tilt=10 * number) for number in range(3))
    (tmp_path / "a.tif.mdoc").write_text("".join(parts))
    assert described(path).kind == "tilt series"


def test_info_says_what_the_file_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.tif", tiff(ramp(3, 8, 8, "float32"), compression="lzw", bigtiff=True))
    assert run("--info", path) == 0
    said = capsys.readouterr().out
    assert "TIFF, BigTIFF" in said
    assert "32-bit float, LZW" in said
    assert "row 0 is the top of the picture" in said


def test_tiff_files_are_taken_from_a_directory(tmp_path: Path) -> None:
    for name in ("a.tif", "b.TIFF", "c.ome.tif"):
        write(tmp_path / name, tiff(ramp(2, 8, 8)))
    assert run(tmp_path, tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.avi")) == ["a.avi", "b.avi", "c.ome.avi"]


# What is refused


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (whole(page(t259=7)), "compressed with JPEG, which is not read; write it anew, with LZW"),
        (whole(page(t259=9999)), "compressed with method 9999"),
        (whole(page(t258=1)), "of 1-bit integers, which is not read"),
        (whole(page(t258=32, t339=6)), "of 32-bit complex numbers"),
        (whole(page(t258=("L", 200))), "its tag 258 is no whole number"),
        (whole(page(t262=3)), "with a palette of colours, which is no stack of grey images; make it grey"),
        (whole(page(t277=2)), r"of 2 samples a pixel \(photometric interpretation 1\)"),
        (whole(page(t259=5, t266=2)), "bits in reverse order"),
        (whole(page(t259=65001)), "is an EER movie: it lists electrons.*relion_convert_to_tiff"),
        (whole(page(t256=0)), "makes no sense: it says 0 columns and 3 rows; copy it again"),
        (whole(page(t259=5, t256=2**31 - 1, t257=2**31 - 1)), "which so small a file cannot hold"),
        (whole(page(t259=5, t256=2**20, t257=2**20, t278=2**20)), "which so small a file cannot hold"),
        (whole(page(t278=1, t257=2**31 - 1)), "it says 2147483647 pieces, which so small a file cannot hold"),
        (whole(page(t278=1)), "its tag 273 has 1 values for 3 pieces"),
        (whole(page(t278=1, t273=("I", (3, 2**32 - 1)))), "its tag 273 claims 12 bytes that are not there"),
        (whole(page(t259=5, t278=1, t273=("I", (2**32 - 1, 200)))), "its tag 279 has 1 values for 3 pieces"),
        (whole(page(t273=201)), "without a whole page; copy it again, or wait until it is written"),
        (whole(page(t259=8, t317=9)), "it says predictor 9"),
        (whole(page(t322=0, t323=16, t324=200, t325=12)), "it says pieces of 0 columns and 16 rows"),
        (whole(page(), at=0), "its directory is not there"),
        (whole(page(), at=10**9), "its directory is not there"),
        (whole(page())[:60], "it ends within its directory"),
        (b"II*\0", "it ends within its header"),
        (
            b"II+\0\x08\0\0\0" + struct.pack("<2Q", 16, 2**40) + bytes(50),
            "its directory claims 1099511627776 tags",
        ),
    ],
)
def test_what_is_no_stack_of_images_is_refused_in_a_line(tmp_path: Path, data: bytes, message: str) -> None:
    refused_at_once(write(tmp_path / "a.tif", data), message)


def test_a_tiff_file_inside_gzip_is_refused_in_words(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif.gz", gzip.compress(tiff(ramp())))
    with pytest.raises(InputError, match="is a TIFF file inside gzip; unpack it first"):
        open_volume(path)


def test_directories_that_run_in_a_circle_end(tmp_path: Path) -> None:
    for following in (8, 300):
        data = bytearray(whole(page(), following=following).ljust(300, b"\0"))
        data += whole(page(), following=8)[8:122]
        path = write(tmp_path / "a.tif", bytes(data))
        pages = 1 if following == 8 else 2
        assert described(path).shape == (pages, 3, 4)
        (warning,) = described(path).warnings
        assert warning == "the directories of its pages run in a circle: only the pages before are shown"


def test_a_truncated_file_shows_its_whole_pages(tmp_path: Path) -> None:
    cases: tuple[dict[str, Any], ...] = ({}, {"compression": "lzw"})
    for options in cases:
        with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
            for section in ramp(5, 32, 32):
                writer.write(section, contiguous=False, metadata=None, **options)
        packed = (tmp_path / "a.tif").read_bytes()
        with tifffile.TiffFile(io.BytesIO(packed)) as file:
            cut = file.pages[3].dataoffsets[0] + 10
        path = write(tmp_path / "a.tif", packed[:cut])
        assert_array_equal(read(path), ramp(5, 32, 32)[:3])
        assert described(path).warnings


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits"])
def test_a_damaged_strip_names_its_section(tmp_path: Path, compression: str, capfd: pytest.CaptureFixture[str]) -> None:
    voxels = np.random.default_rng(3).integers(0, 2**16, (3, 32, 32), np.uint16)
    packed = bytearray(tiff(voxels, compression=compression))
    with tifffile.TiffFile(io.BytesIO(packed)) as file:
        where = file.pages[1].dataoffsets[0]
    packed[where : where + 1000] = 500 * (b"\x80\x80" if compression == "packbits" else b"\xff\xee")
    path = write(tmp_path / "a.tif", bytes(packed))
    with open_volume(path) as volume:
        for number in (0, 2):
            assert_array_equal(section_of(volume, number), voxels[number])
        with pytest.raises(InputError, match=r"section 1 cannot be unpacked.*--discard-range 1 2"):
            section_of(volume, 1)
    assert capfd.readouterr().err == ""


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", tiff(ramp(3, 32, 32), compression="lzw"))
    with open_volume(path) as volume:
        write(path, tiff(ramp(3, 64, 64), compression="lzw"))
        with pytest.raises(InputError, match="section 0 cannot be unpacked: the file has changed"):
            section_of(volume, 0)


def test_a_thousand_pages_in_thousand_strips_take_flat_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((300, 128, 128), np.uint8), rowsperstrip=1, compression="zlib", metadata=None)
    with less_memory_than(500_000), open_volume(path) as volume:
        assert volume.description.shape[0] == 300
        assert not section_of(volume, 299).any()
