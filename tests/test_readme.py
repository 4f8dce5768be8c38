"""The README: its picture, its table of options, its commands."""

import os
import re
from pathlib import Path

import cv2
import numpy as np
from movies import frames
from numpy.typing import NDArray

from mrc2movie.settings import GROUPS, OPTIONS

ROOT = Path(__file__).parent.parent
README_PATH = ROOT / "README.md"
README = README_PATH.read_text(encoding="utf-8")
REGENERATE = bool(os.environ.get("MRC2MOVIE_REGENERATE"))
"""With this variable set, what is generated is written anew: look at it before you commit it."""

CONTACT = ROOT / "tests" / "golden" / "contact.png"
TOLERANCE = 2.0
"""Grey levels of mean difference: NumPy and OpenCV may round differently from version to version."""


def contact_picture(demo: Path) -> NDArray[np.uint8]:
    """Sections of the demo's tilt series above sections of its tomogram, each half as large as in the movie."""
    rows = []
    for movie, chosen in (("tilt_series.avi", (0, 10, 20, 32)), ("tomogram.avi", (24, 40, 56, 72))):
        shown = frames(demo / movie)
        small = [cv2.resize(shown[i], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for i in chosen]
        rows.append(np.hstack([np.pad(picture, 2, constant_values=255) for picture in small]))
    return np.vstack(rows).astype(np.uint8)


def test_the_demo_looks_as_the_picture_in_the_readme(demo: Path) -> None:
    picture = contact_picture(demo)
    if REGENERATE:
        cv2.imwrite(str(CONTACT), picture)
    golden = cv2.imread(str(CONTACT), cv2.IMREAD_GRAYSCALE)
    assert golden is not None
    assert golden.shape == picture.shape
    assert np.abs(golden.astype(int) - picture).mean() < TOLERANCE
    assert f"({CONTACT.relative_to(ROOT).as_posix()})" in README


def options_section() -> str:
    """The options as the README shows them, from their declarations."""
    lines = []
    for group in GROUPS:
        lines += [f"**{group}**", "", "| option | default | what it does |", "|---|---|---|"]
        for option in (option for option in OPTIONS if option.group == group):
            metavar = option.kind.metavar
            words = [option.flag, *(metavar if isinstance(metavar, tuple) else [metavar])]
            default = option.default_text if metavar else "off"
            cells = (f"`{' '.join(words)}`", default, option.help)
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def test_the_options_in_the_readme_are_those_of_the_settings() -> None:
    before, rest = README.split("<!-- options -->\n")
    found, after = rest.split("<!-- end of options -->")
    if REGENERATE:
        README_PATH.write_text(f"{before}<!-- options -->\n{options_section()}<!-- end of options -->{after}", "utf-8")
    else:
        assert found == options_section()


def test_each_step_of_the_command_for_developers_is_run_by_ci() -> None:
    (command,) = re.findall(r"^python3 -m venv .*pytest$", README, flags=re.MULTILINE)
    steps = [
        line.replace(" --quiet", "").replace(" --clear", "") for line in (ROOT / ".ci/run").read_text().splitlines()
    ]
    assert [step for step in command.split(" && ") if step not in steps] == []
