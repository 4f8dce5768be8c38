"""AVI through ``cv2.VideoWriter``: JPEG packets encoded by the workers, or frames that OpenCV's own encoder takes.

OpenCV reports no write error at all, opens nothing without saying so, and crops odd sizes: hence the checks here.
"""

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mrc2movie.errors import Mrc2movieError, OutputError, UsageError, not_written
from mrc2movie.options.codecs import MJPG, find_codec
from mrc2movie.picture.render import Frame
from mrc2movie.writers.movie import Encode, MovieFacts, MovieWriter, Packet, check_facts, spoilt

# Both write to standard error: FFmpeg inside OpenCV unless told before its first use, and OpenCV what we say better.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
_logging: Any = cv2.utils.logging if hasattr(cv2.utils, "logging") else cv2  # where it was before OpenCV 5
_logging.setLogLevel(0)  # silent

_COMMON_CODECS = (
    *(MJPG.name, "XVID", "DIVX", "FMP4", "FFV1", "HFYU", "FFVH", "MPNG", "DIV3", "MP42"),
    *("WMV1", "WMV2", "FLV1", "ASV1", "ASV2", "SNOW", "VP80", "VP90"),
)

_one_probe = threading.Lock()
"""Two threads that redirect the same descriptor would each restore what the other has put there."""

_LOOK_EVERY = 8 * 2**20
"""Bytes; much more than FFmpeg keeps before it writes."""


def _open(path: Path, codec: str, fps: float, width: int, height: int, raw: bool) -> cv2.VideoWriter:
    return cv2.VideoWriter(
        _for_opencv(path),
        cv2.CAP_FFMPEG,
        cv2.VideoWriter.fourcc(*codec),
        fps,
        (width, height),
        [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1] if raw else [],
    )


def _for_opencv(path: Path) -> str:
    """The path as OpenCV takes it: absolute, since FFmpeg takes ``a:b.avi`` for a protocol, and UTF-8."""
    name = str(path.absolute())
    try:
        name.encode()
    except UnicodeEncodeError:  # OpenCV would crash on it
        raise OutputError("the name of the output directory is not valid UTF-8", "rename it") from None
    return name


class JpegAvi(MovieWriter):
    """Motion JPEG: every worker encodes, `cv2.VideoWriter` only muxes.

    The JPEGs have three components, 4:2:0 with neutral chroma, as other tools write MJPG: players refuse grey ones.

    Args:
        path: Where; must end in ``.avi``.
        shape: Of the frames: (rows, columns), or (rows, columns, 3) in colour.
        fps: Frames a second.
        quality: Of the JPEGs, 1 … 100.

    Raises:
        Mrc2movieError: JPEG or AVI cannot hold frames of this size.
        OutputError: The file cannot be made.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], fps: float, quality: int) -> None:
        super().__init__(path, shape, fps, MJPG, even=False)
        self._parameters = [
            cv2.IMWRITE_JPEG_QUALITY,
            quality,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        ]
        self._writer = _open(path, MJPG.name, fps, self.width, self.height, raw=True)
        if not self._writer.isOpened():
            raise OutputError("the movie cannot be opened for writing", "is the directory writable?")
        self._first: Packet | None = None
        self._last: Packet | None = None
        self._written = 0

    def encoder(self) -> Encode:
        """An encoder from frames to JPEGs."""
        colour = np.empty((self.height, self.width, 3), np.uint8)

        def encode(frame: Frame, turn: int) -> Packet:
            cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR if frame.ndim == 2 else cv2.COLOR_RGB2BGR, colour)
            done, packet = cv2.imencode(".jpg", colour, self._parameters)
            if not done:  # sizes that JPEG cannot hold were refused before
                raise MemoryError
            return np.asarray(packet, np.uint8)

        return encode

    def write(self, packet: Packet) -> None:
        """Append a JPEG.

        Raises:
            OutputError: Less has come to the disk than was written.
        """
        self._writer.write(packet.reshape(1, -1))  # a row: of one axis, OpenCV 4 writes the first byte alone
        before, self._written = self._written, self._written + packet.nbytes
        # A full disk is noticed here and not hours later: OpenCV reports none.
        if self._written // _LOOK_EVERY > before // _LOOK_EVERY:
            there = self._path.stat().st_size if self._path.exists() else 0
            with _naming_why(self._path):
                if there < self._written - _LOOK_EVERY // 2:
                    raise spoilt(f"{there} bytes are on the disk instead of {self._written}")
        self._first = packet if self._first is None else self._first
        self._last = packet

    def close(self) -> None:
        """Write the index and close the file."""
        self._writer.release()

    def verify(self, facts: MovieFacts, ends: Mapping[int, Frame]) -> None:
        """The packets at the ends must come back as they were written, too."""
        with _naming_why(self._path):
            self._verify(facts, ends)

    def _verify(self, facts: MovieFacts, ends: Mapping[int, Frame]) -> None:
        movie = _opened_again(self._path, facts, raw=True)
        try:
            for position, frame in ends.items():
                packet, written = _frame_at(movie, position), self._last if position else self._first
                if packet is None or written is None or not np.array_equal(packet.ravel(), written):
                    raise spoilt(f"frame {position} does not come back as it was written")
                decoded = cv2.imdecode(packet, cv2.IMREAD_GRAYSCALE)
                self.check_picture(position, None if decoded is None else np.asarray(decoded, np.uint8), frame)
        finally:
            movie.release()


class OpenCvAvi(MovieWriter):
    """Any other codec that OpenCV can write into AVI, through its own encoder.

    Odd sizes are padded by repeating the last row or column, since OpenCV would crop them.

    Args:
        path: Where; must end in ``.avi``.
        shape: Of the frames: (rows, columns), or (rows, columns, 3) in colour.
        fps: Frames a second.
        codec: The FourCC.

    Raises:
        Mrc2movieError: The codec cannot hold frames of this size.
    """

    packets_are_frames = False

    def __init__(self, path: Path, shape: tuple[int, ...], fps: float, codec: str) -> None:
        super().__init__(path, shape, fps, find_codec(codec), even=True)
        self._writer = _open(path, codec, fps, self.width, self.height, raw=False)
        if not self._writer.isOpened():
            raise Mrc2movieError(
                f"the codec {codec} cannot hold frames of {self.width} x {self.height} at {fps:g} a second",
                "take --codec MJPG or FFV1",
            )

    def encoder(self) -> Encode:
        """Only pads: the encoder of OpenCV is one for all frames, and works as they are written."""

        def encode(frame: Frame, turn: int) -> Packet:
            return self.padded(frame).flatten()

        return encode

    def write(self, packet: Packet) -> None:
        """Encode and append a frame."""
        in_colour = packet.size > self.height * self.width
        frame = packet.reshape((self.height, self.width, 3) if in_colour else (self.height, self.width))
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR if in_colour else cv2.COLOR_GRAY2BGR))

    def close(self) -> None:
        """Write what is pending and close the file."""
        self._writer.release()

    def verify(self, facts: MovieFacts, ends: Mapping[int, Frame]) -> None:
        """The frames at the ends must decode."""
        with _naming_why(self._path):
            self._verify(facts, ends)

    def _verify(self, facts: MovieFacts, ends: Mapping[int, Frame]) -> None:
        movie = _opened_again(self._path, facts, raw=False)
        try:
            for position, frame in ends.items():
                decoded = _frame_at(movie, position)
                self.check_picture(
                    position,
                    None if decoded is None else np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2GRAY), np.uint8),
                    frame,
                )
        finally:
            movie.release()


def require_codec(codec: str, fps: float) -> None:
    """Refuse a codec that OpenCV cannot write into AVI, by writing a small movie with it.

    Raises:
        UsageError: It cannot; the advice lists those that work here.
    """
    if codec == MJPG.name or _works(codec, fps):
        return
    working = " ".join(name for name in _COMMON_CODECS if _works(name, fps))
    raise UsageError(
        f"--codec {codec}: OpenCV cannot write it into an AVI at {fps:g} frames a second",
        f"those that work here are {working}"
        if working
        else f"nor any other: is there room in {tempfile.gettempdir()} to try them?",
    )


def _works(codec: str, fps: float) -> bool:
    with _one_probe, tempfile.TemporaryDirectory() as directory, _nothing_said():
        path = Path(directory) / "probe.avi"
        try:
            probe = OpenCvAvi(path, (64, 64), fps, codec)
            frame = np.full((64, 64), 128, np.uint8)
            probe.write(frame.ravel())
            probe.write(frame.ravel())
            probe.close()
            probe.verify(MovieFacts(2, 64, 64, fps), {0: frame, 1: frame})
        except (Mrc2movieError, cv2.error):
            return False
    return True


@contextmanager
def _nothing_said() -> Iterator[None]:
    """OpenCV writes to descriptor 2, past all that it can be told, when it does not know a FourCC."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _naming_why(path: Path) -> Iterator[None]:
    """Name the system's reason why a movie is not whole, if it is that the file may not grow: OpenCV names none."""
    try:
        yield
    except OutputError as error:
        try:
            with path.open("rb+") as movie:
                movie.seek(0, os.SEEK_END)
                movie.write(b"\0")
        except OSError as cause:
            raise not_written("the movie cannot be written", cause) from error
        raise


def _opened_again(path: Path, facts: MovieFacts, raw: bool) -> cv2.VideoCapture:
    """The finished movie, its container checked; with `raw` it gives packets instead of pictures."""
    movie = cv2.VideoCapture(
        _for_opencv(path),
        cv2.CAP_FFMPEG,
        [cv2.CAP_PROP_N_THREADS, 1, *([cv2.CAP_PROP_FORMAT, -1] if raw else [])],
    )
    if not movie.isOpened():
        raise spoilt("it cannot be opened again")
    found = MovieFacts(
        frames=round(movie.get(cv2.CAP_PROP_FRAME_COUNT)),
        width=round(movie.get(cv2.CAP_PROP_FRAME_WIDTH)),
        height=round(movie.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        fps=movie.get(cv2.CAP_PROP_FPS),
    )
    try:
        check_facts(found, facts)
    except OutputError:
        movie.release()
        raise
    return movie


def _frame_at(movie: cv2.VideoCapture, position: int) -> Frame | None:
    if position == 1:  # OpenCV 5.0.0 would skip it when asked to go there, but after frame 0 comes frame 1
        _frame_at(movie, 0)
    else:
        movie.set(cv2.CAP_PROP_POS_FRAMES, position)
    found, frame = movie.read()
    return np.asarray(frame, np.uint8) if found else None
