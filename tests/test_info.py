"""``--info``: what the reader made of each file, for people and for programs."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from faults import closing_line, installed
from movies import ramp
from mrc_bytes import IMOD_STAMP, header, mrc, write

from mrc2movie.cli import main


def info(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    status = main(["--info", *map(str, words)])
    return status, capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    return json.loads(info(capsys, *words, "--json")[1])


def test_a_file_is_told_in_aligned_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.rawtlt").write_text("0\n3\n-3\n")
    path = write(tmp_path / "a.st", mrc(ramp(3, 4, 5), 0, ">", imod_stamp=IMOD_STAMP, imod_flags=1)[:-1])
    status, text = info(capsys, path)
    assert status == 0
    assert text.splitlines() == [
        str(path),
        "  kind         tilt series",
        "  dialect      IMOD",
        "  byte order   big-endian",
        "  mode         0 (8-bit integer, signed by IMOD's flag)",
        "  size         5 x 4 x 2 (columns x rows x sections)",
        "  voxel size   2 x 3 x 4 Å",
        "  tilts        0 … 3 degrees by a.rawtlt",
        "  orientation  row 0 is the bottom of the picture",
        "  warning 1    truncated: 2 of 3 sections are there and shown",
    ]


def test_files_that_cannot_be_read_are_told_too_and_make_the_exit_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "a.mrc", mrc(ramp(1, 2, 3), 6))
    bad = write(tmp_path / "b.mrc", b"hello\n")
    status, text = info(capsys, good, bad, tmp_path)
    assert status == 1
    assert "  mode         6 (16-bit unsigned integer)\n" in text
    assert f"{bad}\n  error        is no MRC file but a text file\n" in text
    assert f"{tmp_path}\n  error        is a directory, not a file with sections\n" in text


def test_json_has_all_that_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.rawtlt").write_text("0\n3\n-3\n")
    path = write(tmp_path / "a.mrc", mrc(ramp(3, 4, 5), 1, cella=(0, 0, 0)))
    bad = write(tmp_path / "b.mrc", b"")
    first, second = as_json(capsys, path, bad)
    assert first["file"] == str(path)
    assert (first["kind"], first["sections"], first["rows"], first["columns"]) == ("tilt series", 3, 4, 5)
    assert (first["dtype"], first["colour"], first["voxel_size_A"], first["row0"]) == ("int16", False, None, "bottom")
    assert first["tilts"] == {"from": "a.rawtlt", "degrees": [0, 3, -3]}
    assert first["header"]["byte_order"] == "little"
    assert "shown by tilt angle" in first["notes"][0]
    assert second == {"file": str(bad), "error": "is empty; was it ever written?"}


def test_options_that_change_what_is_read_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.mrc", header(2, 2, 1, 0) + bytes(4))
    assert as_json(capsys, path, "--mode0=unsigned")[0]["dtype"] == "uint8"
    assert as_json(capsys, path, "--mode0=signed")[0]["dtype"] == "int8"


def test_a_terminal_gets_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    path = write(tmp_path / "a.mrc", mrc(ramp(1, 2, 3), 6))
    status, text = info(capsys, path, tmp_path / "gone.mrc")
    assert status == 1
    assert "16-bit unsigned integer" in text
    assert "cannot be opened" in text


def test_a_name_cannot_write_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a\x1b[31m.mrc", header(2, 2, 1, 0, label=b"\x1b[5m", nlabl=1) + bytes(4))
    assert "\x1b" not in info(capsys, path)[1]
    assert "\x1b" not in info(capsys, path, "--json")[1]


@pytest.mark.parametrize("words", [["in", "out", "--info", "a"], ["--info"]])
def test_wrong_usage_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "--info" in capsys.readouterr().err


def test_a_pipe_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "a.mrc")
    assert info(capsys, tmp_path / "a.mrc")[0] == 1


ASCII = (
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""},
)


@pytest.mark.parametrize("environment", ASCII)
def test_what_the_output_cannot_encode_is_escaped(tmp_path: Path, environment: dict[str, str]) -> None:
    source = write(tmp_path / "å.mrc", mrc(ramp(2, 4, 5), 6))
    (tmp_path / "å.rawtlt").write_text("0\n3\n")
    result = installed("--info", source, env={**os.environ, **environment})
    assert (result.returncode, result.stderr) == (0, "")
    assert "  voxel size   2 x 3 x 4 \\xc5\n" in result.stdout
    assert "  tilts        0 \\u2026 3 degrees by " in result.stdout
    result = installed(source, tmp_path / "ö", env={**os.environ, **environment})
    assert (result.returncode, closing_line(result)) == (0, "1 converted")
    assert installed("--help", env={**os.environ, **environment}).returncode == 0
