"""How many processors this process may use: what the machine has, less what the system and the scheduler withhold."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc/self")


def available_processors() -> int:
    """The processors that this process may use: its affinity, its control groups' quota, its share of a SLURM job."""
    return max(1, min([_by_affinity(), *_by_quota(_PROC), *_by_scheduler()]))


def _by_affinity() -> int:
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _by_scheduler() -> Iterator[int]:
    with suppress(ValueError):  # no number
        if (count := int(os.environ.get("SLURM_CPUS_PER_TASK", ""))) > 0:
            yield count


def _by_quota(proc: Path) -> Iterator[int]:
    """The quotas, rounded up, of the control groups that this process is in, and of the groups around these.

    See cgroups(7): ``cpu.max`` of version 2, ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` of version 1.
    """
    for group in control_groups(proc, "cpu"):
        quota, period = (
            numbers_in(group / "cpu.max")
            or (numbers_in(group / "cpu.cfs_quota_us") + numbers_in(group / "cpu.cfs_period_us"))[:2]
            or [0, 0]
        )
        if quota > 0 and period > 0:
            yield -(-quota // period)  # in integers, which may be of any size


def control_groups(proc: Path, wanted: str) -> Iterator[Path]:
    """The directories of all control groups around this process that may limit something.

    Args:
        proc: The process, ``/proc/self``.
        wanted: The controller: "cpu" or "memory".
    """
    try:
        memberships, mounts = (_lines(proc / name) for name in ("cgroup", "mountinfo"))
    except OSError:  # not Linux
        return
    inside = {}
    for line in memberships:
        with suppress(ValueError):  # a line of another form
            _, controllers, path = line.split(":", 2)
            if not controllers or wanted in controllers.split(","):
                inside[wanted if controllers else ""] = path
    for line in mounts:
        before, _, after = line.partition(" - ")
        try:
            root, mount_point = (_unescaped(field) for field in before.split()[3:5])
            kind, *_, options = after.split(" ")  # the source, between them, may be empty
            controller = {"cgroup2": "", "cgroup": wanted if wanted in options.split(",") else None}.get(kind)
            if controller is None or controller not in inside:
                continue
            place = Path(mount_point, os.path.relpath(inside[controller], root))
        except ValueError:  # a line of another form
            continue
        if ".." in place.parts:  # seen from within a container
            place = Path(mount_point)
        while True:
            yield place
            if place == Path(mount_point):
                break
            place = place.parent


def _lines(file: Path) -> list[str]:
    """The lines of a file; not by `str.splitlines`, as names of mount points may hold what that takes for line ends."""
    return [line for line in file.read_text(errors="surrogateescape").split("\n") if line]


def _unescaped(field: str) -> str:
    """A field of mountinfo, where blanks are written as octal numbers; proc_pid_mountinfo(5)."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), field)


def numbers_in(file: Path) -> list[int]:
    """The numbers of a file of limits; none where there is no limit."""
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):  # ValueError: "max"
        return []
