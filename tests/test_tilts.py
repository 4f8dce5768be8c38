"""Tilt angles and what else extended headers and sidecars tell, and the order that follows from them."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mrc_bytes import described, mrc, read, write
from mrcfile.dtypes import get_ext_header_dtype
from numpy.typing import NDArray

from mrc2movie.readers.volume import Description

Movie = Callable[..., NDArray[np.uint8]]

DOSE_SYMMETRIC = (0.0, 3.0, -3.0, -6.0, 6.0)
LEVELS = np.arange(5)[:, None, None] * 10 + np.zeros((1, 2, 2), int)


def told(description: Description) -> dict[str, Any]:
    sections = description.header["sections"]
    assert isinstance(sections, dict)
    return sections


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("exttyp", [b"SERI", b"\0\0\0\0", b"MRCO"])
def test_serial_em_records_tell_tilt_stage_magnification_and_dose(tmp_path: Path, order: str, exttyp: bytes) -> None:
    sizes = 2 + 6 + 4 + 2 + 2 + 4
    records = b"".join(
        struct.pack(order + "10h", *(round(tilt * 100), 1, 2, 3, 25 * number, -50, 420, 2500, 200, -(1 * 256 + 128)))
        for number, tilt in enumerate(DOSE_SYMMETRIC)
    )
    data = mrc(LEVELS, 1, order, extended=records + b"\x01" * 50, exttyp=exttyp, nint=sizes, nreal=63)
    description = described(write(tmp_path / "a.mrc", data))
    assert description.tilts is not None
    assert description.tilts.degrees == DOSE_SYMMETRIC
    assert description.kind == "tilt series"
    found = told(description)
    assert found["from"] == "SERI extended header"
    assert found["stage_x_um"] == [0, 1, 2, 3, 4]
    assert found["stage_y_um"] == [-2] * 5
    assert found["magnification"] == [42000] * 5
    assert found["dose_e_per_A2"] == [(200 * 256 + 128) / 2] * 5
    np.testing.assert_array_equal(read(tmp_path / "a.mrc"), LEVELS)


@pytest.mark.parametrize(
    ("nint", "nreal", "fields"),
    [(2, 1, "tilt_degrees"), (6, 5, "stage_x_um"), (4, 9, "magnification"), (6, 33, "dose_e_per_A2")],
)
def test_the_bits_say_which_fields_serial_em_wrote(tmp_path: Path, nint: int, nreal: int, fields: str) -> None:
    record = struct.pack("<h", 1250) + struct.pack("<2h", 100, 100)
    extended = record[:nint] * 5
    found = told(described(write(tmp_path / "a.mrc", mrc(LEVELS, 1, extended=extended, nint=nint, nreal=nreal))))
    assert found["tilt_degrees"] == [12.5] * 5
    assert fields in found


@pytest.mark.parametrize(("nint", "nreal"), [(4, 1), (2, 64), (2, -1), (0, 0), (0, 1), (-2, 1), (8, 1)])
def test_serial_em_sizes_that_do_not_add_up_tell_nothing(tmp_path: Path, nint: int, nreal: int) -> None:
    data = mrc(LEVELS, 1, extended=bytes(range(20)), exttyp=b"SERI", nint=nint, nreal=nreal)
    assert described(write(tmp_path / "a.mrc", data)).tilts is None


FEI_BLOCK = {"FEI1": 786432, "FEI2": 909312}


@pytest.mark.parametrize("exttyp", ["FEI1", "FEI2"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_thermo_fisher_records_tell_what_their_masks_allow(tmp_path: Path, exttyp: str, order: str) -> None:
    dtype = get_ext_header_dtype(exttyp.encode(), order)
    records = np.zeros(5, dtype)
    records["Metadata size"] = dtype.itemsize
    records["Bitmask 1"] = 1 << 5 | 1 << 6 | 1 << 7 | 1 << 9 | 1 << 14 | 1 << 22 | 1 << 31
    records["Bitmask 2"] = 1 << 16
    records["HT"], records["Dose"] = 300_000, 2.5e20
    records["Alpha tilt"] = DOSE_SYMMETRIC
    records["X-Stage"], records["Y-Stage"] = 4e-6, 5e-6
    records["Pixel size X"], records["Defocus"] = 1.5e-10, -3e-6
    records["Magnification"], records["Integration time"] = 64000, 0.5
    extended = records.tobytes().ljust(FEI_BLOCK[exttyp], b"\0")
    data = mrc(LEVELS, 6, order, extended=extended, exttyp=exttyp.encode(), cella=(0, 0, 0))
    description = described(write(tmp_path / "a.mrc", data))
    found = told(description)
    assert found["from"] == f"{exttyp} extended header"
    assert found["tilt_degrees"] == list(DOSE_SYMMETRIC)
    assert "stage_y_um" not in found  # its bit is not set
    for name, value in {
        "voltage_kV": 300,
        "dose_e_per_A2": 2.5,
        "stage_x_um": 4,
        "pixel_size_A": 1.5,
        "defocus_um": -3,
        "magnification": 64000,
        "exposure_s": 0.5,
    }.items():
        assert found[name] == pytest.approx([value] * 5), name
    assert description.voxel_size_A == pytest.approx((1.5, 1.5, 1.5))
    np.testing.assert_array_equal(read(tmp_path / "a.mrc"), LEVELS)


@pytest.mark.parametrize(("size", "known"), [(0, False), (-5, False), (767, False), (2**30, False), (900, True)])
def test_the_records_of_thermo_fisher_are_as_long_as_they_say(tmp_path: Path, size: int, known: bool) -> None:
    record = np.zeros(1, get_ext_header_dtype(b"FEI1", "<"))
    record["Metadata size"], record["Bitmask 1"], record["Alpha tilt"] = size, 1 << 7, 12
    extended = record.tobytes().ljust(900, b"\0") * 5
    tilts = described(write(tmp_path / "a.mrc", mrc(LEVELS, 6, extended=extended, exttyp=b"FEI1"))).tilts
    assert (tilts is not None and tilts.degrees == (12,) * 5) == known


def test_a_tilt_that_its_mask_denies_is_none(tmp_path: Path) -> None:
    records = np.zeros(5, get_ext_header_dtype(b"FEI1", "<"))
    records["Metadata size"], records["Alpha tilt"] = 768, DOSE_SYMMETRIC
    records["Bitmask 1"][1:] = 1 << 7
    path = write(tmp_path / "a.mrc", mrc(LEVELS, 6, extended=records.tobytes(), exttyp=b"FEI1"))
    assert described(path).tilts is None


@pytest.mark.parametrize("nint", [0, 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_agard_records_have_the_tilt_in_their_first_real(tmp_path: Path, nint: int, order: str) -> None:
    extended = b"".join(struct.pack(f"{order}{nint}i4f", *([77] * nint), tilt, 9, 9, 9) for tilt in DOSE_SYMMETRIC)
    data = mrc(LEVELS, 1, order, extended=extended, exttyp=b"AGAR", nint=nint, nreal=4)
    description = described(write(tmp_path / "a.mrc", data))
    assert description.tilts is not None
    assert description.tilts.degrees == DOSE_SYMMETRIC
    assert description.tilts.origin == "Agard extended header"


@pytest.mark.parametrize("nint", [0, 128])
def test_a_classic_fei_header_counts_its_integers_wrongly(tmp_path: Path, nint: int) -> None:
    fields = [0, 0, 1e-6, 2e-6, 3e-6, 0, 0, -4e-6, 1.5, 100, 84.5, 2.5e-10, 50000]
    extended = b"".join(struct.pack("<32f", tilt, *fields[1:], *([0] * 19)) for tilt in DOSE_SYMMETRIC)
    data = mrc(LEVELS, 1, extended=extended.ljust(131072, b"\0"), nint=nint, nreal=32, exttyp=b"\0\0\0\0")
    found = told(described(write(tmp_path / "a.mrc", data)))
    assert found["from"] == "FEI extended header"
    assert found["tilt_degrees"] == list(DOSE_SYMMETRIC)
    for name, value in {
        "stage_x_um": 1,
        "stage_y_um": 2,
        "stage_z_um": 3,
        "defocus_um": -4,
        "exposure_s": 1.5,
        "tilt_axis_degrees": 84.5,
        "pixel_size_A": 2.5,
        "magnification": 50000,
    }.items():
        assert found[name] == pytest.approx([value] * 5, rel=1e-6), name


@pytest.mark.parametrize(("label", "origin"), [(b"Fei Company", "FEI"), (b"Feiertag", "Agard"), (b"", "Agard")])
def test_a_shorter_classic_fei_header_is_known_by_its_first_label(tmp_path: Path, label: bytes, origin: str) -> None:
    extended = b"".join(struct.pack("<32f", tilt, *([0] * 10), 2.5e-10, *([0] * 20)) for tilt in DOSE_SYMMETRIC)
    data = mrc(LEVELS, 1, extended=extended, nint=0, nreal=32, exttyp=b"\0\0\0\0", nlabl=1, label=label)
    found = told(described(write(tmp_path / "a.mrc", data)))
    assert found["from"] == f"{origin} extended header"
    assert found["tilt_degrees"] == list(DOSE_SYMMETRIC)
    assert ("pixel_size_A" in found) == (origin == "FEI")


def test_records_for_fewer_sections_than_there_are_tell_nothing(tmp_path: Path) -> None:
    extended = struct.pack("<4f", *DOSE_SYMMETRIC[:4])
    path = write(tmp_path / "a.mrc", mrc(LEVELS, 1, extended=extended, exttyp=b"AGAR", nreal=1))
    assert described(path).tilts is None


@pytest.mark.parametrize("angle", [float("nan"), float("inf"), 1e30, 361.0])
def test_an_angle_that_is_none_spoils_them_all(tmp_path: Path, angle: float) -> None:
    extended = struct.pack("<5f", *DOSE_SYMMETRIC[:4], angle)
    description = described(write(tmp_path / "a.mrc", mrc(LEVELS, 1, extended=extended, exttyp=b"AGAR", nreal=1)))
    assert description.tilts is None
    assert told(description)["tilt_degrees"][4] is None
    json.dumps(description.header, allow_nan=False)


MDOC = """PixelSpacing = 5.4
ImageFile = a.mrc

[T = SerialEM: Digitized on a microscope  30-Nov-15  15:14:20]

Voltage = 300
"""


def mdoc(tilts: tuple[float, ...], kind: str = "ZValue") -> str:
    return MDOC + "".join(
        f"[{kind} = {number}]\nTiltAngle = {tilt}\nStagePosition = 20.5 {number}\nExposureDose = 2\n"
        "DateTime = 30-Nov-15  15:21:38\n\n"
        for number, tilt in enumerate(tilts)
    )


@pytest.mark.parametrize("file", ["a.mrc", "a.mrc.gz"])
@pytest.mark.parametrize("sidecar", ["a.mrc.mdoc", "a.mdoc"])
def test_an_mdoc_tells_of_each_section(tmp_path: Path, file: str, sidecar: str) -> None:
    (tmp_path / sidecar).write_text(mdoc(DOSE_SYMMETRIC).replace("\n", "\r\n"))
    description = described(write(tmp_path / file, mrc(LEVELS, 1)))
    assert description.tilts is not None
    assert description.tilts.degrees == DOSE_SYMMETRIC
    assert description.tilts.origin == sidecar
    found = told(description)
    assert found["stage_x_um"] == [20.5] * 5
    assert found["stage_y_um"] == [0, 1, 2, 3, 4]
    assert found["voltage_kV"] == [300] * 5
    assert found["pixel_size_A"] == [5.4] * 5
    assert found["dose_e_per_A2"] == [2] * 5


def test_the_sections_of_an_mdoc_go_by_their_numbers(tmp_path: Path) -> None:
    head, *parts = mdoc(DOSE_SYMMETRIC).split("[ZValue")
    (tmp_path / "a.mrc.mdoc").write_text("[ZValue".join([head, *reversed(parts)]))
    tilts = described(write(tmp_path / "a.mrc", mrc(LEVELS, 1))).tilts
    assert tilts is not None
    assert tilts.degrees == DOSE_SYMMETRIC


@pytest.mark.parametrize("text", [mdoc(DOSE_SYMMETRIC, "FrameSet"), "", "\0\1\2", "[ZValue = x]\n"])
def test_an_mdoc_of_something_else_is_not_used(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.mrc.mdoc").write_text(text)
    description = described(write(tmp_path / "a.mrc", mrc(LEVELS, 1)))
    assert description.tilts is None
    assert "a.mrc.mdoc tells nothing of the sections: not used" in description.notes


@pytest.mark.parametrize("suffix", [".rawtlt", ".tlt"])
def test_angles_stand_one_a_line(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"\xef\xbb\xbf  0.00\r\n 3\n-3.0\n\n-6\n6\n\n")
    tilts = described(write(tmp_path / "a.mrc.gz", mrc(LEVELS, 1))).tilts
    assert tilts is not None
    assert tilts.degrees == DOSE_SYMMETRIC
    assert tilts.origin == f"a{suffix}"


@pytest.mark.parametrize("line", ["tilt", "1 2", "nan", "0x10"])
def test_angles_with_a_line_that_is_none_are_not_used(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.tlt").write_text(f"0\n3\n{line}\n-6\n6\n")
    description = described(write(tmp_path / "a.mrc", mrc(LEVELS, 1)))
    assert description.tilts is None
    assert description.notes == ("a.tlt tells nothing of the sections: not used",)


@pytest.mark.parametrize("count", [4, 6])
def test_sidecars_of_another_count_are_not_used(tmp_path: Path, count: int) -> None:
    angles = tuple(float(angle) for angle in range(count))
    (tmp_path / "a.mrc.mdoc").write_text(mdoc(angles))
    (tmp_path / "a.tlt").write_text("\n".join(map(str, angles)))
    description = described(write(tmp_path / "a.mrc", mrc(LEVELS, 1)))
    assert description.tilts is None
    assert [(other.origin, other.degrees) for other in description.other_tilts] == [
        ("a.mrc.mdoc", angles),
        ("a.tlt", angles),
    ]
    assert description.notes == ()


@pytest.mark.parametrize("count", [2, 10])
def test_sidecars_of_far_fewer_or_more_sections_are_of_another_file(tmp_path: Path, count: int) -> None:
    (tmp_path / "a.tlt").write_text("\n".join(map(str, range(count))))
    description = described(write(tmp_path / "a.mrc", mrc(LEVELS, 1)))
    assert description.other_tilts == ()
    assert description.notes == (f"a.tlt has {count} sections, the file has 5: not used",)


def test_extended_headers_come_before_mdoc_before_rawtlt_before_tlt(tmp_path: Path) -> None:
    sources = {
        "a.tlt": "\n".join("12345"),
        "a.rawtlt": "\n".join("23456"),
        "a.mdoc": mdoc((3, 4, 5, 6, 7)),
        "a.mrc.mdoc": mdoc((4, 5, 6, 7, 8)),
    }
    path = write(tmp_path / "a.mrc", mrc(LEVELS, 1))
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
        tilts = described(path).tilts
        assert tilts is not None
        assert tilts.origin == name
    extended = struct.pack("<5f", *DOSE_SYMMETRIC)
    tilts = described(write(path, mrc(LEVELS, 1, extended=extended, exttyp=b"AGAR", nreal=1))).tilts
    assert tilts is not None
    assert tilts.degrees == DOSE_SYMMETRIC


def test_angles_that_are_all_alike_give_way_to_others(tmp_path: Path) -> None:
    (tmp_path / "a.rawtlt").write_text("0\n3\n-3\n-6\n6\n")
    tilts = described(write(tmp_path / "a.mrc", mrc(LEVELS, 1, extended=bytes(20), exttyp=b"AGAR", nreal=1))).tilts
    assert tilts is not None
    assert tilts.origin == "a.rawtlt"


@pytest.mark.parametrize("name", ["a.rec", "a.mrcs"])
def test_a_tomogram_does_not_take_the_angles_of_its_tilt_series(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.rawtlt").write_text("0\n3\n-3\n-6\n6\n")
    extended = struct.pack("<5f", *DOSE_SYMMETRIC)
    data = mrc(LEVELS, 1, extended=extended, exttyp=b"AGAR", nreal=1)
    assert described(write(tmp_path / name, data)).tilts is None


def test_a_pipe_named_like_a_sidecar_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tlt")
    (tmp_path / "a.rawtlt").symlink_to("a.rawtlt")
    assert described(write(tmp_path / "a.mrc", mrc(LEVELS, 1))).tilts is None


def order_shown(frames: NDArray[np.uint8]) -> list[int]:
    return [round(level) for level in frames[:, 0, 0, 0] * (40 / 255) / 10]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [3, 2, 0, 1, 4]),
        (["--order=auto"], [3, 2, 0, 1, 4]),
        (["--order=tilt"], [3, 2, 0, 1, 4]),
        (["--order=file"], [0, 1, 2, 3, 4]),
        (["--discard-range", "0", "2"], [0, 1, 4]),
        (["--discard-percentage", "0.2", "0.4"], [2, 0]),
        (["--order=file", "--discard-range", "0", "2"], [2, 3, 4]),
    ],
)
def test_a_dose_symmetric_series_is_shown_by_tilt_and_discards_count_in_the_order_shown(
    tmp_path: Path, movie: Movie, options: list[str], expected: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.rawtlt").write_text("\n".join(map(str, DOSE_SYMMETRIC)))
    frames = movie(write(tmp_path / "a.st", mrc(LEVELS, 1)), "--range=0,40", *options)
    assert order_shown(frames) == expected
    said = "shown by tilt angle, -6 … 6 degrees by a.rawtlt" in capsys.readouterr().err
    assert said == (not any(option.startswith(("--order=file", "--order=tilt")) for option in options))
    (record,) = (tmp_path / "movies" / ".mrc2movie").iterdir()
    assert json.loads(record.read_text())["sections"] == expected


@pytest.mark.parametrize("tilts", [(-6, -3, 0, 3, 6), (6, 3, 0, -3, -6), (-3, -3, 0, 0, 3), (0.0, 0.2, 0.1, 0.3, 0.1)])
def test_auto_keeps_a_file_order_that_rises_or_falls_or_is_no_tilting(
    tmp_path: Path, movie: Movie, tilts: tuple[float, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.rawtlt").write_text("\n".join(map(str, tilts)))
    path = write(tmp_path / "a.st", mrc(LEVELS, 1))
    assert order_shown(movie(path, "--range=0,40")) == [0, 1, 2, 3, 4]
    assert "shown by tilt" not in capsys.readouterr().err
    by_tilt = sorted(range(5), key=lambda number: tilts[number])
    assert order_shown(movie(path, "--range=0,40", "--order=tilt")) == by_tilt


def test_order_tilt_without_angles_is_file_order_with_a_warning(
    tmp_path: Path, movie: Movie, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = movie(write(tmp_path / "a.st", mrc(LEVELS, 1)), "--range=0,40", "--order=tilt")
    assert order_shown(frames) == [0, 1, 2, 3, 4]
    assert "--order tilt: no tilt angle is known for each section" in capsys.readouterr().err


@pytest.mark.parametrize(("bad", "known"), [(0, False), (4, True)])
def test_a_truncated_series_needs_the_angles_of_the_sections_that_are_there(
    tmp_path: Path, bad: int, known: bool
) -> None:
    angles = [float("nan") if number == bad else tilt for number, tilt in enumerate(DOSE_SYMMETRIC)]
    data = mrc(LEVELS, 1, extended=struct.pack("<5f", *angles), exttyp=b"AGAR", nreal=1)
    tilts = described(write(tmp_path / "a.mrc", data[:-1])).tilts
    assert (tilts is not None) == known


def test_a_truncated_series_takes_the_first_angles(tmp_path: Path, movie: Movie) -> None:
    (tmp_path / "a.rawtlt").write_text("\n".join(map(str, DOSE_SYMMETRIC)))
    path = write(tmp_path / "a.st", mrc(LEVELS, 1)[:-1])
    tilts = described(path).tilts
    assert tilts is not None
    assert tilts.degrees == DOSE_SYMMETRIC[:4]
    assert order_shown(movie(path, "--range=0,40")) == [3, 2, 0, 1]


def test_a_name_as_long_as_names_can_be_has_no_sidecar(tmp_path: Path) -> None:
    path = write(tmp_path / ("n" * 251 + ".mrc"), mrc(LEVELS, 1))
    assert described(path).tilts is None
