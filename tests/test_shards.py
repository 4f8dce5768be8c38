"""`--shard`: equal shares of the files, which every node finds alone, whatever else it sees."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faults import movies_in, stacks, tree
from hypothesis import given
from hypothesis import strategies as st
from movies import run, write_mrc

from mrc2movie.batch.report import Job
from mrc2movie.batch.shards import numbers_of, share_of
from mrc2movie.errors import UsageError
from mrc2movie.options.settings import Settings

ARRAY = {"SLURM_ARRAY_TASK_ID": "6", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "2"}


def jobs_of(directory: Path, sizes: list[int]) -> list[Job]:
    """Jobs whose inputs are sparse files of these sizes."""
    jobs = []
    for number, size in enumerate(sizes):
        source = directory / f"{number}.mrc"
        with source.open("wb") as file:
            file.truncate(size)
        jobs.append(Job(source, directory / "out" / f"{number}.avi", directory / "out"))
    return jobs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@given(
    sizes=st.lists(st.integers(0, 1000) | st.sampled_from([0, 500]), min_size=1, max_size=25),
    count=st.integers(1, 9),
    seed=st.randoms(use_true_random=False),
)
def test_shares_are_whole_equal_and_the_same_on_every_node(
    place: Path, sizes: list[int], count: int, seed: random.Random
) -> None:
    jobs = jobs_of(place, sizes)
    shares = [share_of(jobs, f"{number}/{count}") for number in range(1, count + 1)]
    assert sorted((job for share in shares for job in share), key=jobs.index) == jobs, "each job is in one share"
    assert all(list(share) == sorted(share, key=jobs.index) for share in shares), "jobs keep their order"
    bytes_of = [sum(job.source.stat().st_size for job in share) for share in shares]
    assert max(bytes_of) - min(bytes_of) <= max(sizes)
    if len(set(sizes)) == 1:
        assert max(map(len, shares)) - min(map(len, shares)) <= 1, "also of files whose size says nothing"
    listed = seed.sample(jobs, len(jobs))
    for number, share in enumerate(shares, start=1):
        assert set(share_of(listed, f"{number}/{count}")) == set(share)


def test_the_largest_goes_first_and_each_to_the_least_loaded_share(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, [3, 9, 5, 5, 7, 1])
    shares = [[int(job.source.stem) for job in share_of(jobs, f"{number}/2")] for number in (1, 2)]
    assert shares == [[1, 3, 5], [0, 2, 4]]  # 9 | 7; 9 | 7+5; 9+5 | 12; 14 | 12+3; 14+1 | 15


def test_an_input_that_cannot_be_tried_is_in_one_share(tmp_path: Path) -> None:
    jobs = [*jobs_of(tmp_path, [1000]), Job(tmp_path, tmp_path / "a.avi", tmp_path, refusal="cannot be listed")]
    jobs.append(Job(tmp_path / "gone.mrc", tmp_path / "gone.avi", tmp_path))
    assert [len(share_of(jobs, f"{number}/3")) for number in (1, 2, 3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({**ARRAY, "SLURM_ARRAY_TASK_STEP": "2"}, (3, 4)),
        ({**ARRAY, "SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_STEP": "1"}, (1, 4)),
        (
            {**dict.fromkeys(ARRAY, "0"), "SLURM_ARRAY_TASK_COUNT": "1", "SLURM_ARRAY_TASK_STEP": "0"},
            (1, 1),
        ),
    ],
)
def test_the_numbers_of_a_slurm_array_count_from_its_first_task(
    environment: dict[str, str], expected: tuple[int, int]
) -> None:
    assert numbers_of("slurm", environment) == expected


def test_an_array_with_gaps_is_refused() -> None:
    for task, step in (("6", "1"), ("5", "2")):
        environment = {**ARRAY, "SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_STEP": step}
        with pytest.raises(UsageError, match=f"not evenly spaced, so that task {task} has no place"):
            numbers_of("slurm", environment)


def test_outside_an_array_what_is_missing_is_named_and_nothing_is_done(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*ARRAY, "SLURM_ARRAY_TASK_STEP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    assert run(stacks(tmp_path / "in", 1), tmp_path / "out", "--shard", "slurm") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "this is no task of a Slurm job array (SLURM_ARRAY_TASK_COUNT, SLURM_ARRAY_TASK_MIN, " in line
    assert "sbatch --array=1-8" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1/0", "1", "a/b", "1/2/3", "-1/3", "1/٣", "SLURM", "", "1/1000000"])
def test_what_is_no_share_is_refused(shard: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        Settings(shard=shard)


def test_shards_make_each_movie_once_in_one_directory_and_a_shard_again_does_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, out = stacks(tmp_path / "in", 5), tmp_path / "out"
    made: list[set[str]] = []
    for number in (1, 2):
        assert run(source, out, "--shard", f"{number}/2") == 0
        made.append(set(movies_in(out)) - set().union(*made))
    assert sorted(map(len, made)) == [2, 3]
    said = capfd.readouterr().err
    assert "share 1/2: 3 of 5 files\n3 files, " in said
    before = tree(out)
    del before[str(out / "mrc2movie.log")]
    assert run(source, out, "--shard", "1/2") == 0
    assert capfd.readouterr().err.splitlines()[-1] == "3 up to date", "its share is the same when all is finished"
    after = tree(out)
    del after[str(out / "mrc2movie.log")]
    assert after == before
    assert "--shard 1/2: 3 up to date; " in (out / "mrc2movie.log").read_text().splitlines()[-1]


def test_a_share_without_files_is_no_failure(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source, out = stacks(tmp_path / "in", 2), tmp_path / "out"
    assert run(source, out, "--shard", "3/3") == 0
    said = capfd.readouterr().err.splitlines()
    assert (said[0], said[-1]) == ("share 3/3: 0 of 2 files", "no files")
    assert movies_in(out) == {}
    assert run(source / "0.mrc", tmp_path / "one.avi", "--shard", "2/2") == 0
    assert run(source / "0.mrc", tmp_path / "one.avi", "--shard", "1/2") == 0
    assert (tmp_path / "one.avi").exists()


def test_a_share_without_files_leaves_page_and_manifest_to_the_others(tmp_path: Path) -> None:
    source, out, manifest = stacks(tmp_path / "in", 2), tmp_path / "out", tmp_path / "manifest.json"
    assert run(source, out, "--shard", "1/3", "--report") == 0
    before = (out / "index.html").read_bytes()
    assert run(source, out, "--shard", "3/3", "--report", "--manifest", manifest) == 0
    assert (out / "index.html").read_bytes() == before
    assert json.loads(manifest.read_text())["files"] == []


def test_series_of_one_file_are_shared_whatever_their_order(tmp_path: Path) -> None:
    (job,) = jobs_of(tmp_path, [100])
    jobs = [replace(job, target=tmp_path / f"{name}.avi", series=name) for name in "dbac"]
    assert [[job.series for job in share_of(jobs, f"{number}/2")] for number in (1, 2)] == [["a", "c"], ["d", "b"]]


def test_a_dry_run_shows_the_share(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = stacks(tmp_path / "in", 3)
    write_mrc(source / "large.mrc", np.zeros((40, 64, 64), np.int16))
    assert run(source, tmp_path / "out", "--shard", "1/2", "--dry-run") == 0
    assert capfd.readouterr().err.splitlines()[-1] == "1 would be converted"
    assert not (tmp_path / "out").exists()
