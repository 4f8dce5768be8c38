"""What can go wrong, in the user's words: each exception carries its advice, its file and its exit status."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Mrc2movieError(Exception):
    """Anything that this package raises on purpose.

    Args:
        message: What happened, in one sentence without a full stop.
        advice: What to do next, naming the flag where there is one.

    Attributes:
        path: The file that it is about; see `about`.
    """

    exit_status = 1
    path: Path | None = None

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message, advice)
        self.message = message
        self.advice = advice

    @property
    def in_words(self) -> str:
        """What happened and what to do, without the file."""
        return "; ".join(part for part in (self.message, self.advice) if part)

    def __str__(self) -> str:
        return f"{self.path}: {self.in_words}" if self.path else self.in_words


class UsageError(Mrc2movieError):
    """A wrong option or argument: nothing was done."""

    exit_status = 2


class NothingToConvert(UsageError):
    """There is no input, or none yet."""


class InputError(Mrc2movieError):
    """An input that cannot be read as what it claims to be."""


class NotWhole(InputError):
    """An input of which too little is there to be read: it is damaged, or not yet written."""


class OutputError(Mrc2movieError):
    """A movie, record or directory that cannot be written."""


class DiskFull(OutputError):
    """No room is left, or no quota: the next movie would fail as this one did."""


class LeftToAnotherRun(OutputError):
    """Another run is making this movie."""


TOO_LITTLE_MEMORY = "needs more memory than there is; take fewer --jobs, or a machine with more"


def lacks_memory(error: Exception) -> bool:
    """Whether an exception is about memory, whoever raised it: threads and libraries need some, OpenCV has its own."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, RuntimeError) and "start new thread" in str(error))
        or (isinstance(error, ImportError) and "failed to map segment" in str(error))
        or (isinstance(error, SystemError) and "without exception set" in str(error))  # CPython itself, at times
        or getattr(error, "code", None) == _OPENCV_NO_MEMORY
    )


_OPENCV_NO_MEMORY = -4  # cv2.Error.StsNoMem
_REMEDIES = {
    errno.ENOSPC: "make room",
    getattr(errno, "EDQUOT", None): "your quota is used up: make room, or ask for more",
    errno.EFBIG: "no file may be so large there: take another OUTPUT_DIR, or a lower --quality or --max-size",
    errno.EROFS: "take another OUTPUT_DIR",
    errno.EACCES: "take an OUTPUT_DIR that you may write",
    errno.EPERM: "take an OUTPUT_DIR where you may rename and remove files",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "the disk or the way to it is failing: take another OUTPUT_DIR",
}


def not_written(what: str, error: OSError, otherwise: str = "") -> OutputError:
    """The error for what the system refuses to write, with the system's reason and what helps.

    Args:
        what: What cannot be done, in one sentence without a full stop.
        error: The system's.
        otherwise: What helps instead, if anything.
    """
    full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None))
    advice = ", or ".join(dict.fromkeys(filter(None, (_REMEDIES.get(error.errno), otherwise))))
    return (DiskFull if full else OutputError)(f"{what} ({error.strerror})", advice)


@contextmanager
def saying(what: str, otherwise: str = "") -> Iterator[None]:
    """Raise the error of `not_written` in place of the system's."""
    try:
        yield
    except OSError as error:
        raise not_written(what, error, otherwise) from error


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Name the file in every error of ours that passes and names none yet."""
    try:
        yield
    except Mrc2movieError as error:
        error.path = error.path or path
        raise
