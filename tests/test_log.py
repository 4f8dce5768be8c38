"""The log: what it may be appended to, and who may append to it."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from faults import COMMAND, closing_line, faulty, installed, stacks, started

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has neither pipes nor groups")

ALICE, BOB, SHARED = 54321, 54322, 54320
"""Numbers of users and of their group, which need no names."""


@pytest.mark.parametrize("name", ["in/0.mrc", "notes.txt", "out/mrc2movie.log"])
def test_a_file_that_is_no_log_of_ours_is_not_appended_to(tmp_path: Path, name: str) -> None:
    source, out, log = stacks(tmp_path / "in", 1), tmp_path / "out", tmp_path / name
    out.mkdir()
    (tmp_path / "notes.txt").write_text("mrc2movie 1.0: what I must remember of it\n")
    (out / "mrc2movie.log").write_text("mine\n")
    before = log.read_bytes()
    result = installed(source, out, *(("--log", log) if log.parent != out else ()))
    assert result.returncode == 2
    assert result.stderr.startswith(f"mrc2movie: {log}: is not a log of mrc2movie; ")
    assert result.stderr.count("\n") == 1
    assert log.read_bytes() == before
    assert not (out / "0.avi").exists()


def test_a_log_is_begun_in_an_empty_file_and_appended_to_by_the_next_run(tmp_path: Path) -> None:
    source, out, log = stacks(tmp_path / "in", 1), tmp_path / "out", tmp_path / "log"
    log.touch()
    assert installed(source, out, "--log", log).returncode == 0
    first = log.read_text()
    assert installed(source, out, "--log", log).returncode == 0
    assert log.read_text().startswith(first)
    assert log.read_text().count(" INFO mrc2movie ") == 2


def test_a_link_that_is_named_as_the_log_is_followed(tmp_path: Path) -> None:
    source, log = stacks(tmp_path / "in", 1), tmp_path / "log"
    log.symlink_to("real")
    for _ in range(2):
        assert installed(source, tmp_path / "out", "--log", log).returncode == 0
    assert (tmp_path / "real").read_text().count(" INFO mrc2movie ") == 2


def test_a_run_in_which_nothing_was_to_do_adds_one_line_to_the_log(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 3), tmp_path / "out"
    log = out / "mrc2movie.log"
    installed(source, out)
    first = log.read_text()
    assert [first.count(f"{source}/{number}.mrc -> {out}/{number}.avi: ") for number in range(3)] == [1] * 3
    assert re.fullmatch(r".* INFO 3 converted; [\d.]+ s, 0\.1 MB in, 0\.1 MB out", first.splitlines()[-1])
    assert closing_line(installed(source, out)) == "3 up to date"
    assert log.read_text().startswith(first)
    (line,) = log.read_text()[len(first) :].splitlines()
    assert re.fullmatch(rf".* INFO mrc2movie \S+: {source} {out}: 3 up to date; [\d.]+ s", line)
    (source / "1.mrc").write_bytes(b"bad")
    assert closing_line(installed(source, out)) == "2 up to date, 1 failed"
    added = log.read_text()[len(first) :].splitlines()[1:]
    assert [line.split(" ")[2] for line in added] == ["INFO", "INFO", "DEBUG", "ERROR", "INFO"]


@pytest.mark.parametrize("name", ["out/mrc2movie.log", "log"])
def test_a_log_that_is_a_pipe_without_a_reader_is_not_waited_for(tmp_path: Path, name: str) -> None:
    source, out, log = stacks(tmp_path / "in", 1), tmp_path / "out", tmp_path / name
    out.mkdir()
    os.mkfifo(log)
    result = installed(source, out, *(("--log", log) if log.parent != out else ()))
    assert result.returncode == 1
    assert result.stderr.startswith(f"mrc2movie: {log}: the log cannot be written (No such device or address)")
    assert result.stderr.count("\n") == 1


def test_a_log_may_be_a_pipe_that_is_read(tmp_path: Path) -> None:
    source = stacks(tmp_path / "in", 1)
    shell = f'"$@" --log >(cat > {tmp_path}/log; touch {tmp_path}/done) && until [ -e {tmp_path}/done ]; do :; done'
    subprocess.run(["bash", "-c", shell, "bash", COMMAND, source, tmp_path / "out"], check=True, timeout=60)
    assert "frames of 48 x 32" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("kind", [stat.S_IFDIR, stat.S_IFSOCK])
def test_a_log_that_nothing_can_be_appended_to_is_wrong_usage(tmp_path: Path, kind: int) -> None:
    source, log = stacks(tmp_path / "in", 1), tmp_path / "log"
    if kind == stat.S_IFDIR:
        log.mkdir()
    else:
        os.mknod(log, kind)
    result = installed(source, tmp_path / "out", "--log", log)
    why = "is no file that a log can be appended to; name another with --log"
    assert (result.returncode, result.stderr) == (2, f"mrc2movie: {log}: {why}\n")


def test_a_device_may_be_the_log(tmp_path: Path) -> None:
    source = stacks(tmp_path / "in", 1)
    assert closing_line(installed(source, tmp_path / "out", "--log", "/dev/null")) == "1 converted"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_log_may_go_to_a_standard_stream_whatever_that_is(tmp_path: Path, stream: str) -> None:
    source, shown = stacks(tmp_path / "in", 1), tmp_path / "shown"
    result = installed(source, tmp_path / "out", "--log", f"/dev/{stream}")
    assert " INFO mrc2movie " in getattr(result, stream)
    shown.write_text("of the job before\n")
    with shown.open("a+") as file:
        words: list[str | Path] = [COMMAND, source, tmp_path / "out", "--log", f"/dev/{stream}"]
        subprocess.run(words, stdout=file, stderr=file, check=True)
    said = shown.read_text()
    assert said.startswith("of the job before\n")
    assert said.endswith("\n1 up to date\n")
    assert said.count(" INFO mrc2movie ") == 1


@pytest.fixture
def group_directory(tmp_path: Path) -> Path:
    """A directory where all of a group may write, beside a directory of inputs; skips the test of who is not root."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can be two users, by means of setpriv")
    out = tmp_path / "out"
    stacks(tmp_path / "in", 1)
    out.mkdir()
    os.chown(out, ALICE, SHARED)
    out.chmod(0o775)
    return out


def as_user(user: int, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command as run by a user of the shared group, with a group of the same number and the usual umask.

    It may read everything, since Python may be installed where only root can read, but write only as this user.
    """
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", f"--groups={SHARED}"]
    may_read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    command = [*become, *may_read, COMMAND, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, umask=0o022, check=False)


def test_all_users_of_a_group_append_to_one_log(tmp_path: Path, group_directory: Path) -> None:
    log = group_directory / "mrc2movie.log"
    assert as_user(ALICE, tmp_path / "in", group_directory).returncode == 0
    assert log.stat().st_gid == SHARED
    assert stat.S_IMODE(log.stat().st_mode) == 0o664
    result = as_user(BOB, tmp_path / "in", group_directory)
    assert (result.returncode, closing_line(result)) == (0, "1 up to date")
    assert log.read_text().count(" INFO mrc2movie ") == 2


def test_a_log_in_a_directory_of_ones_own_is_nobody_elses(tmp_path: Path, group_directory: Path) -> None:
    group_directory.chmod(0o755)
    assert as_user(ALICE, tmp_path / "in", group_directory).returncode == 0
    assert stat.S_IMODE((group_directory / "mrc2movie.log").stat().st_mode) == 0o644


def test_a_log_of_another_user_does_not_keep_the_movies_from_being_made(tmp_path: Path, group_directory: Path) -> None:
    log = group_directory / "mrc2movie.log"
    log.touch(mode=0o644)
    os.chown(log, ALICE, ALICE)
    result = as_user(BOB, tmp_path / "in", group_directory)
    assert result.returncode == 0
    why = f"{log}: the log cannot be written (Permission denied), so this run has none; name another with --log"
    assert result.stderr.splitlines()[0] == why
    assert closing_line(result) == "1 converted"
    assert log.read_bytes() == b""


def test_runs_on_several_machines_append_whole_lines_to_one_log_on_nfs(tmp_path: Path) -> None:
    source, out = stacks(tmp_path / "in", 20), tmp_path / "out"
    out.mkdir()
    env = faulty("none", "", nfs="mrc2movie.log")
    shards = [started(source, out, "--shard", f"{number}/2", "--jobs", "1", env=env) for number in (1, 2)]
    assert [process.wait(120) for process in shards if process.communicate()] == [0, 0]
    lines = (out / "mrc2movie.log").read_text().splitlines()
    assert sum(line.endswith(" of 20 files") for line in lines) == 2
    assert sum(" frames of " in line for line in lines) == 20
    assert sum(line.count(" INFO ") + line.count(" DEBUG ") for line in lines) == len(lines)


def test_a_stopped_process_that_holds_the_lock_of_a_log_keeps_no_run_waiting(tmp_path: Path) -> None:
    import fcntl

    source, out, log = stacks(tmp_path / "in", 1), tmp_path / "out", tmp_path / "log"
    with log.open("w") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        assert installed(source, out, "--log", log, "--quiet").returncode == 0
    assert " frames of " in log.read_text()
