"""Sidecars and JSON that nobody would write: in time and memory that grow with their length, and no faster."""

import gzip
import json
import random
import time
from pathlib import Path

import pytest
from movies import less_memory_than, ramp, run
from mrc_bytes import described, header, mrc, write

MEGABYTE = 2**20

MDOC = "PixelSpacing = 2.5\n[T = SerialEM]\n" + "".join(
    f"[ZValue = {number}]\nTiltAngle = {3 * number}\nStagePosition = 1.5 -2\n" for number in range(3)
)
SIDECARS = {"a.mrc.mdoc": MDOC, "a.rawtlt": "-3.0\n0.0\n3.0\n", "a.tlt": "  -3.00\n   0.00\n   3.00\n"}
PIECES = [
    "[",
    "]",
    "=",
    " ",
    "\n",
    "\r",
    "\0",
    "\t",
    "\x85",
    "ZValue",
    "[ZValue = 1]\n",
    "nan",
    "1e999",
    "-",
    "9" * 40,
    "é",
    "¾",
]


def mutated(text: str, dice: random.Random) -> str:
    for _ in range(dice.randint(1, 5)):
        start = dice.randrange(len(text) + 1)
        end = dice.choice([start, start + 1, start + dice.randrange(40)])
        text = text[:start] + dice.choice(PIECES) * dice.choice([1, 1, 3]) + text[end:]
    return text


def fuzz(directory: Path, times: int) -> None:
    path = write(directory / "a.mrc", mrc(ramp(3, 1, 1), 1))
    dice = random.Random(7)
    for number in range(times):
        name = list(SIDECARS)[number % 3]
        sidecar = directory / name
        sidecar.write_text(mutated(SIDECARS[name], dice), encoding="utf-8")
        description = described(path)
        json.dumps(description.header, allow_nan=False)
        assert description.tilts is None or len(description.tilts.degrees) == 3
        sidecar.unlink()


@pytest.mark.parametrize("name", SIDECARS)
def test_every_sidecar_that_is_changed_here_tells_tilts_before(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SIDECARS[name])
    tilts = described(write(tmp_path / "a.mrc", mrc(ramp(3, 1, 1), 1))).tilts
    assert tilts
    assert tilts.origin == name


def test_a_changed_sidecar_ends_in_a_description(tmp_path: Path) -> None:
    fuzz(tmp_path, 600)


@pytest.mark.large
def test_200_000_changed_sidecars_end_in_a_description(tmp_path: Path) -> None:
    fuzz(tmp_path, 200_000)


@pytest.mark.parametrize("name", ["a.mrc.mdoc", "a.tlt"])
@pytest.mark.parametrize("begin", ["", "[a=", "[a= ]", "TiltAngle = "])
@pytest.mark.parametrize("piece", [" ", "[", "[]", "=", "\n", "a\n", "9", "9 ", "1.", "[ZValue = 1]\n", "[a= ]"])
def test_a_sidecar_eight_times_as_long_takes_about_eight_times_as_long(
    tmp_path: Path, name: str, begin: str, piece: str
) -> None:
    path = write(tmp_path / "a.mrc", mrc(ramp(3, 1, 1), 1))

    def seconds(length: int) -> float:
        (tmp_path / name).write_text(f"[ZValue = 1]\n{begin}{(piece * length)[:length]}\n")
        start = time.process_time()
        described(path)
        return time.process_time() - start

    assert seconds(40_000) < 0.1 + 24 * min(seconds(5_000) for _ in range(3))


@pytest.mark.large
def test_a_sidecar_takes_a_few_times_its_length_of_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", mrc(ramp(3, 1, 1), 1))
    for text in ("[ZValue = {}]\n", "key{} = 1\n", "\n"):
        (tmp_path / "a.mrc.mdoc").write_text("".join(text.format(number) for number in range(MEGABYTE)))
        with less_memory_than(150 * MEGABYTE):
            assert described(path).tilts is None


def with_json(path: Path, text: bytes) -> Path:
    return write(path, mrc(ramp(3, 4, 5), 1, extended=text, exttyp=b"json"))


@pytest.mark.parametrize("depth", [60, 700, 100_000])
def test_json_that_is_nested_deep_is_left_out_of_the_record(
    tmp_path: Path, depth: int, capsys: pytest.CaptureFixture[str]
) -> None:
    source = with_json(tmp_path / "a.mrc", b'{"a":' + b"[" * depth + b"]" * depth + b"}")
    assert run(source, tmp_path / "out") == 0
    assert "is not kept in the record" in (tmp_path / "out" / "mrc2movie.log").read_text()
    assert "document" not in json.loads((tmp_path / "out" / ".mrc2movie" / "a.avi.json").read_text())["header"]


def test_json_that_is_nested_as_people_do_is_in_the_record(tmp_path: Path) -> None:
    document = {"a": [{"b": {"c": [1, None]}}]}
    source = with_json(tmp_path / "a.mrc", json.dumps(document).encode())
    assert run(source, tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / ".mrc2movie" / "a.avi.json").read_text())["header"]["document"] == document


@pytest.mark.parametrize("packed", [False, True])
def test_a_long_json_text_is_neither_parsed_nor_kept(tmp_path: Path, packed: bool) -> None:
    source = with_json(tmp_path / "a.mrc", b"[" + b"[]," * 1_400_000 + b"[]]")
    if packed:
        source.write_bytes(gzip.compress(source.read_bytes(), 1))
    with less_memory_than(8 * MEGABYTE):
        description = described(source)
    assert "document" not in description.header
    assert any("JSON text of 4200004 bytes" in note for note in description.notes)


def test_what_is_told_of_each_section_is_not_read_of_more_sections_than_a_tilt_series_has(tmp_path: Path) -> None:
    count = 2_000_000
    head = header(1, 1, count, 0, nsymbt=2 * count, exttyp=b"SERI", nint=2, nreal=1)
    path = write(tmp_path / "a.mrc", head + bytes(3 * count))
    (tmp_path / "a.tlt").write_text("1\n" * 10)
    with less_memory_than(8 * MEGABYTE):
        description = described(path)
    assert description.shape == (count, 1, 1)
    assert any("no tilt series has 2000000 sections" in note for note in description.notes)
