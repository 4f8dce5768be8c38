"""The page of all movies: its pictures, what it tells of each record, when it is written, what it leaves alone."""

import base64
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from faults import installed
from movies import LOSSLESS, Reads, coloured_frames, frames, ramp, run, thinned, write_mrc
from numpy.typing import NDArray

from mrc2movie import Settings
from mrc2movie.batch.page import page_of_run
from mrc2movie.batch.plan import plan
from mrc2movie.batch.report import RunProgress, Status
from mrc2movie.batch.run import do_jobs
from mrc2movie.pages import live
from mrc2movie.pages.cards import Cards, Failure
from mrc2movie.pages.html import page
from mrc2movie.pages.live import LivePage

rng = np.random.default_rng(17)


def data_of(output: Path) -> dict[str, Any]:
    """What the page of a directory tells its script."""
    text = (output / "index.html").read_text(encoding="utf-8")
    (found,) = re.findall(r'<script type="application/json" id="data">([^<]*)</script>', text)
    return dict(json.loads(found))


def cards_of(output: Path) -> dict[str, Any]:
    """The cards of a page, by the names of the inputs."""
    return {card["name"]: card for card in data_of(output)["cards"]}


def sheet_of(output: Path, movie: str) -> NDArray[np.uint8]:
    """A sheet as it is: (y, x), or (y, x, 3) blue, green, red."""
    found = cv2.imread(str(output / ".mrc2movie" / f"{movie}.sheet.jpg"), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return np.asarray(found, np.uint8)


def shrunk(frame: NDArray[np.uint8], long_side: int = 256) -> NDArray[np.uint8]:
    """The frame with means of areas, so many pixels long."""
    scale = long_side / max(frame.shape[:2])
    size = round(frame.shape[1] * scale), round(frame.shape[0] * scale)
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def nearest(cell: NDArray[np.uint8], candidates: list[NDArray[np.uint8]]) -> tuple[int, float]:
    """Which of the pictures a cell shows, and the mean difference."""
    losses = [float(np.abs(np.subtract(cell, candidate, dtype=int)).mean()) for candidate in candidates]
    return int(np.argmin(losses)), min(losses)


def volume(path: Path, *shape: int) -> Path:
    """A volume whose sections are all different, and smooth, so that JPEG changes little."""
    coarse = rng.integers(-99, 99, (shape[0], 6, 6)).astype(np.float32)
    size = shape[2], shape[1]
    return write_mrc(path, np.stack([cv2.resize(each, size, interpolation=cv2.INTER_CUBIC) for each in coarse]))


# The pictures


@pytest.mark.parametrize(
    ("shape", "positions"),
    thinned([((5, 40, 64), [*range(5)]), ((70, 60, 128), [*range(0, 70, 3)]), ((3, 900, 700), [0, 1, 2])], 3),
)
def test_the_sheet_shows_24_evenly_spaced_sections_from_the_first_to_the_last_or_all(
    tmp_path: Path, shape: tuple[int, int, int], positions: list[int]
) -> None:
    out = tmp_path / "out"
    options = (*LOSSLESS, "--playback=forward", "--report", "--label=section")
    assert run(volume(tmp_path / "a.mrc", *shape), out, *options) == 0
    assert run(tmp_path / "a.mrc", tmp_path / "plain", *LOSSLESS, "--playback=forward") == 0
    expected = [shrunk(frame) for frame in frames(tmp_path / "plain/a.avi")]
    sheet = sheet_of(out, "a.avi")
    rows = expected[0].shape[0]
    assert sheet.shape == (rows * len(positions), expected[0].shape[1])
    for at, position in enumerate(positions):
        found, loss = nearest(sheet[at * rows : (at + 1) * rows], expected)
        assert found == position
        assert loss < 2
    (card,) = cards_of(out).values()
    assert card["cells"] == [[position, None, position] for position in positions]
    poster = cv2.imread(str(out / ".mrc2movie/a.avi.poster.jpg"), cv2.IMREAD_UNCHANGED)
    assert poster is not None
    found, loss = nearest(np.asarray(poster, np.uint8), expected)
    assert found == shape[0] // 2
    assert loss < 3


def test_a_sheet_of_pure_noise_is_no_larger_than_400_kilobytes(tmp_path: Path) -> None:
    noise = rng.integers(-99, 99, (26, 256, 256)).astype(np.int8)
    assert run(write_mrc(tmp_path / "a.mrc", noise), tmp_path, "--report", "--range=-99,99", "--clip-limit=0") == 0
    sheet = tmp_path / ".mrc2movie/a.avi.sheet.jpg"
    assert 250_000 < sheet.stat().st_size <= 400_000
    assert sheet_of(tmp_path, "a.avi").shape == (24 * 256, 256)


def test_sheets_of_colour_are_in_colour(tmp_path: Path) -> None:
    raw = bytearray(write_mrc(tmp_path / "in.mrc", np.zeros((2, 60, 80), np.int8)).read_bytes()[:1024])
    raw[12:16] = (16).to_bytes(4, "little")
    colour = np.zeros((2, 60, 80, 3), np.uint8)
    colour[0], colour[1] = (250, 20, 20), (20, 20, 250)
    (tmp_path / "a.mrc").write_bytes(bytes(raw) + colour.tobytes())
    assert run(tmp_path / "a.mrc", tmp_path / "out", *LOSSLESS, "--range=0,255", "--report") == 0
    shown = coloured_frames(tmp_path / "out/a.avi")
    sheet = sheet_of(tmp_path / "out", "a.avi")
    for at in range(2):
        assert np.abs(sheet[90 + 180 * at, 120].astype(int) - shown[at][30, 40]).max() <= 4


def test_the_pictures_are_made_of_the_frames_that_pass_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = volume(tmp_path / "a.mrc", 12, 6, 10)
    reads = Reads(monkeypatch)
    assert run(source, tmp_path / "out", *LOSSLESS, "--report") == 0
    assert reads.of_sections(12, 240) == [2] * 12


def test_movies_without_pictures_for_the_page_are_made_again_and_no_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def closing(*options: str) -> str:
        capsys.readouterr()
        assert run(source, out, *options) == 0
        return capsys.readouterr().err.splitlines()[-1]

    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in "ab":
        volume(source / f"{name}.mrc", 3, 40, 60)
    assert closing() == "2 converted"
    assert not (out / "index.html").exists()
    assert closing("--report", "--dry-run") == "2 would be converted"
    assert not (out / "index.html").exists()
    assert closing("--report", "--thumbnail") == "2 converted"
    assert closing("--report") == "2 up to date"
    (out / ".mrc2movie/b.avi.sheet.jpg").write_bytes(b"other")
    assert closing("--report") == "1 converted, 1 up to date"
    assert closing() == "2 up to date"
    assert "poster" in cards_of(out)["a.mrc"]
    assert closing("--invert") == "2 converted"  # now the pictures show what the movies no longer do
    (out / "index.html").unlink()
    page_of(out)
    assert "poster" not in cards_of(out)["a.mrc"]
    assert closing("--invert", "--report") == "2 converted"
    assert "poster" in cards_of(out)["a.mrc"]


def page_of(output: Path, recursive: bool = False) -> None:
    """Write the page of a directory."""
    with LivePage(output, recursive, False) as made:
        pass
    assert made.error is None


# What the page tells


def test_a_card_tells_what_is_known_of_the_file(tmp_path: Path) -> None:
    tilts = [-60.0, -30.0, 0.0, 30.0, 60.0]
    voxels = volume(tmp_path / "plain.mrc", 5, 40, 64).read_bytes()
    source = tmp_path / "a.st"
    source.write_bytes(voxels)
    sections = (
        f"[ZValue = {z}]\nTiltAngle = {tilt}\nExposureDose = {3 + z / 10}\nTargetDefocus = -4\nPixelSpacing = 2.5\n"
        for z, tilt in enumerate(tilts)
    )
    (tmp_path / "a.st.mdoc").write_text("\n".join(sections))
    options = ("--report", "--fps=5", "--bin=2", "--range=-90,80", "--playback=forward")
    assert run(source, tmp_path / "out", *options) == 0
    (card,) = cards_of(tmp_path / "out").values()
    wanted = {
        "key": "a.avi",
        "name": "a.st",
        "source": str(source),
        "kind": "tilt series",
        "shape": [5, 40, 64],
        "voxel": [2.5, 2.5, 2.5],
        "tilts": [-60, 60],
        "dose": [3, 3.4],
        "defocus": 4,
        "greys": [-90, 80],
        "frames": [5, 32, 20, 5],
        "codec": "MJPG",
        "options": "--fps=5.0 --format=avi --codec=MJPG --playback=forward --range=-90,80 --bin=2",
        "cells": [[z, tilt, z] for z, tilt in enumerate(tilts)],
    }
    assert {name: card[name] for name in wanted} == wanted
    assert card["means"]["levels"].count("fe") == card["means"]["levels"].count("00") == 1
    assert len(card["contrast"]["levels"]) == 10


def test_a_dark_tilt_strikes_in_the_curve_and_in_words(tmp_path: Path) -> None:
    voxels = rng.normal(800, 20, (41, 40, 40)).astype(np.float32)
    voxels[13] *= 0.05
    assert run(write_mrc(tmp_path / "a.mrc", voxels), tmp_path / "out", "--report") == 0
    (card,) = cards_of(tmp_path / "out").values()
    levels = bytes.fromhex(card["means"]["levels"])
    assert levels[13] == 0
    assert min(levels[:13] + levels[14:]) > 240
    assert card["striking"] == [13]
    assert card["signals"] == ["much darker than neighbours: section 13"]
    assert "warnings" not in card


def test_a_curve_of_a_thousand_sections_keeps_the_one_that_strikes(tmp_path: Path) -> None:
    voxels = np.full((1200, 2, 2), 100, np.float32)
    voxels += rng.normal(0, 1, voxels.shape)
    voxels[717], voxels[400] = 5, 300
    assert run(write_mrc(tmp_path / "a.mrc", voxels), tmp_path / "out", "--report", "--max-size=2") == 0
    (card,) = cards_of(tmp_path / "out").values()
    levels = bytes.fromhex(card["means"]["levels"])
    assert len(levels) == 240
    assert levels.index(min(levels)) == pytest.approx(717 / 1200 * 240, abs=2)
    assert levels.index(max(levels)) == pytest.approx(400 / 1200 * 240, abs=2)


def test_the_page_shows_the_records_of_earlier_runs_and_of_directories_below(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "deep/er").mkdir(parents=True)
    volume(source / "a.mrc", 3, 20, 20)
    volume(source / "deep/er/b #1%.mrc", 3, 20, 20)
    assert run(source, out, "--recursive", "--report") == 0
    assert {card["key"] for card in data_of(out)["cards"]} == {"a.avi", "deep/er/b #1%.avi"}
    deep = cards_of(out)["b #1%.mrc"]
    assert deep["href"].startswith("deep/er/b%20%231%25.avi?")
    assert deep["sheet"].startswith("deep/er/.mrc2movie/b%20%231%25.avi.sheet.jpg?")
    volume(tmp_path / "c.mrc", 3, 20, 20)
    assert run(tmp_path / "c.mrc", out, "--report") == 0
    assert {card["key"] for card in data_of(out)["cards"]} == {"a.avi", "c.avi"}


def test_failures_have_their_line_and_movies_that_were_removed_are_called_so(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    volume(source / "a.mrc", 3, 20, 20)
    (source / "b.mrc").write_bytes(b"no MRC file")
    assert run(source, out, "--report") == 1
    found = data_of(out)
    assert found["gone"] == []
    assert found["failures"]["b.avi"]["name"] == "b.mrc"
    assert found["failures"]["b.avi"]["why"] == "is no MRC file but a text file"
    (out / "a.avi").unlink()
    page_of(out)
    assert data_of(out)["gone"] == ["a.avi"]
    assert data_of(out)["failures"] == found["failures"], "another run shows it, too"


def test_a_share_without_any_file_needs_no_page(tmp_path: Path) -> None:
    assert run(volume(tmp_path / "a.mrc", 3, 20, 20), tmp_path / "out", "--report", "--shard", "2/3") == 0


@pytest.mark.large
def test_a_watch_says_once_that_there_can_be_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    volume(tmp_path / "a.mrc", 3, 20, 20)
    os.utime(tmp_path / "a.mrc", (time.time() - 100,) * 2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/index.html").write_text("mine")
    words = ("--report", "--watch=0.2", "--watch-until=0.6")
    assert run(tmp_path / "a.mrc", tmp_path / "out", *words) == 1
    assert capsys.readouterr().err.count("is there and not ours") == 1
    assert (tmp_path / "out/a.avi").exists()


def test_the_page_lasts_through_a_watch(tmp_path: Path, hasty: None) -> None:
    volume(tmp_path / "a.mrc", 3, 20, 20)
    os.utime(tmp_path / "a.mrc", (time.time() - 100,) * 2)
    words = ("--report", "--watch=0.2", "--watch-until=0.6")
    assert run(tmp_path / "a.mrc", tmp_path / "out", *words) == 0
    assert list(cards_of(tmp_path / "out")) == ["a.mrc"]
    assert not data_of(tmp_path / "out")["live"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[" * 100_000, bytes(range(256)), b"7", b'{"movie": {"name": "../x"}}'])
def test_a_damaged_record_is_called_so_and_hurts_no_other(tmp_path: Path, damage: bytes) -> None:
    volume(tmp_path / "a.mrc", 3, 20, 20)
    assert run(tmp_path / "a.mrc", tmp_path / "out", "--report") == 0
    (tmp_path / "out/.mrc2movie/b.avi.json").write_bytes(damage)
    page_of(tmp_path / "out")
    cards = cards_of(tmp_path / "out")
    assert cards["b.avi"]["warnings"] == ["its record cannot be read"]
    assert cards["a.mrc"]["kind"]


STRANGE: list[Any] = [None, True, -1, 10**400, float("nan"), "x", "\ud800", [], {}, ["x"], {"x": [1]}, [[1], [2]]]


def test_a_record_with_strange_values_gives_a_card_without_them(tmp_path: Path) -> None:
    volume(tmp_path / "a.mrc", 3, 20, 20)
    assert run(tmp_path / "a.mrc", tmp_path / "out", "--report") == 0
    path = tmp_path / "out/.mrc2movie/a.avi.json"
    kept = json.loads(path.read_text())
    for name in kept.keys() - {"movie"}:
        for strange in STRANGE:
            path.write_text(json.dumps({**kept, name: strange}))
            cards = Cards(tmp_path / "out", False)
            cards.read()
            (card,) = json.loads("".join(cards.in_json([])))["cards"]
            assert card["key"] == "a.avi"
            assert card["href"].startswith("a.avi?")
            assert "its record cannot be read" not in card.get("warnings", []), (name, strange)


def test_a_directory_without_any_record_has_an_empty_page(tmp_path: Path) -> None:
    page_of(tmp_path)
    assert data_of(tmp_path)["cards"] == []


HOSTILE = "</script><img src=x onerror=alert(1)>]]>&amp;'\"\u2028\u202e<!--"


def test_no_name_becomes_markup_and_the_policy_allows_the_script_of_the_page_alone(tmp_path: Path) -> None:
    failure = Failure(Path("/in") / HOSTILE, tmp_path / HOSTILE, HOSTILE)
    text = "".join(page(HOSTILE, Cards(tmp_path, False).in_json([failure]), 0, 0))
    assert "onerror=" in text
    assert "<img src=x" not in text
    assert "\u2028" not in text
    assert len(re.findall("</script", text)) == len(re.findall("<script", text)) == 2
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    for what, content in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{what}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert not re.findall(r"https?:|//\w", policy)
    assert not re.findall(r'(?:src|href)="(?!data:,|#)', text)


# When the page is written


def test_a_file_that_is_no_page_of_ours_is_left_alone_and_the_movies_are_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = volume(tmp_path / "a.mrc", 3, 20, 20), tmp_path / "out"
    out.mkdir()
    (out / "index.html").write_text("<title>mine</title>")
    assert run(source, out, "--report") == 1
    assert f"{out}/index.html: is there and not ours; --overwrite replaces it" in capsys.readouterr().err
    assert (out / "index.html").read_text() == "<title>mine</title>"
    assert (out / "a.avi").exists()
    assert run(source, out, "--report", "--overwrite") == 0
    assert list(cards_of(out)) == ["a.mrc"]
    assert run(source, out, "--report") == 0


@pytest.mark.parametrize("what", ["a link", "a directory", "records that are a link"])
def test_nothing_is_written_through_a_link_or_over_a_directory(tmp_path: Path, what: str) -> None:
    source, out = volume(tmp_path / "a.mrc", 3, 20, 20), tmp_path / "out"
    assert run(source, out) == 0
    (tmp_path / "elsewhere").mkdir()
    if what == "a link":
        (out / "index.html").symlink_to(tmp_path / "elsewhere/index.html")
    elif what == "a directory":
        (out / "index.html").mkdir()
    else:
        shutil.rmtree(out / ".mrc2movie")
        (out / ".mrc2movie").symlink_to(tmp_path / "elsewhere")
    with LivePage(out, False, False) as made:
        pass
    assert made.error is not None
    assert str(out / "index.html") in str(made.error)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def waited_for(what: Callable[[], bool]) -> bool:
    """Whether something comes true within some seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are written anew after a twentieth of a second."""
    monkeypatch.setattr(live, "_FIRST_SECONDS", 0.05)
    monkeypatch.setattr(live, "_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(live, "_SHARE", 0)


def test_the_page_follows_the_run_and_ends_with_it(tmp_path: Path, hasty: None) -> None:
    assert run(volume(tmp_path / "a.mrc", 3, 20, 20), tmp_path / "out") == 0
    assert run(volume(tmp_path / "b.mrc", 3, 20, 20), tmp_path / "other") == 0
    out = tmp_path / "out"
    with LivePage(out, False, False) as made:
        assert waited_for((out / "index.html").exists)
        assert data_of(out)["live"]
        assert list(cards_of(out)) == ["a.mrc"]
        before = (out / "index.html").stat()
        time.sleep(0.3)
        after = (out / "index.html").stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), "written without need"
        shutil.copy(tmp_path / "other/.mrc2movie/b.avi.json", out / ".mrc2movie")
        assert waited_for(lambda: "b.mrc" in cards_of(out))
        made.failed(Failure(Path("c.mrc"), out / "c.avi", "bad"))
        assert waited_for(lambda: "c.avi" in data_of(out)["failures"])
        assert data_of(out)["live"]
    assert not data_of(out)["live"]
    assert sorted(cards_of(out)) == ["a.mrc", "b.mrc"]
    assert not [path for path in (out / ".mrc2movie").iterdir() if "index" in path.name]


def test_one_page_lasts_through_many_runs(tmp_path: Path, hasty: None) -> None:
    def shows(count: int) -> bool:
        return (out / "index.html").exists() and len(cards_of(out)) == count

    settings, out = Settings(report=True), tmp_path / "out"
    with page_of_run(out, settings, RunProgress()) as (progress, problems):
        for count, name in enumerate(("a.mrc", "b.mrc"), start=1):
            jobs = plan([volume(tmp_path / name, 3, 20, 20)], out, settings)
            assert [outcome.status for outcome in do_jobs(jobs, settings, progress, None)] == [Status.CONVERTED]
            assert waited_for(partial(shows, count))
            assert data_of(out)["live"]
    assert problems == []
    assert not data_of(out)["live"]
    assert list(cards_of(out)) == ["a.mrc", "b.mrc"]


def test_a_run_that_is_interrupted_ends_its_page_and_spoils_none(tmp_path: Path, hasty: None) -> None:
    assert run(volume(tmp_path / "a.mrc", 3, 20, 20), tmp_path / "out", "--report") == 0
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt), LivePage(out, False, False) as made:
        made.failed(Failure(Path("c.mrc"), out / "c.avi", "bad"))
        assert waited_for(lambda: "c.avi" in data_of(out)["failures"])
        raise KeyboardInterrupt
    assert not data_of(out)["live"]
    assert list(cards_of(out)) == ["a.mrc"]
    with pytest.raises(KeyboardInterrupt), LivePage(out, False, False):
        raise KeyboardInterrupt  # before anything was read
    assert list(cards_of(out)) == ["a.mrc"]


@pytest.mark.large
def test_a_run_waits_where_another_has_just_written_the_page(
    tmp_path: Path, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LivePage(tmp_path, False, False) as one:
        assert waited_for((tmp_path / "index.html").exists)
        monkeypatch.setattr(live, "_PAUSE_SECONDS", 0.5)
        time.sleep(0.2)
        page_of(tmp_path)
        begin = time.monotonic()
        one.failed(Failure(Path("c.mrc"), tmp_path / "c.avi", "bad"))
        assert waited_for(lambda: "c.avi" in data_of(tmp_path)["failures"])
        assert time.monotonic() - begin > 0.3


def test_a_page_that_another_living_run_goes_on_with_stays_live(tmp_path: Path) -> None:
    from mrc2movie.store.claim import Claim

    with Claim(tmp_path / "a.avi"):
        page_of(tmp_path)
        assert data_of(tmp_path)["live"] == 10
    page_of(tmp_path)
    assert data_of(tmp_path)["live"] == 0


def test_what_a_killed_run_left_of_a_page_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".mrc2movie").mkdir()
    old = tmp_path / ".mrc2movie/0123456789ab-1-1-0.index.html"
    young = tmp_path / ".mrc2movie/0123456789ab-1-1-1.index.html"
    mine = tmp_path / ".mrc2movie/index.html"
    for path in (old, young, mine):
        path.touch()
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    page_of(tmp_path)
    assert [path.exists() for path in (old, young, mine)] == [False, True, True]


def test_the_installed_command_writes_the_page_and_says_so(tmp_path: Path) -> None:
    volume(tmp_path / "a.mrc", 3, 20, 20)
    result = installed(tmp_path / "a.mrc", tmp_path / "out", "--report")
    assert result.returncode == 0
    assert f"{tmp_path}/out/index.html shows 1 movie\n" in result.stderr
    assert list(cards_of(tmp_path / "out")) == ["a.mrc"]


def test_an_input_that_lies_with_the_page_is_none(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", ramp(2, 20, 20))
    for _ in range(2):
        assert run(tmp_path, tmp_path, "--report", "--pattern=[ai]*", "--log", tmp_path / "log") == 0


def test_a_failure_of_an_earlier_run_is_shown_until_the_file_is_converted(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    write_mrc(source / "a.mrc", ramp())
    (source / "b.mrc").write_bytes(b"no MRC file")
    assert run(source, out) == 1
    assert run(source / "a.mrc", out, "--report", "--fps", "5") == 0
    assert "b.mrc" in (out / "index.html").read_text("utf-8")
    write_mrc(source / "b.mrc", ramp())
    assert run(source, out, "--report") == 0
    assert '"failures":{}' in (out / "index.html").read_text("utf-8")
