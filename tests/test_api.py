"""The package as a programmer calls it."""

import copy
import dataclasses
import inspect
import os
import pickle
import pydoc
import re
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from movies import coloured_frames, frames, ramp, reference, sections_seen, write_mrc
from numpy.typing import NDArray

import mrc2movie
from mrc2movie import Settings, convert, convert_directory
from mrc2movie.batch.report import Status
from mrc2movie.errors import InputError, Mrc2movieError, UsageError
from mrc2movie.options.settings import OPTIONS
from mrc2movie.processors import available_processors
from mrc2movie.store import spool as spools
from mrc2movie.store.spool import PacketSpool
from mrc2movie.workers import Workers


def test_convert_makes_one_movie_and_tells_of_it_without_printing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp())
    heard = []
    made = convert(source, str(tmp_path / "x.avi"), Settings(jobs=2), progress=lambda *what: heard.append(what))
    assert made.target == tmp_path / "x.avi"
    assert made.record.frames.frames == len(frames(made.target)) == 6
    assert heard == [(stage, n, 4) for stage in ("measuring", "converting") for n in (1, 2, 3, 4)]
    assert capfd.readouterr() == ("", "")


def test_convert_directory_reports_what_became_of_each_file_without_printing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_mrc(tmp_path / "a.mrc", ramp())
    (tmp_path / "b.mrc").write_bytes(b"bad")
    report = convert_directory(tmp_path, tmp_path / "out")
    assert [outcome.status for outcome in report.outcomes] == [Status.CONVERTED, Status.FAILED]
    assert report.exit_status == 1
    assert capfd.readouterr() == ("", "")


def test_errors_are_exceptions_that_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.mrc: cannot be opened \(No such file or directory\)") as raised:
        convert(tmp_path / "missing.mrc", tmp_path / "x.avi")
    assert raised.value.path == tmp_path / "missing.mrc"
    with pytest.raises(UsageError, match="nothing there: does not exist"):
        convert_directory("nothing there", tmp_path / "out")
    with pytest.raises(Mrc2movieError):
        convert(write_mrc(tmp_path / "in.mrc", ramp()), tmp_path / "no directory" / "x.avi")


def test_settings_that_are_not_allowed_cannot_be_built() -> None:
    with pytest.raises(UsageError, match="--quality 0: must be a whole number from 1 to 100"):
        Settings(quality=0)
    with pytest.raises(UsageError, match=r"--quality 90\.5"):
        Settings(quality=90.5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--recursive yes: must be True or False"):
        Settings(recursive="yes")  # type: ignore[arg-type]
    assert Settings(codec="xvid").codec == "XVID"
    assert Settings(discard_range=[1, 2]).discard_range == (1, 2)  # type: ignore[arg-type]


def test_unknown_names_of_the_package_are_unknown() -> None:
    with pytest.raises(AttributeError, match="no attribute 'konvert'"):
        mrc2movie.konvert  # noqa: B018
    assert callable(mrc2movie.convert)


def test_the_bytes_of_a_movie_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp(20, 40, 40))
    movies = [convert(source, tmp_path / f"{jobs}.avi", Settings(jobs=jobs)).target for jobs in (1, 2, 5)]
    assert len({movie.read_bytes() for movie in movies}) == 1


def test_workers_keep_the_order_and_take_only_a_few_items_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    with Workers(3) as workers, workers.share() as share:
        for position, result in enumerate(share.map(lambda: lambda number: number * 2, items())):
            assert result == 2 * position
            assert len(taken) <= position + 6


def test_a_worker_that_fails_ends_the_run_with_its_own_error() -> None:
    def fail(number: int) -> int:
        if number == 3:
            raise InputError("number three")
        return number

    with pytest.raises(InputError, match="number three"), Workers(2) as workers, workers.share() as share:
        list(share.map(lambda: fail, range(100)))


def test_packets_past_the_bound_go_to_a_file_without_a_name_and_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "free_memory", lambda: 0)
    with closing(PacketSpool(tmp_path)) as spool:
        for number in range(26):  # 104 MB; 96 are kept in memory
            spool.append(np.full(2**22 + number, number, np.uint8))
        assert list(tmp_path.iterdir()) == []
        for number in reversed(range(26)):
            packet = spool[number]
            assert (packet.size, packet.min(), packet.max()) == (2**22 + number, number, number)


def test_packets_stay_in_memory_as_long_as_much_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "_KEPT_IN_MEMORY", 100)
    monkeypatch.setattr(spools, "_LOOKED_EVERY", 50)
    monkeypatch.setattr(spools, "_MOST_IN_MEMORY", 500)
    packet = np.zeros(10, np.uint8)
    for free, kept in ((0, 100), (1000, 280), (10**6, 500)):
        monkeypatch.setattr(spools, "free_memory", lambda free=free: free)
        with closing(PacketSpool(tmp_path)) as spool:
            for count in range(1, 70):
                spool.append(packet + np.uint8(count))
                assert (spool._spool is None) == (10 * count <= kept)
            assert [int(spool[place][0]) for place in (0, 30, 68)] == [1, 31, 69]


def test_where_the_number_of_processors_is_unknown_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("process_cpu_count", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_processors() == 1


@pytest.mark.parametrize("lacking", ["O_DIRECTORY", "preadv"])
def test_a_movie_is_made_without_what_windows_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp())
    monkeypatch.delattr(os, lacking)
    convert(source, tmp_path / "x.avi")
    assert len(frames(tmp_path / "x.avi")) == 6


@pytest.mark.parametrize("name", ["x", "x.movie", "x.mpg"])
def test_a_target_that_is_named_for_no_format_is_refused(tmp_path: Path, name: str) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp())
    with pytest.raises(UsageError, match=rf"{name} is named for no format; let its name end in one of \.avi, \.mp4"):
        convert(source, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mrc"]


def test_a_codec_that_cannot_be_written_is_refused_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp())
    with pytest.raises(UsageError, match="--codec ZZZZ: OpenCV cannot write it"):
        convert(source, tmp_path / "x.avi", Settings(codec="ZZZZ"))
    assert capfd.readouterr() == ("", "")


def test_opencv_has_its_threads_again_when_the_last_of_several_conversions_ends(tmp_path: Path) -> None:
    sources = [write_mrc(tmp_path / f"{count}.mrc", ramp(count, 200, 200)) for count in (20, 60)]
    cv2.setNumThreads(3)
    during: list[int] = []
    begun = threading.Event()

    def listen(stage: str, done: int, total: int) -> None:
        begun.set()
        during.append(cv2.getNumThreads())

    first = threading.Thread(target=convert, args=(sources[0], tmp_path / "a.avi"), kwargs={"progress": listen})
    first.start()
    begun.wait(60)
    convert(sources[1], tmp_path / "b.avi", progress=listen)
    first.join()
    assert set(during) == {1}
    assert cv2.getNumThreads() == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"discard_range": (1.5, 3)},
        {"discard_range": "13"},
        {"discard_percentage": "00"},
        {"range": "sigma:1e308"},
        {"range": "-1e308,1e308"},
        {"range": ":1,2"},
    ],
)
def test_settings_refuse_what_would_mean_something_else(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} .*: must be "):
        Settings(**wrong)


def test_the_signature_of_settings_tells_its_fields() -> None:
    parameters = inspect.signature(Settings).parameters
    assert parameters["fps"].default == 30
    assert list(parameters) == [field.name for field in dataclasses.fields(Settings)]


@pytest.mark.parametrize(
    ("before", "changes", "same"),
    [
        ({"preset": "auto"}, {"jobs": 2}, {"preset": "auto", "jobs": 2}),
        ({"preset": "tilt"}, {"jobs": 2}, {"preset": "tilt", "jobs": 2}),
        ({"preset": "auto", "fps": 30}, {"jobs": 2}, {"preset": "auto", "fps": 30, "jobs": 2}),
        ({"preset": "auto"}, {"fps": 12}, {"preset": "auto", "fps": 12}),
        ({"preset": "tilt"}, {"preset": "tomogram"}, {"preset": "tomogram"}),
        ({"preset": "tilt", "fps": 12}, {"preset": "tomogram"}, {"preset": "tomogram", "fps": 12}),
        ({"preset": "tilt"}, {"preset": None}, {}),
        (
            {"preset": "tilt"},
            {"label": None, "match_mean": False},
            {"preset": "tilt", "label": "none", "match_mean": False},
        ),
        ({"format": "mp4"}, {"codec": "FFV1", "format": "avi"}, {"codec": "FFV1", "format": "avi"}),
        ({"codec": "H264"}, {"codec": "MJPG"}, {"codec": "MJPG"}),
        ({}, {"discard_range": [1, 2]}, {"discard_range": (1, 2)}),
    ],
)
@pytest.mark.parametrize("copied", [lambda it: it, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_settings_with_a_change_are_those_that_were_given_and_the_change(
    before: dict[str, Any], changes: dict[str, Any], same: dict[str, Any], copied: Callable[[Settings], Settings]
) -> None:
    changed, expected = dataclasses.replace(copied(Settings(**before)), **changes), Settings(**same)
    for settings, others in zip(
        *([copied(each), each.with_preset("tomogram")] for each in (changed, expected)), strict=True
    ):
        assert settings == others
        assert settings.movie_options() == others.movie_options()


def test_settings_look_like_the_options_that_they_are() -> None:
    settings = Settings(preset="tilt", fps=12)
    assert repr(settings).startswith("Settings(preset='tilt', fps=12.0, format='mp4', ")
    assert "given" not in repr(settings)
    assert hash(settings) == hash(Settings(preset="tilt", fps=12.0, jobs=None))
    assert settings == Settings(**{name: getattr(settings, name) for name in (option.name for option in OPTIONS)})
    for wrong in ({"speed": 3}, {"given": {"speed": 3}}):
        with pytest.raises(TypeError, match=r"Settings\.__init__\(\) got an unexpected keyword argument 'speed'"):
            Settings(**wrong)
    assert "fps: float = 30.0" in pydoc.plain(pydoc.render_doc(Settings))


NAMES = {"Conversion", "FileInfo", "Outcome", "Report", "Settings", "Status", "convert", "convert_directory", "inspect"}


def test_the_package_shows_its_names_and_loads_numpy_only_for_what_is_used() -> None:
    assert {"__version__"} | NAMES == set(mrc2movie.__all__)
    program = (
        "import sys, mrc2movie; print(*dir(mrc2movie)); print(*sys.modules)\n"
        f"for name in {sorted(NAMES)}: assert getattr(mrc2movie, name).__doc__, name"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    names, modules = (set(line.split()) for line in shown.splitlines())
    assert names >= NAMES
    assert not {"numpy", "cv2", "tqdm", "rich", "logging"} & modules


def test_the_name_of_the_movie_decides_its_format_where_none_was_given(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp(3, 16, 16))
    for name, codec in (("a.mp4", "H264"), ("b.webm", "VP9"), ("c.avi", "MJPG")):
        made = convert(source, tmp_path / name, Settings(fps=12))
        assert made.record.settings["codec"] == codec
        assert made.record.frames.fps == 12
    assert convert(source, tmp_path / "d.avi", Settings(preset="tilt")).record.frames.fps == 4
    with pytest.raises(UsageError, match=r"e\.avi is named for another format than mp4"):
        convert(source, tmp_path / "e.avi", Settings(format="mp4"))
    with pytest.raises(UsageError, match="--codec XVID"):
        convert(source, tmp_path / "f.mp4", Settings(codec="XVID"))


@pytest.mark.parametrize(
    "dtype", ["i1", "u1", "<i2", ">i2", ">u2", "<i4", ">u4", "<f4", ">f4", ">f2", "f8", ">i8", "?"]
)
def test_an_array_of_any_real_dtype_becomes_the_movie_of_its_sections(tmp_path: Path, dtype: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 2 if dtype == "?" else 120, (4, 8, 10)).astype(dtype)
    before = voxels.copy()
    voxels.flags.writeable = False
    made = convert(voxels, tmp_path / "a.avi", Settings(codec="FFV1", clip_limit=0, range="minmax", jobs=2))
    low, high = float(before.min()), float(before.max())
    shown = reference(before, low, high)
    assert sections_seen(tmp_path / "a.avi", shown) == [0, 1, 2, 3, 2, 1]
    assert made.record.grey_range == (low, high)
    assert np.array_equal(voxels, before)
    assert made.record.notes == (
        (f"the voxels are {np.dtype(dtype).newbyteorder('=')}, and are taken as float32",) if "8" in dtype else ()
    )


def test_an_array_in_any_layout_is_read_a_section_at_a_time(tmp_path: Path) -> None:
    lossless = Settings(codec="FFV1", clip_limit=0, range="minmax", jobs=1)
    stored = np.asfortranarray(ramp(4, 8, 10))[:, ::2, ::-1]
    shown = reference(stored, stored.min(), stored.max())
    convert(stored, tmp_path / "a.avi", lossless)
    assert sections_seen(tmp_path / "a.avi", shown) == [0, 1, 2, 3, 2, 1]
    convert(stored, tmp_path / "a.avi", dataclasses.replace(lossless, flip="no"))
    assert sections_seen(tmp_path / "a.avi", [np.flipud(picture) for picture in shown]) == [0, 1, 2, 3, 2, 1]
    convert(stored, tmp_path / "y.avi", dataclasses.replace(lossless, axis="y"))
    assert len(frames(tmp_path / "y.avi")) == 6

    large = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (200, 512, 512))
    large[:] = np.arange(200)[:, None, None]
    tracemalloc.start()
    convert(large, tmp_path / "b.avi", Settings(jobs=1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < large.nbytes / 4, "the array was copied"


def test_a_coloured_array_keeps_its_colours_and_an_array_its_voxel_size(tmp_path: Path) -> None:
    voxels = np.zeros((3, 32, 64, 3), np.uint8)
    voxels[:, :16, :, 0] = 200  # the lower half is red
    made = convert(voxels, tmp_path / "a.avi", Settings(clip_limit=0, scale_bar=True), voxel_size_A=(10, 10, 20))
    blue, green, red = coloured_frames(made.target)[0][24, 8].astype(int)
    assert red > 150 > 40 > max(blue, green)
    assert not coloured_frames(made.target)[0][8, 8].any()
    with pytest.raises(InputError, match="array: has no voxel size, which --lowpass needs"):
        convert(ramp(), tmp_path / "b.avi", Settings(lowpass=40))
    convert(ramp(), tmp_path / "b.avi", Settings(lowpass=40), voxel_size_A=13.5)


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.zeros((4, 5)), r"of shape \(4, 5\) is no stack of sections; .*array\[None\]"),
        (np.zeros((2, 0, 5)), r"of shape \(2, 0, 5\) is no stack of sections"),
        (np.zeros((2, 4, 5, 4), np.uint8), r"of shape \(2, 4, 5, 4\) is no stack of sections"),
        (np.zeros((2, 4, 5, 3)), "of float64 is no stack of coloured sections"),
        (np.zeros((2, 4, 5), complex), "of complex128 has no real numbers"),
    ],
)
def test_an_array_that_is_no_stack_is_refused(tmp_path: Path, array: NDArray[Any], why: str) -> None:
    with pytest.raises(InputError, match=f"array: {why}"):
        convert(array, tmp_path / "a.avi")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [0, -1, float("nan"), (1, 2), "big"])
def test_a_voxel_size_that_is_none_is_refused(tmp_path: Path, size: Any) -> None:
    with pytest.raises(UsageError, match=r"voxel_size_A .* is no size"):
        convert(ramp(), tmp_path / "a.avi", voxel_size_A=size)
    with pytest.raises(UsageError, match=r"voxel_size_A is for arrays; give Settings\(pixel_size=\.\.\.\)"):
        convert(write_mrc(tmp_path / "in.mrc", ramp()), tmp_path / "a.avi", voxel_size_A=2)


def test_the_movie_of_an_array_is_no_other_inputs_movie(tmp_path: Path) -> None:
    convert(ramp(), tmp_path / "a.avi", Settings(thumbnail=64))
    convert(ramp(), tmp_path / "a.avi")  # the thumbnail stays known
    write_mrc(tmp_path / "a.mrc", ramp())
    (outcome,) = convert_directory(tmp_path / "a.mrc", tmp_path).outcomes
    assert (outcome.status, outcome.why) == (
        Status.LEFT_ALONE,
        f"{tmp_path}/a.avi is the movie of array; --overwrite replaces it, or take another OUTPUT_DIR",
    )


def test_convert_logs_notes_and_warnings_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    voxels = ramp(4, 64, 64, "float32")
    voxels[0, 0, 0] = np.nan
    with caplog.at_level("INFO", "mrc2movie"):
        convert(write_mrc(tmp_path / "in.mrc", voxels), tmp_path / "a.avi", Settings(max_size=32, range="minmax"))
        first = [(record.levelname, record.getMessage().split(": ", 1)[1]) for record in caplog.records]
        caplog.clear()
        convert_directory(tmp_path / "in.mrc", tmp_path / "out", Settings(max_size=32, range="minmax"))
    assert first[:3] == [
        ("WARNING", "1 voxels are NaN or infinite and shown black"),
        ("WARNING", "quality: NaN or infinite voxels in section 0"),
        ("INFO", "made smaller from 64 x 64 to 32 x 32 (--max-size)"),
    ]
    assert first[3][1].startswith("6 frames of 32 x 32, ")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO", "INFO"]


def test_progress_may_be_a_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp())
    convert(source, tmp_path / "a.avi", Settings(axis="x"), progress=True)
    shown = capsys.readouterr().err
    assert re.search(r"\rin\.mrc: 100%\|█+\| \d\d:\d\d<00:00, converting\n$", shown)
    convert_directory(tmp_path, tmp_path / "out", progress=True)
    shown = capsys.readouterr().err
    assert re.search(r"\r100%\|█+\| \d+/\d+ \[[^]]*in\.mrc\]\n$", shown)
    convert(source, tmp_path / "b.avi", progress=False)
    assert capsys.readouterr().err == ""


def test_results_are_shown_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "in.rawtlt").write_text("".join(f"{angle}\n" for angle in range(-48, 48)))
    source = write_mrc(tmp_path / "in.mrc", ramp(96, 4, 4))
    made = convert(source, tmp_path / "a.avi")
    assert re.fullmatch(
        rf"<Conversion {source} -> {made.target}: 190 frames of 4 x 4, [\d.]+ MB in [\d.]+ s>", repr(made)
    )
    report = convert_directory(source, tmp_path / "out")
    assert repr(report) == "<Report: 1 converted>"
    assert report.seconds >= report.outcomes[0].seconds > 0
    assert report.outcomes[0].source_size == source.stat().st_size
    known = mrc2movie.inspect(str(source))
    assert re.fullmatch(rf"<FileInfo {source}: .*, size 4 x 4 x 96 .*>", repr(known))
    assert "<td>-48 … 47 degrees by in.rawtlt</td>" in known._repr_html_()
    assert len(repr(known)) < 500
    assert "93, 94" not in repr((made.record, known.description))
    assert mrc2movie.inspect("no & such").error.startswith("cannot be opened")
    assert "no &amp; such" in mrc2movie.inspect("no & such")._repr_html_()


def test_a_conversion_without_its_movie_shows_the_facts_alone(tmp_path: Path) -> None:
    made = convert(write_mrc(tmp_path / "<in>.mrc", ramp()), tmp_path / "a.avi")
    assert "<img" in made._repr_html_()
    made.target.write_bytes(b"another")
    assert "<img" not in made._repr_html_()
    made.target.unlink()
    assert "6 frames of 10 x 6" in made._repr_html_()
    assert "<in>" not in made._repr_html_()
