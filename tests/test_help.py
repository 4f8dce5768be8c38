"""The help, the versions, the completion of shells, and the manual page."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from faults import COMMAND, installed
from movies import run

import mrc2movie
from mrc2movie.cli.help import COMMON, manual_page
from mrc2movie.cli.words import actions, parser
from mrc2movie.options.settings import GROUPS, OPTIONS

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["in", "out", "--nonsense", "--help"]])
def test_the_help_is_a_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 80
    assert [flag for flag in COMMON if not any(flag in line for line in lines)] == []


@pytest.mark.parametrize("group", GROUPS)
def test_the_help_of_a_group_shows_its_options_alone(capsys: pytest.CaptureFixture[str], group: str) -> None:
    assert run("--help", group.split()[0]) == 0
    shown = capsys.readouterr().out.split()
    for option in OPTIONS:
        heads = [option.flag, f"{option.flag},"]
        assert any(head in shown for head in heads) or option.group != group
    assert run(f"--help={group}") == 0


def test_all_the_help_shows_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help", "all") == 0
    shown = capsys.readouterr().out
    assert [flag for flag in actions(parser()) if flag not in shown] == []


def test_the_help_of_an_option_is_that_option(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("clip_limit", "--clip-limit", "files-from"):
        assert run("--help", word) == 0
        assert word.replace("_", "-") in (shown := capsys.readouterr().out)
        assert shown.count("--") <= 2


def test_a_topic_that_is_none_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help", "pictures") == 2
    assert capsys.readouterr().err == "mrc2movie: --help pictures: no such topic; did you mean --help picture?\n"
    assert run("--help", "xyzzy") == 2
    assert "the topics are presets, movie" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--version", "-h"])
def test_an_answer_that_nobody_reads_ends_quietly(option: str) -> None:
    shell = ["bash", "-o", "pipefail", "-c", f"{COMMAND} {option} | true"]
    result = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_versions_are_those_of_what_is_loaded() -> None:
    assert installed("--version").stdout.splitlines() == [
        f"mrc2movie {mrc2movie.__version__}",
        f"Python {sys.version.split()[0]}",
        f"PyAV {av.__version__}",
        f"FFmpeg {av.ffmpeg_version_info}",
        f"OpenCV {cv2.__version__}",
        f"NumPy {np.__version__}",
    ]


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    program = f"""
        source {script}
        complete -p mrc2movie >/dev/null || exit 1
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${{#COMP_LINE}}
        $(complete -p mrc2movie | sed 's/.*-F \\([^ ]*\\).*/\\1/') mrc2movie "${{@: -1}}" "${{@: -2:1}}"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    result = subprocess.run(
        ["bash", "-c", program, "bash", "mrc2movie", *words], capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    return result.stdout.split("\n")[:-1]


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``--print-completion bash`` prints; skips the test where there is no bash."""
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    script = tmp_path_factory.mktemp("completion") / "mrc2movie.bash"
    script.write_text(installed("--print-completion", "bash").stdout)
    return script


def test_bash_completes_options_their_values_and_files(
    bash_script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tomogram.mrc").touch()
    monkeypatch.chdir(tmp_path)
    assert set(completed(bash_script, "--discard")) == {"--discard-range", "--discard-percentage"}
    assert completed(bash_script, "--preset", "t") == ["tilt", "tomogram"]
    assert completed(bash_script, "--codec", "HE") == ["HEVC"]
    assert completed(bash_script, "tomo") == ["tomogram.mrc"]
    assert completed(bash_script, "in", "out", "--files-from", "tomo") == ["tomogram.mrc"]


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_get_scripts_of_their_own(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert run("--print-completion", shell) == 0
    assert {"zsh": "#compdef mrc2movie", "tcsh": "complete mrc2movie"}[shell] in capsys.readouterr().out


def test_completion_without_shtab_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert run("--print-completion", "bash") == 1
    assert "--print-completion needs shtab; pip install 'mrc2movie[completion]'" in capsys.readouterr().err


def test_the_manual_page_names_every_option_and_renders_without_a_complaint(tmp_path: Path) -> None:
    page = tmp_path / "mrc2movie.1"
    page.write_text(manual_page())
    for flag in actions(parser()):
        assert rf"\fB{flag}\fR".replace("-", r"\-") in page.read_text()
    if (groff := shutil.which("groff")) is None:
        pytest.skip("no groff to render it")
    result = subprocess.run(
        [groff, "-man", "-Tascii", "-ww", "-P-cbou", page], capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    shown = " ".join(result.stdout.split())
    assert "mrc2movie - turn every MRC file" in shown
    assert "--range RULE what becomes black and white" in shown
    assert "find . -name '*.rec' -print0 | mrc2movie --files-from - movies" in shown


@pytest.mark.large
def test_the_wheel_has_the_manual_page(tmp_path: Path) -> None:
    words: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        tmp_path,
        ROOT,
    ]
    subprocess.run(words, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("share/man/man1/mrc2movie.1")]
        assert archive.read(name).decode() == manual_page()
