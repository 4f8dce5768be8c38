"""Every mode: sign, packing, transforms, colour."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from movies import ramp
from mrc_bytes import IMOD_STAMP, header, mrc, read, stored, write
from numpy.typing import NDArray

from mrc2movie.readers import open_volume
from mrc2movie.readers.voxels import Sign

Movie = Callable[..., NDArray[np.uint8]]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("mode", "start", "step", "dtype"),
    [
        (1, -32768, 2259, "int16"),
        (2, -1_000_000, 70_000, "float32"),
        (6, 0, 2259, "uint16"),
        (7, -(2**31), 148_102_320, "int32"),
        (8, 0, 148_102_320, "uint32"),
        (12, -60000, 4128, "float16"),
        (17, -128, 8, "int8"),
    ],
)
def test_a_mode_gives_native_voxels(tmp_path: Path, order: str, mode: int, start: int, step: int, dtype: str) -> None:
    voxels = start + step * ramp(2, 3, 5, "int64")
    found = read(write(tmp_path / "a.mrc", mrc(voxels, mode, order)))
    assert found.dtype == np.dtype(dtype)
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, voxels.astype(dtype))


STAMP = {"imod_stamp": IMOD_STAMP}
SIGNED, UNSIGNED = "int8", "uint8"


@pytest.mark.parametrize(
    ("fields", "dtype", "reason"),
    [
        ({**STAMP, "imod_flags": 1}, SIGNED, "IMOD's flag"),
        ({**STAMP, "imod_flags": 0, "stats": (-5, 5, 0)}, UNSIGNED, "IMOD's flag"),
        ({"imod_flags": 1, "nversion": 0}, UNSIGNED, "version 0"),
        ({"stats": (-1, 127, 0), "nversion": 0}, SIGNED, "minimum below 0"),
        ({"stats": (0, 128, 0)}, UNSIGNED, "maximum above 127"),
        ({"stats": (-10, 137, 0)}, SIGNED, "minimum and maximum"),
        ({"stats": (-10, 138, 0)}, UNSIGNED, "minimum and maximum"),
        ({"stats": (0, 127, 3), "nversion": 20140}, SIGNED, "version 20140"),
        ({"stats": (0, 127, 3), "nversion": 20139}, UNSIGNED, "version 20139"),
        ({"stats": (0, 0, 0), "nversion": 0}, UNSIGNED, "version 0"),
        ({"stats": (5, -5, -10), "nversion": 0}, UNSIGNED, "version 0"),
        ({"stats": (-1, -2, -3), "nversion": 0}, UNSIGNED, "version 0"),
        ({"stats": (-1e38, 1e38, 0), "nversion": 20141}, SIGNED, "version 20141"),
        ({"stats": (float("nan"),) * 3, "nversion": 20141}, SIGNED, "version 20141"),
    ],
)
def test_mode_0_has_the_sign_that_imod_gives_it(
    tmp_path: Path, fields: dict[str, object], dtype: str, reason: str
) -> None:
    path = write(tmp_path / "a.mrc", header(4, 1, 1, 0, **fields) + bytes([0, 127, 128, 255]))
    expected = [0, 127, -128, -1] if dtype == SIGNED else [0, 127, 128, 255]
    assert read(path).ravel().tolist() == expected
    with open_volume(path) as volume:
        mode = str(volume.description.header["mode"])
    assert mode.startswith(f"0 (8-bit integer, {'signed' if dtype == SIGNED else 'unsigned'} by ")
    assert reason in mode


@pytest.mark.parametrize("flags", [0, 1])
def test_mode0_overrides_the_sign(tmp_path: Path, movie: Movie, flags: int) -> None:
    data = header(4, 1, 1, 0, **STAMP, imod_flags=flags) + bytes([0, 127, 128, 255])
    path = write(tmp_path / "a.mrc", data)
    assert movie(path, "--mode0=signed")[0, 0, :, 0].tolist() == [128, 255, 0, 127]
    assert movie(path, "--mode0=unsigned")[0, 0, :, 0].tolist() == [0, 127, 128, 255]
    signs: tuple[Sign, ...] = ("signed", "unsigned")
    for sign in signs:
        with open_volume(path, sign) as volume:
            assert f"{sign} by --mode0" in str(volume.description.header["mode"])


@pytest.mark.parametrize(
    ("stats", "dtype"),
    [
        ((0, 40000, 9), "uint16"),
        ((0, 65535, 9), "uint16"),
        ((0, 32767, 9), "int16"),
        ((-1, 40000, 9), "int16"),
        ((0, 1e38, 9), "int16"),
    ],
)
def test_mode_1_with_a_maximum_above_32767_is_unsigned(
    tmp_path: Path, stats: tuple[float, float, float], dtype: str
) -> None:
    path = write(tmp_path / "a.mrc", header(3, 1, 1, 1, stats=stats) + np.array([1, 40000, 65535], "<u2").tobytes())
    assert read(path).ravel().tolist() == np.array([1, 40000, 65535], "u2").view(dtype).tolist()
    with open_volume(path) as volume:
        noted = any("read as unsigned" in note for note in volume.description.notes)
    assert noted == (dtype == "uint16")


NIBBLES = np.array([[[0, 15, 3, 12, 7], [1, 2, 4, 8, 9]], [[5, 6, 10, 11, 13], [14, 0, 1, 15, 2]]])


def packed(voxels: NDArray[np.int64]) -> bytes:
    """Two voxels a byte, the left one in the low nibble, every row beginning with a byte of its own."""
    even = np.pad(voxels, ((0, 0), (0, 0), (0, voxels.shape[2] % 2)), constant_values=9)
    return (even[..., 0::2] | even[..., 1::2] << 4).astype(np.uint8).tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("columns", [5, 4, 1])
def test_mode_101_has_the_left_voxel_in_the_low_nibble_in_both_byte_orders(
    tmp_path: Path, movie: Movie, order: str, columns: int
) -> None:
    voxels = NIBBLES[..., :columns]
    path = write(tmp_path / "a.mrc", header(columns, 2, 2, 101, order) + packed(voxels))
    np.testing.assert_array_equal(read(path), voxels)
    frames = movie(path, "--range=0,15")[:, :, :columns, 0]  # an odd column is padded
    assert frames.tolist() == (voxels[:, ::-1] * 17).tolist()


def test_mode_0_with_imods_4_bit_flag_has_twice_the_columns(tmp_path: Path) -> None:
    voxels = NIBBLES[..., :4]
    path = write(tmp_path / "a.mrc", header(2, 2, 2, 0, **STAMP, imod_flags=16) + packed(voxels))
    np.testing.assert_array_equal(read(path), voxels)
    with open_volume(path) as volume:
        assert volume.description.shape == (2, 2, 4)
        assert "4-bit, two a byte, by IMOD's flag" in str(volume.description.header["mode"])
        assert volume.description.voxel_size_A == (2, 3, 4)  # cell and sampling both count pairs


def test_the_4_bit_flag_counts_only_with_imods_stamp(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", header(2, 2, 2, 0, imod_flags=16) + bytes(range(8)))
    assert read(path).ravel().tolist() == list(range(8))


LABEL = b"SerialEMCCD: Dose frac. image, 4 bits packed  r/f 0"


@pytest.mark.parametrize(
    ("columns", "rows", "fields", "twice"),
    [
        (3710, 7676, {"label": LABEL, "nlabl": 1}, True),
        (3838, 7420, {"label": LABEL, "nlabl": 1}, True),
        (5760, 8184, {"label": LABEL, "nlabl": 1}, True),
        (4092, 11520, {"label": LABEL, "nlabl": 1}, True),
        (5759, 8183, {"label": LABEL, "nlabl": 1}, True),
        (5750, 8184, {"label": LABEL, "nlabl": 1}, False),
        (5760, 8184, {"label": LABEL, "nlabl": 2}, False),
        (5760, 8184, {"label": b"another", "nlabl": 1}, False),
    ],
)
def test_serial_em_frames_of_a_k2_or_k3_are_4_bit_by_label_and_size(
    tmp_path: Path, columns: int, rows: int, fields: dict[str, object], twice: bool
) -> None:
    path = write(tmp_path / "a.mrc", header(columns, rows, 1, 0, **fields))
    with path.open("r+b") as file:
        file.truncate(1024 + columns * rows)
    with open_volume(path) as volume:
        assert volume.description.shape == (1, rows, columns * (2 if twice else 1))


def transform(image: NDArray[np.float64], half: bool, origin_in_middle: bool) -> NDArray[np.complex128]:
    waves = np.fft.rfft2(image) if half else np.fft.fft2(image)
    if origin_in_middle:
        waves = np.fft.fftshift(waves, axes=0 if half else (0, 1))
    return waves


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mode", [3, 4])
@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("origin_in_middle", [True, False])
@pytest.mark.parametrize("shape", [(8, 8), (9, 7), (8, 14), (12, 5)])
def test_a_transform_is_its_log_amplitude_with_the_origin_in_the_middle(
    tmp_path: Path, order: str, mode: int, half: bool, origin_in_middle: bool, shape: tuple[int, int]
) -> None:
    image = np.random.default_rng(3).uniform(50, 90, shape)
    waves = transform(image, half, origin_in_middle)
    parts = np.stack([waves.real, waves.imag], -1)
    number = np.dtype(order + ("f4" if mode == 4 else "i2"))
    parts = parts if mode == 4 else np.rint(parts)
    ny, nx = waves.shape
    path = write(tmp_path / "a.mrc", header(nx, ny, 1, mode, order) + parts.astype(number).tobytes())
    shown = read(path)
    assert shown.dtype == np.float32
    centred = transform(image, half, origin_in_middle=True)
    np.testing.assert_allclose(shown[0], np.log1p(np.abs(centred)), atol=1e-4 if mode == 4 else 0.6)
    brightest = np.unravel_index(shown[0].argmax(), shown[0].shape)
    assert brightest == (ny // 2, 0 if half else nx // 2)
    with open_volume(path) as volume:
        assert volume.description.kind == "transform"
        assert "a transform: shown as log(1 + amplitude), centred" in volume.description.notes


def test_a_half_transform_of_which_the_width_tells_needs_no_more(tmp_path: Path) -> None:
    waves = np.fft.rfft2(np.full((8, 8), 60.0))  # only the origin is not 0, so that every row is symmetric
    path = write(tmp_path / "a.mrc", header(5, 8, 1, 4) + waves.astype("<c8").tobytes())
    assert np.argwhere(read(path)[0]).tolist() == [[4, 0]]


def test_mode_16_makes_frames_in_colour(tmp_path: Path, movie: Movie) -> None:
    red, green, blue, black, white = [250, 0, 0], [0, 250, 0], [0, 0, 250], [0, 0, 0], [250, 250, 250]
    pixels = np.array([[[red, green], [blue, black]], [[white, blue], [red, green]]], np.uint8)
    path = write(tmp_path / "a.mrc", header(2, 2, 2, 16) + pixels.tobytes())
    np.testing.assert_array_equal(read(path), pixels)
    frames = movie(path, "--flip=no", "--range=0,250")
    stretched = np.rint(pixels * (255 / 250)).astype(int)
    np.testing.assert_allclose(frames[..., ::-1], stretched, atol=4)  # FFV1 keeps colour as YUV here
    np.testing.assert_allclose(movie(path, "--range=0,250")[..., ::-1], stretched[:, ::-1], atol=4)


def test_colour_keeps_its_hue_through_jpeg_and_local_contrast(tmp_path: Path, movie: Movie) -> None:
    rows, columns = np.mgrid[:64, :96]
    pixels = np.stack([rows * 3, columns, np.full_like(rows, 30)], -1)[None].astype(np.uint8)
    path = write(tmp_path / "a.mrc", header(96, 64, 1, 16) + pixels.tobytes())
    frame = movie(path, "--flip=no", "--codec=MJPG", "--quality=100", "--range=0,190", "--clip-limit=1")[0]
    blue, green, red = (frame[..., channel].astype(int) for channel in range(3))
    assert (red[60, 5] - green[60, 5], red[60, 5] - blue[60, 5]) > (100, 100)
    assert green[5, 90] - red[5, 90] > 50
    assert green[5, 90] > blue[5, 90]


def test_colour_uses_one_grey_range_for_all_channels(tmp_path: Path, movie: Movie) -> None:
    pixels = np.full((1, 2, 2, 3), 100, np.uint8)
    pixels[0, 0, 0, 0], pixels[0, 1, 1, 2] = 50, 150
    frame = movie(write(tmp_path / "a.mrc", header(2, 2, 1, 16) + pixels.tobytes()), "--flip=no")[0]
    grey = frame[0, 1].astype(int)
    assert np.abs(grey - 128).max() <= 2


def test_an_odd_size_in_colour_is_padded_where_the_codec_needs_it(tmp_path: Path, movie: Movie) -> None:
    pixels = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(1, 3, 5, 3) * 5
    assert movie(write(tmp_path / "a.mrc", header(5, 3, 1, 16) + pixels.tobytes()), "--codec=XVID").shape == (
        1,
        4,
        6,
        3,
    )


def test_float16_is_measured_without_overflow(tmp_path: Path, movie: Movie) -> None:
    voxels = np.full((4, 64, 64), 60000.0)
    voxels[0, 0, 0], voxels[3, 0, 0] = -60000, 0
    frames = movie(
        write(tmp_path / "a.mrc", header(64, 64, 4, 12) + stored(voxels, 12)), "--range=sigma:2", "--flip=no"
    )
    assert frames[0, 0, 0, 0] == 0
    assert frames[1].min() == frames[1].max()
