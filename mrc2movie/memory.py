"""How much memory this process may still take: what is free, less what the system and the scheduler withhold."""

from collections.abc import Iterator
from pathlib import Path

from mrc2movie.processors import control_groups, numbers

_PROC = Path("/proc")
_UNKNOWN = 4 * 2**30
"""Bytes that a machine is taken to have free where it does not say."""


def available_memory() -> int:
    """Bytes that this process may still take: of the machine, of its control groups, of its address space."""
    return min([*_free(), *_by_control_groups(), *_by_address_space()], default=_UNKNOWN)


def _free() -> Iterator[int]:
    """See proc_meminfo(5): what can be taken without swapping."""
    try:
        lines = (_PROC / "meminfo").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            yield 1024 * int(value.split()[0])


def _by_control_groups() -> Iterator[int]:
    """See cgroups(7): ``memory.max`` of version 2, ``memory.limit_in_bytes`` of version 1, where none is 2^63."""
    for group in control_groups(_PROC / "self", "memory"):
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            found = numbers(group / limit) + numbers(group / used)
            if len(found) == 2 and found[0] < 2**60:
                yield max(0, found[0] - found[1] + _cached(group / "memory.stat"))


def _cached(statistics: Path) -> int:
    """Bytes of files that nobody reads any more: they count as used, and are given back when they are needed."""
    try:
        pairs = [line.split() for line in statistics.read_text().splitlines()]
        return sum(int(pair[1]) for pair in pairs if pair[0] == "inactive_file")
    except (OSError, ValueError, IndexError):
        return 0


def _by_address_space() -> Iterator[int]:
    try:
        import resource  # not on Windows
    except ImportError:
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = numbers(_PROC / "self" / "statm")
    if limit != resource.RLIM_INFINITY and pages:
        yield max(0, limit - pages[0] * resource.getpagesize())
