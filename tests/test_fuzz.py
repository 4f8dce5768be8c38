"""Whatever the bytes: a volume or an error of ours, in bounded time and memory."""

import io
import re
import struct
import subprocess
import sys
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzz_target import examine, seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mrc_bytes import write
from numpy.typing import NDArray

from mrc2movie.cli import main

SEEDS = seeds()
WORDS = st.one_of(
    st.sampled_from([0, 1, 2, 3, 4, 6, 16, 101, 255, 1000, 6002, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1]),
    st.integers(0, 2**32 - 1),
)
CHANGES = st.lists(st.tuples(st.integers(0, 1020 // 4), WORDS, st.sampled_from("<>")), max_size=6)


@pytest.mark.parametrize("name", SEEDS)
def test_every_seed_is_a_volume(tmp_path: Path, name: str) -> None:
    assert examine(write(tmp_path / "a.mrc", SEEDS[name]))


@settings(max_examples=600, deadline=1000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(SEEDS)), changes=CHANGES, cut=st.integers(0, 3000))
def test_a_changed_header_ends_in_a_volume_or_an_error_of_ours(
    tmp_path: Path, name: str, changes: list[tuple[int, int, str]], cut: int
) -> None:
    data = bytearray(SEEDS[name])
    for word, value, order in changes:
        if 4 * word + 4 <= len(data):
            struct.pack_into(order + "I", data, 4 * word, value)
    path = write(tmp_path / "a.mrc", bytes(data[: len(data) - cut] if cut < len(data) // 2 else data))
    tracemalloc.start()
    try:
        examine(path)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.large
def test_200_000_changed_headers_end_in_a_volume_or_an_error_of_ours(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is for Linux")
    begin = time.perf_counter()
    target = Path(__file__).with_name("fuzz_target.py")
    words = ["-runs=200000", "-seed=1", "-max_len=4096", "-timeout=1", "-rss_limit_mb=1000", str(tmp_path / "corpus")]
    done = subprocess.run([sys.executable, str(target), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = re.findall(
        r"(\d+) inputs, (\d+) of them volumes.*slowest ([\d.]+) s, memory grew by (\d+) MB", done.stdout
    )
    inputs, volumes, slowest, grown = counts[-1]
    print(f"{inputs} inputs, {volumes} volumes, {time.perf_counter() - begin:.0f} s, slowest {slowest} s, {grown} MB")
    assert int(inputs) >= 200_000
    assert int(volumes) > 1000
    assert float(slowest) < 1
    assert int(grown) < 100


@pytest.fixture(scope="session")
def mrcfile_test_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test files of the mrcfile package, out of its source distribution."""
    directory = tmp_path_factory.mktemp("mrcfile")
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=mrcfile", "mrcfile==1.5.4"]
    try:
        done = subprocess.run([*fetch, "--dest", str(directory)], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip("the package registry does not answer")
    archives = list(directory.glob("mrcfile-*.tar.gz"))
    if not archives:
        pytest.skip(f"the package registry cannot be reached: {done.stderr.strip()[-200:]}")
    with tarfile.open(fileobj=io.BytesIO(archives[0].read_bytes())) as archive:
        archive.extractall(directory, filter="data")
    (data,) = directory.glob("mrcfile-*/tests/test_data")
    return data


def test_the_test_files_of_mrcfile_all_convert(
    mrcfile_test_data: Path, tmp_path: Path, movie: Callable[..., NDArray[np.uint8]]
) -> None:
    names = sorted(path.name for path in mrcfile_test_data.iterdir() if re.search(r"\.(mrc|map)(\.|$)", path.name))
    assert len(names) == 8
    assert main([str(mrcfile_test_data), str(tmp_path / "all")]) == 0
    assert len(list((tmp_path / "all").glob("*.avi"))) == 8
    for name in ("emd_3001.map.gz", "EMD-3001.map.bz2", "EMD-3001.map"):
        (tmp_path / "movies" / "x.avi").unlink(missing_ok=True)
        for made in (tmp_path / "movies").glob("*.avi"):
            made.unlink()
        assert movie(mrcfile_test_data / name).shape[0] == 25
