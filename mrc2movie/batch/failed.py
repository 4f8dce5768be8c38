"""A job that failed: the line that says why, and the record that it leaves."""

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress

from mrc2movie.batch.report import Job
from mrc2movie.errors import TOO_LITTLE_MEMORY, LeftToAnotherRun, Mrc2movieError, about, lacks_memory
from mrc2movie.options.settings import Settings
from mrc2movie.store.claim import Claim
from mrc2movie.store.failure import Failure, write_failure
from mrc2movie.store.files import FileStamp
from mrc2movie.version import __version__
from mrc2movie.writers.record import source_paths


def is_a_bug(error: Exception) -> bool:
    """Whether an exception is none that a file, a disk or a lack of memory explains."""
    return not isinstance(error, (Mrc2movieError, OSError)) and not lacks_memory(error)


def why_failed(error: Exception, job: Job) -> str:
    """What the user is told of a job that ended with an exception, in a line that names the file."""
    if isinstance(error, Mrc2movieError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or job.source}: {error.strerror}"
    if lacks_memory(error):
        return f"{job.source}: {TOO_LITTLE_MEMORY}"
    what = f"unexpected {type(error).__name__} ({error}); this is a bug of mrc2movie {__version__}"
    return f"{job.source}: {what}: please report it with this file"


@contextmanager
def leaving_a_record(job: Job, settings: Settings, claim: Claim) -> Iterator[None]:
    """Keep what goes wrong in this block for those who ask later, as far as it can be written."""
    stamp = FileStamp.if_there(job.source)  # before it is read: what was tried
    try:
        with about(job.target):
            yield
    except (CancelledError, LeftToAnotherRun):
        raise
    except Exception as error:
        source_path, *_ = source_paths(job.source, job.target)
        options = settings.movie_options()
        failure = Failure(job.target.name, stamp, source_path, options, why_failed(error, job), __version__)
        with suppress(Mrc2movieError, OSError):
            write_failure(claim, failure)
        raise
