"""What is striking about a file, and what is not: blocked beams, equal sections, jumps of the mean, missing tilts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from movies import Reads, ramp, run, write_mrc
from numpy.typing import NDArray

from mrc2movie import Settings, convert
from mrc2movie.picture.quality import MOST_SECTIONS

TILTS = np.arange(-60.0, 61.0, 3.0)
rng = np.random.default_rng(3)


def darkening(tilts: NDArray[np.float64] = TILTS, dose: float = 400.0, size: int = 48) -> NDArray[np.float32]:
    """A tilt series of a slab, with shot noise: darker as 1 / cos of the tilt."""
    expected = dose * np.exp(-0.8 / np.cos(np.radians(tilts)))
    noise = rng.standard_normal((len(tilts), size, size))
    return (expected[:, None, None] + np.sqrt(expected)[:, None, None] * noise).astype(np.float32)


def tilt_series(path: Path, voxels: NDArray[Any], tilts: Sequence[float] | NDArray[np.float64] = TILTS) -> Path:
    path.with_suffix(".rawtlt").write_text("\n".join(map(str, tilts)))
    return write_mrc(path, voxels)


def record(source: Path, *options: str) -> dict[str, Any]:
    """What the record of its movie keeps."""
    out = source.parent / "out"
    assert run(source, out, "--overwrite", "--quiet", *options) == 0
    found: dict[str, Any] = json.loads((out / ".mrc2movie" / f"{source.stem}.avi.json").read_text())
    return found


def found(source: Path, *options: str) -> list[tuple[str, list[int]]]:
    return [(signal["kind"], signal["sections"]) for signal in record(source, *options)["signals"]]


def test_a_blocked_beam_is_told_with_section_and_tilt_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voxels = darkening()
    voxels[5] *= 0.02
    voxels[30] *= 0.4
    source = tilt_series(tmp_path / "a.mrc", voxels)
    kept = record(source)
    text = "much darker than neighbours: sections 5 (−45.0°), 30 (30.0°)"  # noqa: RUF001
    assert kept["signals"] == [{"kind": "darker", "sections": [5, 30], "text": text}]
    assert kept["warnings"] == [f"quality: {text}"]
    assert [line for line in capsys.readouterr().err.splitlines() if "quality" in line] == [
        f"{source}: quality: {text}"
    ]
    assert f"{source}: quality: {text}" in (tmp_path / "out" / "mrc2movie.log").read_text()


@pytest.mark.parametrize(("factor", "kind"), [(0.01, "darker"), (0.4, "darker"), (3.0, "brighter")])
@pytest.mark.parametrize("section", [2, 20, 38])
def test_one_section_far_off_its_neighbours_is_told(tmp_path: Path, section: int, factor: float, kind: str) -> None:
    voxels = darkening(size=24)
    voxels[section] *= factor
    assert found(tilt_series(tmp_path / "a.mrc", voxels)) == [(kind, [section])]


@pytest.mark.parametrize(
    "options", [(), ("--order=file",), ("--match-mean",), ("--average=5",), ("--playback=backward",)]
)
@pytest.mark.parametrize("order", ["dose-symmetric", "bidirectional"])
def test_a_slab_that_darkens_with_the_tilt_is_nothing_striking(
    tmp_path: Path, order: str, options: tuple[str, ...]
) -> None:
    tilts = {
        "dose-symmetric": TILTS[np.argsort(np.abs(TILTS), kind="stable")],
        "bidirectional": np.concatenate([TILTS[20:], TILTS[19::-1]]),
    }[order]
    assert found(tilt_series(tmp_path / "a.mrc", darkening(tilts, size=24), tilts), *options) == []


@pytest.mark.parametrize(("top", "step"), [(60, 1), (70, 5), (70, 2)])
@pytest.mark.parametrize("law", ["cos", "exp"])
@pytest.mark.parametrize("known", [True, False])
def test_nor_is_one_of_other_steps_and_dose_that_varies(
    tmp_path: Path, top: int, step: int, law: str, known: bool
) -> None:
    tilts = np.arange(-top, top + 1, step, dtype=float)
    cosine = np.cos(np.radians(tilts))
    means = 50 * (cosine if law == "cos" else np.exp(2 - 1.2 / cosine)) * rng.normal(1, 0.02, len(tilts))
    voxels = rng.poisson(means[:, None, None], (len(tilts), 20, 20)).astype(np.int16)
    source = write_mrc(tmp_path / "a.mrc", voxels)
    assert found(tilt_series(source, voxels, tilts) if known else source) == []


def test_the_demo_has_nothing_striking(demo: Path) -> None:
    for path in (demo / ".mrc2movie").glob("*.json"):
        kept = json.loads(path.read_text())
        assert kept["signals"] == []
        assert len(kept["section_means"]) == len(kept["section_deviations"]) == len(kept["sections"])


def test_noise_around_zero_is_nothing_striking_and_a_shift_is(tmp_path: Path) -> None:
    voxels = rng.normal(0, 1, (40, 32, 32)).astype(np.float32)
    assert found(write_mrc(tmp_path / "a.mrc", voxels)) == []
    voxels[7] += 3
    assert found(write_mrc(tmp_path / "a.mrc", voxels)) == [("brighter", [7])]


@pytest.mark.parametrize("cut", [3, 20, 37])
def test_a_jump_of_the_mean_is_told_with_the_sections_between_which_it_is(tmp_path: Path, cut: int) -> None:
    voxels = darkening(size=24)
    voxels[cut:] *= 0.35
    source = tilt_series(tmp_path / "a.mrc", voxels)
    assert found(source) == [("jump", [cut - 1, cut])]
    assert "the mean jumps from" in record(source)["warnings"][0]


def test_sections_of_one_value_are_told(tmp_path: Path) -> None:
    voxels = darkening()
    voxels[3], voxels[4], voxels[9] = 0, 0, 150
    source = tilt_series(tmp_path / "a.mrc", voxels)
    assert found(source) == [("constant", [3, 4, 9])]
    assert "no two voxels differ in sections 3 (−51.0°), 4 (−48.0°), 9 (−33.0°)" in record(source)["warnings"][0]  # noqa: RUF001


def test_sections_that_exactly_equal_a_neighbour_are_told(tmp_path: Path) -> None:
    voxels = rng.normal(0, 1, (9, 16, 16)).astype(np.float32)
    voxels[4] = voxels[3]
    voxels[7] = voxels[8]
    voxels[0] = voxels[6]  # no neighbours
    source = write_mrc(tmp_path / "a.mrc", voxels)
    assert found(source) == [("alike", [3, 4]), ("alike", [7, 8])]
    assert found(source, "--match-mean") == [("alike", [3, 4]), ("alike", [7, 8])]
    assert "exactly equal are sections 3, 4; exactly equal are sections 7, 8" in record(source)["warnings"][0]


def test_sections_that_are_all_alike_are_told_in_a_few_words(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "a.mrc", np.tile(ramp(1), (30, 1, 1)))
    assert record(source)["warnings"] == ["quality: all 30 sections are exactly equal"]


def test_one_voxel_makes_sections_differ_even_where_it_is_not_looked_at_first(tmp_path: Path) -> None:
    """1024 rows: the first look is at one in 32, and minimum and maximum are alike."""
    section = rng.integers(0, 99, (1024, 64)).astype(np.int16)
    section[:2, :2] = 0, 99
    other = section.copy()
    other[33, 5] += 1 if other[33, 5] < 50 else -1
    source = write_mrc(tmp_path / "a.mrc", np.stack([section, other, other]))
    assert found(source, "--clip-limit=0") == [("alike", [1, 2])]


def test_equal_sections_are_found_without_another_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Reads(monkeypatch)
    source = write_mrc(tmp_path / "a.mrc", np.tile(ramp(1), (5, 1, 1)))
    assert convert(source, tmp_path / "a.avi").record.signals
    assert max(reads.of_sections(5, 6 * 10 * 2)) == 2


def test_sections_with_holes_are_told(tmp_path: Path) -> None:
    voxels = rng.normal(9, 1, (6, 16, 16)).astype(np.float32)
    voxels[2, 3, 4], voxels[5] = np.inf, np.nan
    kept = record(write_mrc(tmp_path / "a.mrc", voxels))
    assert kept["signals"] == [
        {"kind": "not finite", "sections": [2, 5], "text": "NaN or infinite voxels in sections 2, 5"}
    ]
    assert kept["section_means"][5] is None
    assert kept["section_means"][2] == pytest.approx(9, abs=0.3)


def test_many_sections_are_told_in_one_short_line(tmp_path: Path) -> None:
    voxels = rng.normal(9, 1, (300, 8, 8)).astype(np.float32)
    voxels[::2, 0, 0] = np.nan
    (line,) = (line for line in record(write_mrc(tmp_path / "a.mrc", voxels))["warnings"] if "quality" in line)
    assert "sections 0, 2, 4" in line
    assert "(150 in all)" in line
    assert len(line) < 200


def test_the_record_keeps_the_mean_and_the_deviation_of_each_section_to_six_digits(tmp_path: Path) -> None:
    voxels = darkening(size=40)
    kept = record(tilt_series(tmp_path / "a.mrc", voxels, TILTS[::-1]), "--order=tilt")
    assert kept["section_means"] == pytest.approx(voxels[::-1].mean(axis=(1, 2)), rel=1e-5)
    assert kept["section_deviations"] == pytest.approx(voxels[::-1].std(axis=(1, 2)), rel=1e-5)
    assert all(float(f"{mean:.6g}") == mean for mean in kept["section_means"])


def test_the_rows_that_stand_for_a_large_section_give_its_mean(tmp_path: Path) -> None:
    voxels = rng.normal(50, 10, (2, 600, 700)).astype(np.int16)
    voxels[1, :, 300:] = 0
    kept = record(write_mrc(tmp_path / "a.mrc", voxels))
    for section, mean, deviation in zip(voxels, kept["section_means"], kept["section_deviations"], strict=True):
        assert mean == pytest.approx(section.mean(), abs=0.01 * section.std())
        assert deviation == pytest.approx(section.std(), rel=0.02)


def test_nothing_is_kept_of_too_many_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_SECTIONS == 10_000
    monkeypatch.setattr("mrc2movie.conversion.measure.MOST_SECTIONS", 20)
    for count, kept in ((20, 20), (21, 0)):
        source = write_mrc(tmp_path / "a.mrc", np.zeros((count, 2, 2), np.int8))
        made = convert(source, tmp_path / "a.avi", Settings(playback="forward"))
        assert len(made.record.section_means) == len(made.record.section_deviations) == kept
        assert bool(made.record.signals) == bool(kept)


# Tilts


def test_tilts_that_an_mdoc_lists_and_the_file_lacks_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = [*TILTS]
    (tmp_path / "a.mrc.mdoc").write_text(
        "".join(f"[ZValue = {number}]\nTiltAngle = {tilt}\n" for number, tilt in enumerate(listed))
    )
    there = np.delete(TILTS, [7, 20])
    source = tilt_series(tmp_path / "a.mrc", darkening(there, size=24), there)
    lists = "a.mrc.mdoc lists 41 tilts, the file has 39 sections, so it is not used: none at −39.0°, 0.0°"  # noqa: RUF001
    gaps = ["no tilt between −42.0° and −36.0°, where they are 3° apart", "no tilt between −3.0° and 3.0°"]  # noqa: RUF001
    assert run("--info", source) == 0
    shown = capsys.readouterr().out
    assert shown.count("quality: ") == 1
    for text in (lists, *gaps):
        assert text in shown
    assert run("--info", source, "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert [signal["kind"] for signal in told["signals"]] == ["missing tilts", "tilt gap", "tilt gap"]
    assert told["signals"] == record(source)["signals"]
    assert told["signals"][1]["sections"] == [6, 7]


def test_an_mdoc_with_fewer_tilts_than_the_file_has_sections_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.st.mdoc").write_text("".join(f"[ZValue = {n}]\nTiltAngle = {n}\n" for n in range(7)))
    (signal,) = record(write_mrc(tmp_path / "a.st", rng.normal(9, 1, (8, 9, 9)).astype(np.float32)))["signals"]
    assert signal["text"] == "a.st.mdoc lists 7 tilts, the file has 8 sections, so it is not used"


@pytest.mark.parametrize(
    "tilts",
    [
        np.degrees(np.arcsin(np.linspace(-0.87, 0.87, 41))),  # after Saxton: steps that shrink with the cosine
        TILTS + rng.normal(0, 0.2, 41),
        np.sort(np.append(TILTS, 0.0)),  # bidirectional: 0 twice
        np.array([-60.0, -50, -20, 0, 60]),
    ],
    ids=["cosine", "imprecise", "twice", "any"],
)
def test_steps_that_differ_a_little_or_everywhere_are_no_gap(tmp_path: Path, tilts: NDArray[np.float64]) -> None:
    assert found(tilt_series(tmp_path / "a.mrc", darkening(tilts, size=16), tilts)) == []
