"""Whatever the bytes: a volume or an error of ours, in bounded time and memory."""

import os
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fuzz_target import examine, seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from movies import less_memory_than
from mrc_bytes import read, write

from mrc2movie.cli import main
from mrc2movie.readers import open_volume

SEEDS = seeds()
WORDS = st.one_of(
    st.sampled_from([0, 1, 2, 3, 4, 6, 16, 101, 255, 1000, 6002, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1]),
    st.integers(0, 2**32 - 1),
)
RUNS = {"MRC": 200_000, "DM": 200_000, "TIFF": 50_000, "stack": 100_000}
CHANGES = st.lists(st.tuples(st.integers(0, 1020 // 2), WORDS, st.sampled_from("<>")), max_size=6)


@pytest.mark.parametrize("name", SEEDS)
def test_every_seed_is_a_volume(tmp_path: Path, name: str) -> None:
    assert examine(write(tmp_path / "a.mrc", SEEDS[name]))


@settings(max_examples=300, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(SEEDS)), changes=CHANGES, cut=st.integers(0, 3000))
def test_a_changed_header_ends_in_a_volume_or_an_error_of_ours(
    tmp_path: Path, name: str, changes: list[tuple[int, int, str]], cut: int
) -> None:
    data = bytearray(SEEDS[name])
    for place, value, order in changes:
        if 2 * place + 4 <= len(data):
            struct.pack_into(order + "I", data, 2 * place, value)
    path = write(tmp_path / "a.mrc", bytes(data[: len(data) - cut] if cut < len(data) // 2 else data))
    with less_memory_than(100_000_000):
        examine(path)


@pytest.mark.large
@pytest.mark.parametrize("dialects", RUNS)
def test_many_changed_files_end_in_a_volume_or_an_error_of_ours(tmp_path: Path, dialects: str) -> None:
    pytest.importorskip("atheris", reason="atheris is for Linux")
    begin = time.perf_counter()
    target = Path(__file__).with_name("fuzz_target.py")
    # Without its own limit of memory: by getrusage, a process begins with the peak of the one that started it.
    words = [
        f"-runs={RUNS[dialects]}",
        "-seed=1",
        "-max_len=4096",
        "-timeout=10",
        "-rss_limit_mb=0",
        str(tmp_path / "corpus"),
    ]
    environment = {**os.environ, "MRC2MOVIE_FUZZ": dialects}
    command = [sys.executable, str(target), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = re.findall(
        r"(\d+) inputs, (\d+) of them volumes.*slowest ([\d.]+) s, memory grew by (\d+) MB", done.stdout
    )
    inputs, volumes, slowest, grown = counts[-1]
    print(f"{inputs} inputs, {volumes} volumes, {time.perf_counter() - begin:.0f} s, slowest {slowest} s, {grown} MB")
    assert int(inputs) >= RUNS[dialects]
    assert int(volumes) > 1000
    assert float(slowest) < 1
    assert int(grown) < 100


@pytest.mark.skipif("MRCFILE_TEST_DATA" not in os.environ, reason="MRCFILE_TEST_DATA names no directory")
def test_the_test_files_of_mrcfile_all_convert(tmp_path: Path) -> None:
    """They come with its source distribution; see .ci/run."""
    mrcfile_test_data = Path(os.environ["MRCFILE_TEST_DATA"])
    files = sorted(path for path in mrcfile_test_data.iterdir() if re.search(r"\.(mrc|map)(\.|$)", path.name))
    assert len(files) == 8
    assert main([str(mrcfile_test_data), str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").glob("*.avi"))) == 8
    plain = read(mrcfile_test_data / "EMD-3001.map")
    assert plain.shape == (25, 43, 73)
    for name in ("emd_3001.map.gz", "EMD-3001.map.bz2"):
        np.testing.assert_array_equal(read(mrcfile_test_data / name), plain)
    for name, kind in {"fei-extended.mrc": "FEI1", "epu2.9_example.mrc": "FEI2"}.items():
        with open_volume(mrcfile_test_data / name) as volume:
            description = volume.description
        assert not description.row0_at_bottom
        sections = description.header["sections"]
        assert isinstance(sections, dict)
        assert sections["from"] == f"{kind} extended header"
        assert sections["voltage_kV"] == [300]
