"""Every name that a file may have is converted, and shown escaped wherever it is shown."""

import json
import os
import pty
import re
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from faults import COMMAND, installed, unfinished
from movies import thinned, write_mrc
from numpy.typing import NDArray

from mrc2movie.store.names import fitting

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows allows few of these names")

STEMS = (
    b"with spaces  and more ",
    b"'single' \"double\" `back`",
    b"line\nbreak\rreturn",
    b"\x1b[31mred\x1b]0;title\x07\x1b[2J",
    "right\u202eot tfel\u2066".encode(),
    b"invalid \xff\xfe UTF-8",
    b"--overwrite",
    b"-q",
    b"file:c:colon",
    b"%d %s {} {0} $HOME [red]",
    b"back\\slash\\n",
    "Größe µm 断層".encode(),
    b"x" * 251,  # 255 bytes with its suffix
    "ü".encode() * 125,
)
HARMFUL = ("\x1b", "\x07", "\r", "\u202e", "\u2066")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with a file of each name, constant but for one section whose number is that of the name."""
    directory = tmp_path / "in"
    directory.mkdir()
    for number, stem in enumerate(STEMS):
        sections = np.zeros((len(STEMS), 16, 16), np.int16)
        sections[number] = 100
        plain = write_mrc(tmp_path / "plain.mrc", sections)
        plain.rename(directory / os.fsdecode(stem + b".mrc"))
    return directory


def decoded(movie: Path) -> list[NDArray[Any]]:
    """The frames; the decoder gets the open file, since it takes not every name."""
    with movie.open("rb") as file, av.open(file, "r") as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("stem", "kept"),
    [
        (b"x" * 252, b"x" * 238),
        ("ü".encode() * 126, "ü".encode() * 119),
        (b"y" + "ü".encode() * 126, b"y" + "ü".encode() * 118),  # no character is cut in two
        (b"\xff" + b"z" * 251, b"z" * 237),  # what is no character goes, as far as the name is cut at all
    ],
)
def test_a_name_that_is_too_long_is_cut_between_characters_and_told_apart(stem: bytes, kept: bytes) -> None:
    found = fitting(os.fsdecode(stem), ".avi")
    assert re.fullmatch(re.escape(kept.decode()) + r"~[0-9a-f]{12}\.avi", found)
    assert len(os.fsencode(found)) <= 255
    assert found != fitting(os.fsdecode(stem + b"1"), ".avi")


def test_a_name_that_fits_exactly_is_left_as_it_is() -> None:
    assert fitting("x" * 251, ".avi") == "x" * 251 + ".avi"
    assert fitting(os.fsdecode(b"\xff"), ".avi") == os.fsdecode(b"\xff.avi")


@pytest.mark.parametrize("kind", thinned(["avi", "mp4", "webm"], 3))
def test_all_are_converted_and_shown_escaped(tmp_path: Path, source: Path, kind: str) -> None:
    out = tmp_path / "out"
    words: list[str | Path] = [source, out, "--format", kind, "--playback", "forward", "--clip-limit", "0"]
    words += ["--thumbnail", "--contact-sheet", "--verbose"]
    result = installed(*words)
    assert result.returncode == 0, result.stderr
    log = (out / "mrc2movie.log").read_text()
    for text in (result.stderr, log):
        assert not [character for character in HARMFUL if character in text]
        assert r"line\nbreak\rreturn" in text
        assert r"\x1b[31mred" in text
    movies = sorted(os.fsencode(path.name) for path in out.iterdir() if path.suffix == f".{kind}")
    fitted = {os.fsencode(fitting(os.fsdecode(stem), f".{kind}")): stem for stem in STEMS}
    assert movies == sorted(fitted)
    assert len(list(out.glob("*.png"))) == 2 * len(STEMS)
    assert unfinished(out) == []
    again = installed(*words)
    assert again.returncode == 0
    assert again.stderr.splitlines()[-1] == f"{len(STEMS)} up to date"


@pytest.mark.parametrize("kind", thinned(["avi", "mp4"], 2))
def test_each_movie_is_that_of_its_name(tmp_path: Path, source: Path, kind: str) -> None:
    out = tmp_path / "out"
    assert installed(source, out, "--format", kind, "--playback", "forward", "--clip-limit", "0").returncode == 0
    for number, stem in enumerate(STEMS):
        movie = out / fitting(os.fsdecode(stem), f".{kind}")
        assert int(np.argmax([frame.mean() for frame in decoded(movie)])) == number


def test_the_records_are_json_that_leads_back_to_the_files(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"
    assert installed(source, out, "--quiet").returncode == 0
    made = [json.loads(path.read_bytes().decode("ascii")) for path in (out / ".mrc2movie").glob("*.json")]
    assert {record["source"]["name"] for record in made} == {path.name for path in source.iterdir()}
    assert {record["movie"]["name"] for record in made} == {path.name for path in out.glob("*.avi")}


def test_info_tells_them_escaped_and_as_json(source: Path) -> None:
    files = sorted(source.iterdir())
    table = installed("--info", *files)
    assert table.returncode == 0
    assert not [character for character in HARMFUL if character in table.stdout]
    found = json.loads(installed("--info", *files, "--json").stdout)
    assert len(found) == len(files)


def test_a_terminal_gets_none_of_it(tmp_path: Path, source: Path) -> None:
    (source / "broken \x1b[31m\u202e.mrc").write_bytes(b"no such thing")
    master, slave = pty.openpty()
    with subprocess.Popen([COMMAND, source, tmp_path / "out"], stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:  # Linux says so at the end
                break
            if not data:
                break
            shown += data
    os.close(master)
    assert process.returncode == 1
    text = shown.decode(errors="replace")
    assert "\x1b]0;title" not in text and "\u202e" not in text and "\x1b[2J" not in text
    assert r"\u202e" in text


@pytest.mark.parametrize("kind", thinned(["avi", "mp4"], 2))
def test_directories_may_have_such_names_too(tmp_path: Path, kind: str) -> None:
    names = [os.fsdecode(stem) for stem in STEMS if len(stem) < 200]  # there must be room for what is in it
    for name in names:
        directory = tmp_path / "in" / name
        directory.mkdir(parents=True)
        write_mrc(directory / "a.mrc", np.arange(512, dtype=np.int16).reshape(2, 16, 16))
    out = tmp_path / "out\n\udcff"
    assert installed(tmp_path / "in", out, "--recursive", "--quiet", "--format", kind).returncode == 0
    assert {path.parent.name for path in out.rglob(f"a.{kind}")} == set(names)
