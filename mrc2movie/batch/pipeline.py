"""What pipelines are told at the end of a run: the manifest, in a file and through a callback."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mrc2movie.batch.report import Outcome, Status
from mrc2movie.errors import Mrc2movieError, about
from mrc2movie.options.settings import Settings
from mrc2movie.pages import manifest

logger = logging.getLogger("mrc2movie.batch.pipeline")
logger.addHandler(logging.NullHandler())  # the caller adds another to this one, or to "mrc2movie"

_STATUS: Mapping[Status, manifest.Status] = {
    Status.CONVERTED: "success",
    Status.UP_TO_DATE: "success",
    Status.LEFT_TO_ANOTHER: "pending",
}
"""All others are errors."""


def tell_pipelines(outcomes: Sequence[Outcome], settings: Settings) -> tuple[str, ...]:
    """Write and send the manifest, as far as that is wanted; returns what went wrong, in a line each."""
    return tuple(_tell(outcomes, settings)) if settings.manifest or settings.callback else ()


def _tell(outcomes: Sequence[Outcome], settings: Settings) -> Iterator[str]:
    content = manifest.in_json([_input(outcome) for outcome in outcomes])
    if settings.manifest:
        path = Path(settings.manifest)
        try:
            with about(path):
                manifest.write_manifest(path, content)
        except Mrc2movieError as error:
            yield _said(error)
    if settings.callback:
        from mrc2movie.pages.callback import send  # with urllib and ssl, which others need not wait for

        try:
            send(settings.callback, content)
        except Mrc2movieError as error:
            yield _said(error)
        else:
            logger.info("%s took the manifest", settings.callback)


def _said(error: Mrc2movieError) -> str:
    logger.error("%s", error)
    return str(error)


def _input(outcome: Outcome) -> manifest.Input:
    status = _STATUS.get(outcome.status, "error")
    message = "" if status == "success" else outcome.why or outcome.status.value
    return manifest.Input(outcome.job.source, outcome.job.target, status, message)
