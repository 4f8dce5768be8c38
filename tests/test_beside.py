"""Pictures beside the movie: what they show, from what they are made, when they are made anew."""

import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from faults import closing_line, faulty, installed
from movies import LOSSLESS, Reads, coloured_frames, frames, ramp, run, write_mrc
from numpy.typing import NDArray

from mrc2movie.picture.labels import bolder, label_font, put_text

README = Path(__file__).parent.parent / "README.md"

rng = np.random.default_rng(7)


def noise(path: Path, *shape: int) -> Path:
    """A volume whose sections are all different."""
    return write_mrc(path, rng.integers(-99, 99, shape).astype(np.int16))


def picture(path: Path) -> NDArray[Any]:
    """A PNG as it is: (y, x), or (y, x, 3) blue, green, red."""
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return np.asarray(found)


def names(directory: Path) -> list[str]:
    """The files of a directory, hidden ones too, but for its log and records."""
    return sorted(path.name for path in directory.iterdir() if path.name not in ("mrc2movie.log", ".mrc2movie"))


def means(frame: NDArray[np.uint8], parts: int) -> NDArray[np.float64]:
    """Means of squares of so many pixels a side."""
    rows, columns = frame.shape
    return np.asarray(frame.reshape(rows // parts, parts, columns // parts, parts).mean(axis=(1, 3)))


def enlarged(frame: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    """Every pixel a square of so many pixels a side."""
    return frame.repeat(times, axis=0).repeat(times, axis=1)


def cells(sheet: NDArray[Any], shown: list[NDArray[np.uint8]]) -> list[tuple[int, int]]:
    """Where in a contact sheet each frame stands, pixel by pixel, (row, column); fails where it does not."""
    places = []
    for frame in shown:
        difference = cv2.matchTemplate(sheet, frame, cv2.TM_SQDIFF)
        row, column = (int(place) for place in np.unravel_index(difference.argmin(), difference.shape))
        assert np.array_equal(sheet[row : row + frame.shape[0], column : column + frame.shape[1]], frame)
        places.append((row, column))
    return places


def caption(sheet: NDArray[Any], place: tuple[int, int], shape: tuple[int, int], candidates: list[str]) -> str:
    """What stands below a cell."""
    below = 255 - sheet[place[0] + shape[0] : place[0] + shape[0] + 24, place[1] : place[1] + shape[1]]
    font = label_font()

    def difference(text: str) -> float:
        ink = np.zeros((60, 200), np.uint8)
        put_text(ink, text, (16, 32), font, 16)
        ink = bolder(ink, font, 16)
        rows, columns = np.nonzero(ink)
        ink = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        if ink.shape[1] > below.shape[1]:
            return 1.0
        found, *_ = cv2.minMaxLoc(cv2.matchTemplate(below, ink, cv2.TM_SQDIFF))
        return float(found / np.square(ink, dtype=float).sum())

    found = {text: difference(text) for text in candidates}
    return max((text for text in candidates if found[text] < 0.05), key=lambda text: (len(text), -found[text]))


# The thumbnail


@pytest.mark.parametrize(("size", "parts"), [((), 2), (("300",), 2), (("150",), 4)])
def test_the_thumbnail_is_the_middle_section_with_its_aspect_and_without_labels(
    tmp_path: Path, size: tuple[str, ...], parts: int
) -> None:
    source = noise(tmp_path / "a.mrc", 5, 400, 600)
    options = ("--thumbnail", *size, "--label", "section", "--clip-limit", "2")
    assert run(source, tmp_path / "out", *LOSSLESS, "--playback=forward", *options) == 0
    assert run(source, tmp_path / "plain", *LOSSLESS, "--playback=forward", "--clip-limit", "2") == 0
    assert names(tmp_path / "out") == ["a.avi", "a.png"]
    found, expected = picture(tmp_path / "out/a.png"), means(frames(tmp_path / "plain/a.avi")[2], parts)
    assert found.shape == (400 // parts, 600 // parts)
    assert np.abs(found - expected).max() <= 1


def test_a_thumbnail_of_a_small_section_is_enlarged_by_a_whole_factor_to_be_seen(tmp_path: Path) -> None:
    source = noise(tmp_path / "a.mrc", 3, 40, 60)
    assert run("--thumbnail", source, tmp_path / "out", *LOSSLESS) == 0
    assert np.array_equal(picture(tmp_path / "out/a.png"), enlarged(frames(tmp_path / "out/a.avi")[1], 5))


def test_a_thumbnail_is_never_larger_than_it_was_asked_for(tmp_path: Path) -> None:
    source = noise(tmp_path / "a.mrc", 3, 40, 60)
    assert run("--thumbnail", "119", source, tmp_path / "out", *LOSSLESS) == 0
    assert np.array_equal(picture(tmp_path / "out/a.png"), frames(tmp_path / "out/a.avi")[1])


@pytest.mark.parametrize("options", [("--playback=backward",), ("--discard_range", "0", "3"), ("--every", "2"), ()])
def test_the_middle_is_that_of_the_sections_shown(tmp_path: Path, options: tuple[str, ...]) -> None:
    source = noise(tmp_path / "a.mrc", 9, 20, 30)
    (tmp_path / "a.rawtlt").write_text("\n".join(map(str, (0, 3, -3, -6, 6, 9, -9, -12, 12))))
    assert run(source, tmp_path / "out", *LOSSLESS, "--playback=forward", "--thumbnail", *options) == 0
    shown = frames(tmp_path / "out/a.avi")
    assert np.array_equal(picture(tmp_path / "out/a.png"), enlarged(shown[len(shown) // 2], 9))


def test_pictures_of_colour_are_in_colour(tmp_path: Path) -> None:
    raw = bytearray(write_mrc(tmp_path / "in.mrc", np.zeros((2, 60, 80), np.int8)).read_bytes()[:1024])
    raw[12:16] = (16).to_bytes(4, "little")
    colour = rng.integers(0, 255, (2, 60, 80, 3)).astype(np.uint8)
    (tmp_path / "a.mrc").write_bytes(bytes(raw) + colour.tobytes())
    options = ("--range", "0,255", "--thumbnail", "--contact-sheet")
    assert run(tmp_path / "a.mrc", tmp_path / "out", *LOSSLESS, *options) == 0
    shown = coloured_frames(tmp_path / "out/a.avi")
    large = [enlarged(frame, 3) for frame in shown]
    assert np.array_equal(picture(tmp_path / "out/a.png"), large[1])
    assert len(cells(picture(tmp_path / "out/a.contact.png"), large)) == 2


# The contact sheet


@pytest.mark.parametrize(("count", "numbers"), [(1, [0]), (7, [*range(7)]), (58, [*range(0, 58, 3)])])
def test_the_contact_sheet_is_a_grid_of_evenly_spaced_sections_with_their_numbers(
    tmp_path: Path, count: int, numbers: list[int]
) -> None:
    source = noise(tmp_path / "a.mrc", count + 2, 60, 90)
    options = ("--discard_range", "0", "2", "--playback=forward", "--contact-sheet", "--label", "section")
    assert run(source, tmp_path / "out", *LOSSLESS, *options) == 0
    assert run(source, tmp_path / "plain", *LOSSLESS, *options[:3], "--playback=forward") == 0
    sheet, shown = picture(tmp_path / "out/a.contact.png"), frames(tmp_path / "plain/a.avi")
    places = cells(sheet, [enlarged(shown[number], 2) for number in numbers])
    assert places == sorted(places)
    assert len(places) == len({row for row, _ in places}) * len({column for _, column in places}) or count == 7
    texts = [str(number) for number in range(count + 2)]
    assert [caption(sheet, place, (120, 180), texts) for place in places] == [str(number + 2) for number in numbers]


def test_the_captions_of_a_tilt_series_are_its_tilts(tmp_path: Path) -> None:
    source = noise(tmp_path / "a.mrc", 4, 60, 90)
    (tmp_path / "a.rawtlt").write_text("0\n3\n-3\n-60.04\n")
    assert run(source, tmp_path / "out", *LOSSLESS, "--playback=forward", "--contact-sheet") == 0
    sheet = picture(tmp_path / "out/a.contact.png")
    places = cells(sheet, [enlarged(frame, 2) for frame in frames(tmp_path / "out/a.avi")])
    texts = ["−60.0°", "−3.0°", "0.0°", "3.0°", "60.0°"]  # noqa: RUF001
    assert [caption(sheet, place, (120, 180), texts) for place in places] == texts[:4]


@pytest.mark.parametrize("shape", [(20, 30, 900), (20, 900, 30), (3, 1, 1), (4, 2000, 2000)])
def test_a_contact_sheet_fits_a_screen_whatever_the_sections_are_like(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    source = noise(tmp_path / "a.mrc", *shape)
    assert run(source, tmp_path / "out", "--playback=forward", "--contact-sheet") == 0
    rows, columns = picture(tmp_path / "out/a.contact.png").shape
    assert max(rows, columns) <= 1500


# From what, and when


def test_pictures_are_made_of_the_frames_that_pass_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = noise(tmp_path / "a.mrc", 12, 6, 10)
    reads = Reads(monkeypatch)
    assert run(source, tmp_path / "out", "--codec", "FFV1", "--thumbnail", "--contact-sheet") == 0
    assert reads.of_sections(12, 120) == [2] * 12
    assert names(tmp_path / "out") == ["a.avi", "a.contact.png", "a.png"]


def closing(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """The last line of a run that went well."""
    assert run(*words) == 0
    return capsys.readouterr().err.splitlines()[-1]


def test_a_picture_that_is_missing_changed_or_of_another_size_is_made_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = noise(tmp_path / "a.mrc", 3, 60, 80), tmp_path / "out"
    assert closing(capsys, source, out) == "1 converted"
    assert closing(capsys, source, out, "--thumbnail") == "1 converted"
    assert closing(capsys, source, out, "--thumbnail") == "1 up to date"
    assert closing(capsys, source, out) == "1 up to date"
    assert closing(capsys, source, out, "--thumbnail", "20") == "1 converted"
    assert picture(out / "a.png").shape == (15, 20)
    assert closing(capsys, source, out, "--thumbnail=300", "--contact-sheet") == "1 converted"
    assert closing(capsys, source, out, "--contact-sheet", "--thumbnail") == "1 up to date"
    (out / "a.contact.png").unlink()
    assert closing(capsys, source, out, "--thumbnail") == "1 up to date"
    assert closing(capsys, source, out, "--thumbnail", "--contact-sheet") == "1 converted"
    (out / "a.png").write_bytes(b"other")
    assert closing(capsys, source, out, "--thumbnail") == "1 converted"
    assert picture(out / "a.png").shape == (180, 240)
    # The contact sheet was not asked for this time, but still shows what the movie does.
    assert closing(capsys, source, out, "--contact-sheet", "--thumbnail") == "1 up to date"


def test_a_picture_that_shows_what_the_movie_no_longer_does_is_made_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = noise(tmp_path / "a.mrc", 3, 60, 80), tmp_path / "out"
    assert closing(capsys, source, out, "--thumbnail") == "1 converted"
    before = picture(out / "a.png")
    assert closing(capsys, source, out, "--invert") == "1 converted"
    assert closing(capsys, source, out, "--invert", "--thumbnail") == "1 converted"
    assert np.abs(255 - before.astype(int) - picture(out / "a.png")).max() <= 1


@pytest.mark.parametrize("name", ["a.png", "a.contact.png"])
def test_a_picture_that_is_not_ours_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    source, out = noise(tmp_path / "a.mrc", 3, 60, 80), tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(b"mine")
    assert run(source, out, "--thumbnail", "--contact-sheet") == 1
    assert f"{name} is there without a record and so not ours; --overwrite replaces it" in capsys.readouterr().err
    assert names(out) == [name]
    assert (out / name).read_bytes() == b"mine"
    assert closing(capsys, source, out) == "1 converted"
    assert run(source, out, "--thumbnail", "--contact-sheet") == 1
    assert (out / name).read_bytes() == b"mine"
    assert closing(capsys, source, out, "--thumbnail", "--contact-sheet", "--overwrite") == "1 converted"
    assert names(out) == ["a.avi", "a.contact.png", "a.png"]


def test_a_movie_of_another_format_takes_the_pictures_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = noise(tmp_path / "a.mrc", 3, 60, 80), tmp_path / "out"
    words = (source, out, "--thumbnail", "--contact-sheet")
    assert closing(capsys, *words) == "1 converted"
    assert closing(capsys, *words, "--format", "mp4", "--invert") == "1 converted"
    assert closing(capsys, *words, "--format", "mp4", "--invert") == "1 up to date"
    assert closing(capsys, *words) == "1 up to date"  # or each would make them anew for ever
    assert names(out) == ["a.avi", "a.contact.png", "a.mp4", "a.png"]


def test_pictures_are_no_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise(tmp_path / "a.mrc", 3, 60, 80)
    words = (tmp_path, tmp_path, "--thumbnail", "--contact-sheet", "--pattern", "a*", "--log", tmp_path / "log")
    assert closing(capsys, *words) == "1 converted"
    assert closing(capsys, *words) == "1 up to date"


@pytest.mark.parametrize(
    "damage", ['["x"]', "7", '[{"option": 1}]', '[{"option": "thumbnail", "value": 1, "file": 2}]']
)
def test_a_record_whose_pictures_tell_nothing_does_no_harm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    source, out = noise(tmp_path / "a.mrc", 3, 60, 80), tmp_path / "out"
    assert closing(capsys, source, out, "--thumbnail") == "1 converted"
    record = out / ".mrc2movie/a.avi.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "pictures": json.loads(damage)}))
    (out / "a.png").unlink()
    assert closing(capsys, source, out, "--thumbnail") == "1 converted"


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_picture_that_cannot_be_written_fails_the_movie_and_the_next_run_makes_both(
    tmp_path: Path, call: str
) -> None:
    source, out = noise(tmp_path / "a.mrc", 3, 60, 80), tmp_path / "out"
    result = installed(source, out, "--thumbnail", env=faulty(call, ".thumbnail.png", error=errno.ENOSPC))
    assert result.returncode == 1
    assert "a.png" in result.stderr
    assert "(No space left on device); make room" in result.stderr
    assert names(out) == []
    assert closing_line(installed(source, out, "--thumbnail")) == "1 converted"
    assert names(out) == ["a.avi", "a.png"]


@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.large)])
def test_a_kill_at_any_step_leaves_whole_pictures_and_the_next_run_makes_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stride: int
) -> None:
    source, out = noise(tmp_path / "a.mrc", 3, 60, 80), tmp_path / "out"
    words = (source, out, "--thumbnail", "--contact-sheet")
    for step in range(0, 1000, stride):
        shutil.rmtree(out, ignore_errors=True)
        killed = installed(*words, env=faulty("step", str(out), after=step, kill=1)).returncode != 0
        for made in out.glob("[a-z]*.png"):
            picture(made)
        assert closing(capsys, *words) in ("1 converted", "1 up to date")
        assert names(out) == ["a.avi", "a.contact.png", "a.png"]
        assert closing(capsys, *words) == "1 up to date"
        if not killed:
            break
    assert step > 10


def test_a_picture_gets_its_name_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = noise(tmp_path / "a.mrc", 3, 60, 80), tmp_path / "out"
    seen = []
    replace = os.replace

    def looking(path: Any, target: Any, **more: Any) -> None:
        if str(target).endswith(".png"):
            seen.append((names(out), picture(Path(path)).shape))
        replace(path, target, **more)

    monkeypatch.setattr(os, "replace", looking)
    assert run(source, out, "--thumbnail") == 0
    (entries, shape) = seen[0]
    assert shape == (180, 240)
    assert [name for name in entries if not name.startswith(".")] == []


def test_a_dry_run_plans_a_missing_picture_and_makes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = noise(tmp_path / "a.mrc", 3, 60, 80), tmp_path / "out"
    assert closing(capsys, source, out) == "1 converted"
    assert run(source, out, "--contact-sheet", "--dry-run") == 0
    assert "would be converted (no contact sheet like this yet)" in capsys.readouterr().err
    assert names(out) == ["a.avi"]


def test_a_dry_run_says_which_picture_is_not_as_it_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*options: str) -> str:
        capsys.readouterr()
        assert run(source, out, "--dry-run", *options) == 0
        return capsys.readouterr().err

    source, out = noise(tmp_path / "a.mrc", 3, 60, 80), tmp_path / "out"
    assert run(source, out, "--thumbnail", "--contact-sheet") == 0
    assert "1 up to date" in said("--thumbnail", "--contact-sheet")
    assert "would be converted (no thumbnail like this yet)" in said("--thumbnail=20", "--contact-sheet")
    (out / "a.contact.png").write_bytes(b"other")
    assert "1 up to date" in said("--thumbnail")
    assert "would be converted (no contact sheet like this yet)" in said("--thumbnail", "--contact-sheet")
    (out / "a.png").unlink()
    assert "would be converted (no thumbnail like this yet)" in said("--thumbnail", "--contact-sheet")
    (out / ".mrc2movie" / "a.mp4.json").write_text("{")  # which may have known it, but nobody knows
    assert "would be converted (no thumbnail like this yet)" in said("--thumbnail")


def test_pictures_are_named_for_their_movie(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.st", "a.rec", "b.mrc", "n" * 250 + ".mrc"):
        write_mrc(tmp_path / "in" / name, ramp(2, 20, 20))
    assert run(tmp_path / "in", tmp_path / "out", "--thumbnail", "--contact-sheet") == 0
    found = names(tmp_path / "out")
    assert found[:9] == [
        *("a.rec.avi", "a.rec.contact.png", "a.rec.png", "a.st.avi", "a.st.contact.png", "a.st.png"),
        *("b.avi", "b.contact.png", "b.png"),
    ]
    assert len(found) == 12
    assert max(map(len, found)) <= 255


def test_the_command_of_the_readme_makes_the_movies_and_the_page_of_a_session(demo: Path, tmp_path: Path) -> None:
    (command,) = re.findall(r"^mrc2movie session movies (.*)$", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert closing_line(installed(demo / "demo_data", tmp_path / "movies", *command.split())) == "2 converted"
    assert names(tmp_path / "movies") == ["index.html", "tilt_series.mp4", "tomogram.mp4"]
