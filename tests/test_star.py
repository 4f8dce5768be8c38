"""STAR files: read as an independent parser reads them, and whatever the bytes in bounded time and memory."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import gemmi
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from movies import less_memory_than

from mrc2movie.errors import InputError
from mrc2movie.readers.collections.relion import is_star
from mrc2movie.readers.source import InputFile
from mrc2movie.readers.star import Names, Numbers, tables

Columns = Mapping[str, Sequence[str]]
Tables = list[tuple[str, Columns]]


def parsed(path: Path, text: str | bytes) -> Tables:
    """All tables of a text: the block, and the values by column."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    source = InputFile(path)
    found: Tables = []
    try:
        for table in tables(source):
            columns = {name: Names() for name in table.columns}
            rows = table.read(columns)
            assert all(len(column.places) == rows for column in columns.values())
            found.append((table.block, {name: column.of_rows() for name, column in columns.items()}))
    finally:
        source.close()
    return found


def by_gemmi(text: str) -> Tables:
    """The same by gemmi; the single values of a block are one table."""
    found: Tables = []
    for block in gemmi.cif.read_string(text):
        pairs: dict[str, Sequence[str]] = {}
        for item in block:
            if item.pair:
                tag, value = cast(tuple[str, str], item.pair)
                pairs[tag[1:]] = [gemmi.cif.as_string(value)]
        if pairs:
            found.append((block.name.strip(), pairs))
        for item in block:
            if loop := item.loop:
                columns: dict[str, Sequence[str]] = {
                    tag[1:]: [gemmi.cif.as_string(value) for value in loop.values[column :: loop.width()]]
                    for column, tag in enumerate(loop.tags)
                }
                found.append((block.name.strip(), columns))
    return found


WORDS = st.text(st.sampled_from("abcXYZ0123456789.-+@/:_"), min_size=1, max_size=12).filter(
    lambda word: word not in (".", "?") and word[0] != "_" and not word.lower().startswith(("data_", "loop_"))
)
TAGS = st.lists(st.text(st.sampled_from("abcXYZ0123"), min_size=1, max_size=8), min_size=1, max_size=5, unique=True)
BLANKS = st.sampled_from([" ", "  ", "\t", "     "])


@st.composite
def stars(draw: st.DrawFn) -> str:
    """A text as programs write it: blocks of a loop or of single values, comments, quotes, blank lines."""
    lines = ["# version 30001", ""]
    for number in range(draw(st.integers(1, 4))):
        lines += [f"data_block{number}", ""]
        tags = draw(TAGS)
        if draw(st.booleans()):
            lines += [f"_{tag}{draw(BLANKS)}{draw(WORDS)} " for tag in tags]
        else:
            comments = draw(st.booleans())
            lines += ["loop_ ", *(f"_{tag}{f' #{at}' if comments else ''} " for at, tag in enumerate(tags, start=1))]
            quoted = draw(st.sampled_from(['"{}"', "'{}'", '"{} b"', "'it''s {}'", "{}"]))
            for _ in range(draw(st.integers(1, 12))):
                words = [draw(WORDS) for _ in tags]
                words[-1] = quoted.format(words[-1])
                lines.append(draw(st.sampled_from(["", " "])) + draw(BLANKS).join(words))
        lines += draw(st.sampled_from([[""], ["", "# a comment", ""]]))
    return draw(st.sampled_from(["\n", "\r\n"])).join([*lines, ""])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=stars())
def test_a_star_is_read_as_gemmi_reads_it(tmp_path: Path, text: str) -> None:
    assert parsed(tmp_path / "x.star", text) == by_gemmi(text)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(
        st.binary(max_size=400),
        st.lists(
            st.sampled_from(
                [b"data_", b"data_x", b"loop_", b"_a", b"_b #2", b"1 2", b"1", b"'", b'"', b'" "', b"#", b"\0", b"\r"]
            ),
            max_size=40,
        ).map(b"\n".join),
    )
)
@example(b"data_\nloop_\n_a\n" + b'"a ' * 20_000)
def test_whatever_the_bytes_there_are_tables_or_an_error_of_ours(tmp_path: Path, data: bytes) -> None:
    try:
        parsed(tmp_path / "x.star", data)
    except InputError as error:
        assert "\n" not in error.message


@pytest.mark.parametrize(
    "text",
    [
        b"data_\nloop_\n_a\n_b\n" + b"1 2\n\n" * 30_000,
        b"data_\nloop_\n_a\n_b\n1 2\n" * 2_000,
        b"data_\nloop_\n_a\n_b\n" + b'"x" y\n' * 30_000,
        b"data_\nloop_\n_a\n" + b"data_1/a.mrc\n" * 30_000,
        b"data_\nloop_\n_a\n_b\n" + b"x" * 5000 + b" 1\n" + b"y 2\n" * 50_000,
    ],
    ids=["blank lines", "many tables", "quotes", "one column", "a long word"],
)
def test_the_time_is_that_of_the_size_whatever_the_lines(tmp_path: Path, text: bytes) -> None:
    begin = time.process_time()
    found = parsed(tmp_path / "x.star", text)
    assert sum(len(next(iter(columns.values()))) for _, columns in found) >= 2_000
    assert time.process_time() - begin < 20  # where each line would cost all that follow it these take minutes


def test_a_line_without_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.star"
    path.write_bytes(b"data_\nloop_\n_a\n" + b"x" * 20_000_000)
    with less_memory_than(10_000_000), pytest.raises(InputError, match="line 4 is too long"):
        next(tables(InputFile(path)))


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    assert parsed(tmp_path / "x.star", b"\xef\xbb\xbfdata_x\nloop_\n_a\n1\n") == [("x", {"a": ["1"]})]
    assert is_star((tmp_path / "x.star").read_bytes())


def test_what_is_no_number_is_nan(tmp_path: Path) -> None:
    (tmp_path / "x.star").write_text("data_\nloop_\n_a\n_b\n1.5 x\nnone y\n-2e3 z\n")
    numbers = Numbers()
    table = next(tables(InputFile(tmp_path / "x.star")))
    table.read({"a": numbers})
    np.testing.assert_array_equal(numbers.as_array(), [1.5, np.nan, -2000])


def test_a_row_longer_than_a_piece_of_the_file_is_whole(tmp_path: Path) -> None:
    rows = [(f"{number:06d}@{'x' * (number % 97)}", str(number)) for number in range(60_000)]
    text = "data_\nloop_\n_a #1\n_b #2\n" + "\n".join(" ".join(row) for row in rows)
    ((_, columns),) = parsed(tmp_path / "x.star", text)
    assert list(zip(columns["a"], columns["b"], strict=True)) == rows


def test_tables_that_are_not_wanted_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x.star").write_text("data_a\nloop_\n_p\n1\n2\n\ndata_b\n_q 3\n\ndata_c\nloop_\n_r\n_s\n4 5\n")
    assert [(table.block, table.columns) for table in tables(InputFile(tmp_path / "x.star"))] == [
        ("a", ("p",)),
        ("b", ("q",)),
        ("c", ("r", "s")),
    ]
