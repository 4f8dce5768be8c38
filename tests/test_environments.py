"""Other OpenCVs and broken ones, what the package declares, and what its wheel and its documents hold."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import cv2
import numpy as np
import pytest
from movies import frames, packets, ramp, run, write_mrc

import mrc2movie
from mrc2movie.picture.labels import put_text, text_stamp

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def run_beside(opencv: str, packages: dict[str, str], directory: Path) -> subprocess.CompletedProcess[str]:
    """The command where another ``cv2`` was installed by these packages."""
    (directory / "cv2").mkdir(parents=True)
    (directory / "cv2" / "__init__.py").write_text(opencv)
    for name, number in packages.items():
        about = directory / f"{name.replace('-', '_')}-{number}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    source = write_mrc(directory / "in.mrc", ramp())
    return subprocess.run(
        [sys.executable, "-m", "mrc2movie", source, directory / "out"],
        env={**os.environ, "PYTHONPATH": f"{directory}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("opencv", "why"),
    [
        ("raise ImportError('libGL.so.1: no such file')", "OpenCV cannot be imported (libGL.so.1: no such file)"),
        ("", "OpenCV cannot be imported (module 'cv2' has no attribute '__version__')"),
        ("__version__ = '4.5.5'", "OpenCV 4.5.5 is too old"),
    ],
)
def test_an_opencv_that_cannot_work_is_named_with_the_line_that_cures_it(tmp_path: Path, opencv: str, why: str) -> None:
    done = run_beside(opencv, {"opencv-python": "4.5.5", "opencv-python-headless": "5.0.0"}, tmp_path)
    (line,) = done.stderr.splitlines()
    pip = f"{sys.executable} -m pip"
    assert done.returncode == 2
    assert why in line
    assert "installed in the same place are opencv-python 4.5.5 and opencv-python-headless 5.0.0" in line
    assert line.endswith(
        f"{pip} uninstall -y opencv-python opencv-python-headless && {pip} install opencv-python-headless"
    )
    assert not (tmp_path / "out").exists()


def test_labels_are_written_where_opencv_has_no_font(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "FontFace", raising=False)
    source = write_mrc(tmp_path / "in.mrc", np.zeros((2, 240, 320), np.uint8), cella=(3200, 2400, 20))
    (tmp_path / "in.rawtlt").write_text("-3\n3\n")
    words = ("--codec", "FFV1", "--range", "0,1", "--label", "tilt,section", "--scale-bar", "--contact-sheet")
    assert run(source, tmp_path / "out", *words) == 0
    first, second = frames(tmp_path / "out" / "in.avi")
    for corner in (np.s_[:80, :160], np.s_[-60:, -160:]):
        assert first[corner].max() > 240
    rows, columns = np.nonzero(first != second)  # the sign of the tilt, the number of the section
    assert columns.size
    assert (rows.max() < 80, columns.max() < 160) == (True, True)


def test_letters_of_strokes_fit_their_stamp_and_know_degrees_minus_and_micrometres() -> None:
    stamp = text_stamp(["−60.0°", "2 µm"], None, 20)  # noqa: RUF001
    assert stamp.ink.any()
    if not hasattr(cv2, "FontFace"):  # OpenCV 5 puts letters of its font in their place, which are wider
        assert stamp.cover[[0, -1]].max() < 128
        assert stamp.cover[:, [0, -1]].max() < 128
    drawn = []
    for text in ("−1° µ", "-1 deg u", "?1? ?"):  # noqa: RUF001
        drawn.append(ink := np.zeros((40, 200), np.uint8))
        put_text(ink, text, (5, 30), None, 20)
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_a_blosc_built_for_another_numpy_is_named_and_hurts_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "blosc2.py").write_text("raise ValueError('numpy.dtype size changed')")
    monkeypatch.delitem(sys.modules, "blosc2", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    files = tmp_path / "in"
    files.mkdir()
    raw = bytearray(write_mrc(files / "good.mrc", ramp()).read_bytes())
    raw[12:16] = (1001).to_bytes(4, "little")
    chunk = b"\2\1\0\0" + np.array([120, 120, 136], "<u4").tobytes() + bytes(120)
    (files / "packed.mrcz").write_bytes(raw[:1024] + 4 * chunk)
    assert run(files, tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "blosc2 cannot be imported (numpy.dtype size changed); pip install --upgrade blosc2 to read it" in said
    assert (tmp_path / "out" / "good.avi").exists()
    assert "bug" not in said


def test_packets_come_back_whole_from_any_opencv(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp(3, 64, 80))
    assert run(source, tmp_path / "out", "--playback", "forward") == 0
    assert all(packet[:2] == b"\xff\xd8" and packet[-2:] == b"\xff\xd9" for packet in packets(tmp_path / "out/in.avi"))


def test_the_installed_metadata_is_that_of_this_version() -> None:
    assert (ROOT / "docs" / "changelog.md").read_text("utf-8").split("## ")[1].startswith(mrc2movie.__version__)
    assert mrc2movie.__version__ in (ROOT / "docs" / "cite.md").read_text("utf-8")
    assert PROJECT["authors"] == [{"name": "mrc2movie developers"}]


def test_every_dependency_has_a_lower_bound_and_the_conda_recipe_has_the_same() -> None:
    recipe = (ROOT / "docs" / "conda" / "recipe.yaml").read_text("utf-8")
    assert re.search(r"^  version: (.+)$", recipe, re.MULTILINE)[1] == mrc2movie.__version__  # type: ignore[index]
    for requirement in PROJECT["dependencies"]:
        name, bound = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement).groups()  # type: ignore[union-attr]
        conda = {"opencv-python-headless": "py-opencv"}.get(name, name)
        assert f"    - {conda} >={bound}\n" in recipe


def test_this_environment_is_within_the_bounds() -> None:
    for requirement in PROJECT["dependencies"]:
        name, bound = requirement.split(">=")
        found = [int(part) for part in version(name).split(".")[:3]]
        assert found >= [int(part) for part in bound.split(".")]
    assert requires("mrc2movie")


def test_the_lines_of_python_versions_agree() -> None:
    said = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert PROJECT["requires-python"] == f">={said[0]}"
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in said
