"""The README and the pages of `docs/`: their pictures, table of options, commands and links."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from movies import frames, run
from numpy.typing import NDArray

from mrc2movie.cli.words import actions, parser
from mrc2movie.options.settings import GROUPS, OPTIONS
from mrc2movie.picture.labels import label_font, put_text

ROOT = Path(__file__).parent.parent
README_PATH = ROOT / "README.md"
README = README_PATH.read_text(encoding="utf-8")
OPTIONS_PATH = ROOT / "docs" / "options.md"
PAGES = [README_PATH, *sorted((ROOT / "docs").glob("*.md"))]
REGENERATE = bool(os.environ.get("MRC2MOVIE_REGENERATE"))
"""With this variable set, what is generated is written anew: look at it before you commit it."""

CONTACT = ROOT / "tests" / "golden" / "contact.png"
CHOICES = ROOT / "tests" / "golden" / "choices.png"
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


def check(picture: NDArray[np.uint8], path: Path) -> None:
    """Hold a picture against the golden one, which the README shows."""
    if REGENERATE:
        cv2.imwrite(str(path), picture)
    golden = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert golden is not None
    assert golden.shape == picture.shape
    assert np.abs(golden.astype(int) - picture).mean() < TOLERANCE
    assert f"({path.relative_to(ROOT).as_posix()})" in README


def test_the_demo_looks_as_the_picture_in_the_readme(demo: Path) -> None:
    check(contact_picture(demo), CONTACT)


CHOICE = (
    "--range minmax --clip-limit 0",
    "",
    "--smooth 1.5 --clip-limit 1.2",
    "--average 5 --deconv --clip-limit 0",
)
"""The options of each column of the picture from which people choose."""


def choices_picture(demo: Path, out: Path) -> NDArray[np.uint8]:
    """A piece of a tilt and of a tomogram section, not made smaller, under each choice of options."""
    columns = []
    for number, options in enumerate(CHOICE):
        words = ("--codec", "FFV1", "--playback", "forward", *options.split())
        assert run(demo / "demo_data", out / str(number), *words, "--quiet") == 0
        column = [np.zeros((24, 244), np.uint8)]
        put_text(column[0], options or "no option", (4, 18), label_font(), 14)
        column[0] = 255 - column[0]
        for movie, section, left in (("tilt_series.avi", 20, 100), ("tomogram.avi", 44, 100)):
            piece = frames(out / str(number) / movie)[section][212:452, left : left + 240]
            column.append(np.pad(piece, 2, constant_values=255))
        columns.append(np.vstack(column))
    return np.hstack(columns).astype(np.uint8)


@pytest.mark.large
def test_people_choose_by_looking_at_pictures_of_this_version(demo: Path, tmp_path: Path) -> None:
    check(choices_picture(demo, tmp_path), CHOICES)
    assert all(f"`{options}`" in README for options in CHOICE if options)


def options_section() -> str:
    """The options as the documents show them, from their declarations."""
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


def test_the_options_in_the_documents_are_those_of_the_settings() -> None:
    before, rest = OPTIONS_PATH.read_text("utf-8").split("<!-- options -->\n")
    found, after = rest.split("<!-- end of options -->")
    if REGENERATE:
        OPTIONS_PATH.write_text(f"{before}<!-- options -->\n{options_section()}<!-- end of options -->{after}", "utf-8")
    else:
        assert found == options_section()


def imports(path: Path) -> Iterator[str]:
    """What a module imports, by dotted names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_point_down_the_table_of_the_house() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8"), re.MULTILINE)
    floors = {name: -at for at, row in enumerate(rows) for name in re.findall(r"`(\w+)(?:\.py|/)`", row)}
    package = ROOT / "mrc2movie"
    there = {path.name for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert floors.keys() == there | {path.stem for path in package.glob("*.py")} - {"__init__"}
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        others = floors.keys() & {name.split(".")[1] for name in imports(path) if name.startswith("mrc2movie.")}
        assert room == "__init__" or all(floors[other] <= floors[room] for other in others), path


def test_each_step_of_the_command_for_developers_is_run_by_ci() -> None:
    page = (ROOT / "docs" / "contributing.md").read_text("utf-8")
    (command,) = re.findall(r"^python3 -m venv .*pytest$", page, flags=re.MULTILINE)
    steps = [
        line.replace(" --quiet", "").replace(" --clear", "") for line in (ROOT / ".ci/run").read_text().splitlines()
    ]
    assert [step for step in command.split(" && ") if step not in steps] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).is_file()] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in README] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_made_of_options_that_exist(page: Path) -> None:
    known = set(actions(parser()))
    commands = re.findall(r"mrc2movie [^`'\n]*", page.read_text("utf-8"))
    words = {word.partition("=")[0] for command in commands for word in command.split() if word.startswith("--")}
    assert words - known - {"--help"} == set()
