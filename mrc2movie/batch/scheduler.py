"""The connection to a Dask scheduler, whose workers need this package, and the same paths to the files."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrc2movie.batch.cluster import Cluster
from mrc2movie.batch.report import Job
from mrc2movie.errors import UsageError
from mrc2movie.options.settings import Settings

if TYPE_CHECKING:
    from distributed import Client

_ANSWER_SECONDS = 5


@contextmanager
def connected(jobs: Sequence[Job], settings: Settings) -> Iterator[Cluster | None]:
    """The cluster that is to do the jobs, if any: a dry run needs none, nor do no jobs.

    Raises:
        UsageError: The scheduler cannot be reached, or the versions or paths of its workers do not fit.
    """
    if settings.scheduler is None or settings.dry_run or not jobs:
        yield None
        return
    flag = f"--scheduler {settings.scheduler}"
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(f"--scheduler needs Dask ({error})", "pip install 'mrc2movie[dask]'") from error
    with _silent_distributed():
        _refuse_what_is_no_scheduler(settings.scheduler, flag)
        with warnings.catch_warnings(action="ignore"):  # of versions, in a table; see below
            client = Client(settings.scheduler, timeout=_ANSWER_SECONDS, set_as_default=False)
        with client:
            _refuse_other_versions(client, flag)
            _refuse_other_paths(client, flag, jobs)
            yield Cluster(client, settings.scheduler)


@contextmanager
def _silent_distributed() -> Iterator[None]:
    """Let distributed print nothing: a line of this run says what is wrong, and not a page."""
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    before = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in before:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


def _refuse_what_is_no_scheduler(address: str, flag: str) -> None:
    """Refuse an address where nothing answers, or something else: `Client` would wait for a web server for ever."""
    import asyncio  # takes 15 ms, and is not for those who have no scheduler

    from distributed import Security, rpc

    async def kind() -> str:
        async with asyncio.timeout(_ANSWER_SECONDS):
            async with rpc(address, connection_args=Security().get_connection_args("client")) as node:
                return str((await node.identity())["type"])

    advice = "is it running, and is this its address?"
    try:
        with ThreadPoolExecutor(1) as thread:  # in a notebook this one has a loop of its own
            found = thread.submit(lambda: asyncio.run(kind())).result()
    except TimeoutError as error:
        raise UsageError(f"{flag}: no scheduler answers within {_ANSWER_SECONDS} s", advice) from error
    except Exception as error:  # of whatever another server says
        why = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{flag}: no scheduler answers ({why})", advice) from error
    if found != "Scheduler":
        raise UsageError(f"{flag}: a {found.lower()} answers, and no scheduler", advice)


def _refuse_other_versions(client: "Client", flag: str) -> None:
    """Refuse what cannot work together: tasks are pickled, and Dask asks for the same version everywhere."""
    found: Any = client.get_versions(packages=["mrc2movie"])
    here = _packages(found["client"])
    nodes = {"the scheduler": found["scheduler"], **{f"worker {name}": of for name, of in found["workers"].items()}}
    for node, versions in nodes.items():
        there = _packages(versions)
        for package in ("Python", "distributed") if node == "the scheduler" else here:
            if there[package] != here[package]:
                has = f"has {package} {there[package]}" if there[package] else f"has no {package}"
                advice = f"install {package} {here[package]} there, or take the versions of the cluster here"
                raise UsageError(f"{flag}: {node} {has}, and this process {here[package]}", advice)


def _packages(versions: Mapping[str, Any]) -> Mapping[str, str | None]:
    packages = versions["packages"]
    python = ".".join(packages["python"].split(".")[:2])
    return {"Python": python, "distributed": packages["distributed"], "mrc2movie": packages["mrc2movie"]}


def _refuse_other_paths(client: "Client", flag: str, jobs: Sequence[Job]) -> None:
    """Refuse workers that do not see the files: each would fail its files in no time, and so all of them."""
    output = jobs[0].output_directory.absolute()
    paths = [next(path for path in (output, *output.parents) if path.exists())]
    paths += [job.source.absolute() for job in jobs if not job.refusal and os.path.lexists(job.source)][:1]
    missing: Mapping[str, Sequence[Path]] = client.run(_missing, paths)
    for worker, not_seen in missing.items():
        for path in not_seen:
            raise UsageError(f"{flag}: worker {worker} does not see {path}", "give paths that all machines share")


def _missing(paths: Sequence[Path]) -> Sequence[Path]:
    return [path for path in paths if not path.exists()]
