"""What many files cost before and after the work: planning, a second run, the status, and a watch that idles.

    python tests/benchmarks/planning.py [--files 100000] [--watched 10000] [--seconds 180]

makes tilt series of 41 x 16 x 16 that are hard links to a few, each with its movie and its record as a run leaves them
(about 500 MB for 100,000), and prints, each bound after its figure:

- planning: all names of a first run over the files: elapsed seconds, and the peak memory of the process;
- the second run: the installed command over movies that are all up to date;
- the status: the installed command with --status;
- the watch: the processor time of `--watch` over --watched files with an mdoc each, all up to date, in percent of one
  processor over --seconds.

Elapsed times mean little on a machine that does something else. The exit status is 1 where a bound is missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from batch import Cost
from speed import COMMAND, Bounds

from mrc2movie import Settings, convert
from mrc2movie.batch.plan import plan

sys.path.insert(0, str(Path(__file__).parent.parent))
from movies import write_mrc

MOST_SECONDS, MOST_MEGABYTES, MOST_SECONDS_AGAIN, MOST_PERCENT = 10, 500, 100, 1
LINKS = 10_000
"""To one file: ext4 allows 65,000."""


def make(directory: Path, count: int, with_mdoc: bool) -> tuple[Path, Path]:
    """So many files and their movies, finished; returns where both are."""
    source, out = directory / "in", directory / "out"
    records = out / ".mrc2movie"
    for each in (source, records):
        each.mkdir(parents=True)
    for first in range(0, count, LINKS):
        name = f"TS_{first:06d}"
        file = write_mrc(source / f"{name}.mrc", np.arange(41 * 16 * 16).reshape(41, 16, 16).astype(np.int16))
        mdoc = source / f"{name}.mrc.mdoc"
        if with_mdoc:
            mdoc.write_text("".join(f"[ZValue = {z}]\nTiltAngle = {3 * z - 60}\n" for z in range(41)))
        convert(file, out / f"{name}.avi")
        record = (records / f"{name}.avi.json").read_text()
        for number in range(first + 1, min(first + LINKS, count)):
            other = f"TS_{number:06d}"
            os.link(file, source / f"{other}.mrc")
            os.link(out / f"{name}.avi", out / f"{other}.avi")
            if with_mdoc:
                os.link(mdoc, source / f"{other}.mrc.mdoc")
            (records / f"{other}.avi.json").write_text(record.replace(name, other))
    return source, out


def plan_alone(source: Path, out: Path) -> None:
    """Print the seconds that planning takes; run in its own process."""
    begin = time.perf_counter()
    jobs = plan([source], out, Settings())
    print(json.dumps([len(jobs), time.perf_counter() - begin]))


def processor_seconds(process: int) -> float:
    """What a process has taken; see proc_pid_stat(5)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle_percent(source: Path, out: Path, seconds: float) -> float:
    """What a watch takes of a processor when it has looked at all files, and nothing changes."""
    words: list[str | Path] = [COMMAND, source, out, "--watch", "5", "--log", out / "log"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        settled, before = 0, 0.0
        while settled < 9:  # the run over all files is over: a rest between two looks is shorter
            time.sleep(10)
            now = processor_seconds(process.pid)
            settled = settled + 1 if now - before < 1 else 0
            before = now
        time.sleep(seconds)
        percent = 100 * (processor_seconds(process.pid) - before) / seconds
        process.terminate()
    return percent


def measure_runs(directory: Path, files: int, bounds: Bounds) -> None:
    """Measure the plan of a first run, a second run, and the status."""
    source, out = make(directory / "many", files, with_mdoc=False)
    words: list[str | Path] = [sys.executable, __file__, "--plan", source, directory / "none"]
    count, seconds = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    print(f"{count} files")
    bounds.hold("planning", seconds, "s", at_most=MOST_SECONDS)
    bounds.hold("planning, peak memory", Cost.of(words).megabytes, "MB", at_most=MOST_MEGABYTES)
    again = Cost.of([COMMAND, source, out, "--quiet"])
    bounds.hold("the second run", again.elapsed, "s", at_most=MOST_SECONDS_AGAIN)
    bounds.hold("the second run, peak memory", again.megabytes, "MB")
    bounds.hold("the status", Cost.of([COMMAND, "--status", out]).elapsed, "s")


def main() -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000, help="files to plan, 0 for none (default: 100000)")
    parser.add_argument("--watched", type=int, default=10_000, help="files to watch, 0 for none (default: 10000)")
    parser.add_argument("--seconds", type=float, default=180, help="how long to watch them (default: 180)")
    parser.add_argument("--plan", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plan:
        plan_alone(*arguments.plan)
        return 0
    bounds = Bounds(held=True)
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.files:
            measure_runs(Path(temporary), arguments.files, bounds)
        if arguments.watched:
            source, out = make(Path(temporary) / "watched", arguments.watched, with_mdoc=True)
            idle = idle_percent(source, out, arguments.seconds)
            bounds.hold(f"a watch of {arguments.watched} files, idle", idle, "%", at_most=MOST_PERCENT)
    return 0 if bounds.kept else 1


if __name__ == "__main__":
    sys.exit(main())
