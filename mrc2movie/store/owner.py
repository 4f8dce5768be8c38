"""Which run a file belongs to, and whether that run is still alive."""

import hashlib
import os
import platform
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_NAME = re.compile(r"([0-9a-f]{12})-(\d+)-(\d+)\b")


@dataclass(frozen=True)
class Owner:
    """A run, as the names of its temporary files show it.

    Attributes:
        machine: Stands for a machine since its last start, and there for the processes that see each other: host name,
            boot and process namespace. Elsewhere a process number means nothing.
        process: Its number there.
        begin: When it began, in clock ticks since the machine's start, so that a number that was used again does not
            mislead; 0 where the system does not tell.
    """

    machine: str
    process: int
    begin: int

    @classmethod
    def me(cls) -> "Owner":
        """This process."""
        return cls(_machine(), os.getpid(), _begin(os.getpid()) or 0)

    @classmethod
    def of(cls, name: str) -> "Owner | None":
        """The owner that a file name begins with, if it does."""
        found = _NAME.match(name)
        return cls(found[1], int(found[2]), int(found[3])) if found else None

    def __str__(self) -> str:
        return f"{self.machine}-{self.process}-{self.begin}"

    @property
    def in_words(self) -> str:
        """Which it is."""
        if not self.process:
            return "owner unknown"
        return f"process {self.process}{'' if self.is_here else ' on another machine'}"

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, where this process does."""
        return self.machine == _machine()

    def is_alive(self) -> bool | None:
        """Whether it still runs; None where that cannot be known from here."""
        if not self.is_here:
            return None
        if self.process == os.getpid():  # in containers every first process has the same number
            return self.begin == Owner.me().begin
        begin = _begin(self.process)
        if begin is not None:
            return begin == self.begin
        if os.name == "nt":  # os.kill would end the process
            return None
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # another user's, of which a careful system shows nothing more
            return None
        # One's own is seen where beginnings are told: it has ended. Elsewhere there is such a process, but who knows
        # whether it is the same.
        return False if self.begin else None


@cache
def _machine() -> str:
    parts = [platform.node()]
    for path in (_PROC / "sys/kernel/random/boot_id", _PROC / "self/ns/pid"):
        try:
            parts.append(str(path.readlink()) if path.is_symlink() else path.read_text())
        except OSError:  # not Linux
            parts.append("")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _begin(process: int) -> int | None:
    """When a process began, in clock ticks since the machine's start; None where there is none, or one that has ended.

    See proc_pid_stat(5): after the name in parentheses, which may hold anything, follow the state and 18 more fields.
    """
    try:
        fields = (_PROC / str(process) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
