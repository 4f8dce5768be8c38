"""The voxel size: where a header's 1 Å holds, where another source does, and when people are warned."""

from pathlib import Path

import numpy as np
import pytest
from movies import ramp, run
from mrc_bytes import mrc, write

from mrc2movie.readers import open_volume
from mrc2movie.readers.volume import Description

SHAPE = (3, 120, 160)


def described(path: Path) -> Description:
    with open_volume(path) as volume:
        return volume.description


def of_size(path: Path, size_A: float, **fields: object) -> Path:
    """A file whose header has this voxel size in all directions."""
    return write(path, mrc(ramp(*SHAPE), 1, cella=tuple(size_A * n for n in SHAPE[::-1]), **fields))


def mdoc(size_A: float) -> str:
    return f"PixelSpacing = {size_A}\n" + "".join(f"[ZValue = {n}]\nTiltAngle = {3 * n}\n" for n in range(3))


def classic_fei(size_A: float) -> dict[str, object]:
    """The fields of an extended header that has this pixel size."""
    records = np.zeros((3, 32), "f4")
    records[:, 0], records[:, 11] = (0, 3, 6), size_A * 1e-10
    return {"extended": records.tobytes().ljust(131072, b"\0"), "nint": 0, "nreal": 32}


@pytest.mark.parametrize("size_A", [5.4, 0.86, 1.02])
def test_a_size_of_1_in_the_header_gives_way_to_another_source(tmp_path: Path, size_A: float) -> None:
    (tmp_path / "a.mrc.mdoc").write_text(mdoc(size_A))
    description = described(of_size(tmp_path / "a.mrc", 1))
    assert description.voxel_size_A == (size_A,) * 3
    assert not description.voxel_size_is_bare
    assert f"the header's voxel size of 1 Å means none: {size_A} Å is taken from a.mrc.mdoc" in description.notes
    assert description.warnings == ()
    extended = described(of_size(tmp_path / "b.mrc", 1, **classic_fei(size_A)))
    assert extended.voxel_size_A == pytest.approx((size_A,) * 3)


@pytest.mark.parametrize(
    ("size_A", "other_A", "warned"), [(2, 2.015, False), (2, 2.03, True), (2, 1, True), (1.02, 1, True)]
)
def test_another_size_in_the_header_holds_and_a_difference_of_more_than_1_percent_is_told(
    tmp_path: Path, size_A: float, other_A: float, warned: bool
) -> None:
    (tmp_path / "a.mrc.mdoc").write_text(mdoc(other_A))
    description = described(of_size(tmp_path / "a.mrc", size_A))
    assert description.voxel_size_A == pytest.approx((size_A,) * 3)
    expected = (
        f"voxel sizes disagree: {size_A} Å by the header, {other_A} Å by a.mrc.mdoc; that of the header is taken "
        "(--pixel-size overrides)"
    )
    assert description.warnings == ((expected,) if warned else ())


@pytest.mark.parametrize("size_A", [0, 1])
def test_sources_beside_a_header_without_a_size_that_disagree_are_told_in_one_warning(
    tmp_path: Path, size_A: float
) -> None:
    (tmp_path / "a.mrc.mdoc").write_text(mdoc(5.4))
    (tmp_path / "a.mdoc").write_text(mdoc(10.8))
    description = described(of_size(tmp_path / "a.mrc", size_A, **classic_fei(2.7)))
    assert description.voxel_size_A == pytest.approx((2.7,) * 3)
    (warning,) = description.warnings
    assert "2.7 Å by FEI extended header, 5.4 Å by a.mrc.mdoc, 10.8 Å by a.mdoc" in warning


def test_the_extended_header_of_a_tomogram_may_be_that_of_its_tilt_series(tmp_path: Path) -> None:
    description = described(of_size(tmp_path / "a.rec", 10.8, **classic_fei(2.7)))
    assert description.voxel_size_A == pytest.approx((10.8,) * 3)
    assert description.warnings == ()


@pytest.mark.parametrize("options", [("--scale-bar",), ("--label=depth",)])
def test_a_length_that_rests_on_a_bare_1_carries_a_warning(
    tmp_path: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    words = "the voxel size is exactly 1 Å in the header, which most programs write where they know none"

    def warned(source: Path, *more: str) -> bool:
        assert run(source, tmp_path / "out", "--overwrite", *options, *more) == 0
        return words in capsys.readouterr().err

    bare = of_size(tmp_path / "a.mrc", 1)
    assert described(bare).voxel_size_is_bare
    assert warned(bare)
    assert warned(bare, "--axis=y")
    assert not warned(bare, "--pixel-size=1")
    assert not warned(of_size(tmp_path / "b.mrc", 1.004))
    assert run(bare, tmp_path / "out", "--overwrite") == 0
    assert words not in capsys.readouterr().err
    (tmp_path / "a.mrc.mdoc").write_text(mdoc(1.0))
    assert not warned(bare)
