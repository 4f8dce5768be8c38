"""How much memory is free for this process: of the machine's, its control groups', and its own limit."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mrc2movie.processors import control_groups, numbers_in

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_PROC = Path("/proc")


def free_memory() -> int:
    """The bytes that this process could take without harm to others; 0 where the system does not tell."""
    return max(0, min(_limits(), default=0)) if (_PROC / "meminfo").exists() else 0


def _limits() -> Iterator[int]:
    yield _listed(_PROC / "meminfo", "MemAvailable:") * 1024
    for group in control_groups(_PROC / "self", "memory"):
        yield from _left_in(group, "memory.max", "memory.current", "inactive_file")
        yield from _left_in(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    if resource is not None:
        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        pages = numbers_in(_PROC / "self/statm")
        if most != resource.RLIM_INFINITY and pages:
            yield most - pages[0] * resource.getpagesize()


def _left_in(group: Path, limit: str, used: str, reclaimed: str) -> Iterator[int]:
    """What a control group leaves, if it limits memory; what files have left in the cache does not count as used."""
    with suppress(ValueError):
        (most,), (taken,) = numbers_in(group / limit), numbers_in(group / used)
        yield most - taken + _listed(group / "memory.stat", reclaimed)


def _listed(file: Path, name: str) -> int:
    """The number behind a name; 0 where there is none."""
    with suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            if line.split()[:1] == [name]:
                return int(line.split()[1])
    return 0
