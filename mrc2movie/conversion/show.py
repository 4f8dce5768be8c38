"""A finished movie in a notebook: played in the page, or its middle section where no browser plays it."""

import base64
import html
from contextlib import suppress
from pathlib import Path

import cv2

from mrc2movie.store.files import FileStamp
from mrc2movie.store.names import printable
from mrc2movie.writers.record import Record

_PLAYED = {"mp4": ("H264", "VP9", "AV1"), "webm": ("VP9", "AV1")}
"""The codecs that browsers play, by container."""
_MOST_BYTES = 20_000_000
"""A larger movie is not copied into the notebook."""
_POSTER_SIDE = 640


def in_html(movie: Path, record: Record, source: str, facts: str) -> str:
    """The movie, or the picture of its middle section, with the facts below.

    Whatever has become of the movie since, this raises nothing: without a picture the facts stand alone.

    Args:
        movie: Where it is.
        record: How it was made.
        source: What it was made of.
        facts: Of the movie, in a line.
    """
    picture = ""
    with suppress(OSError, UnicodeEncodeError, cv2.error):
        picture = _picture(movie, record)
    low, high = record.grey_range
    lines = [f"<b>{_escaped(str(movie))}</b> of {_escaped(source)}", facts]
    lines.append(f"{len(record.sections)} sections at {record.frames.fps:g} a second, grey range {low:g} … {high:g}")
    lines += map(_escaped, record.warnings)
    return f"<div>{picture}<div>{'<br>'.join(lines)}</div></div>"


def _escaped(text: str) -> str:
    return html.escape(printable(text))


def _picture(movie: Path, record: Record) -> str:
    if FileStamp.of(movie) != record.movie:
        return ""  # another one has taken its place
    container, codec = str(record.settings["format"]), record.settings["codec"]
    small = record.movie.size <= _MOST_BYTES
    style = 'style="max-width: 100%; display: block"'
    if small and codec in _PLAYED.get(container, ()):
        source = _data_url(f"video/{container}", movie.read_bytes())
        return f'<video controls loop muted autoplay playsinline {style} src="{source}"></video>'
    if small and container == "gif":
        return f'<img alt="the movie" {style} src="{_data_url("image/gif", movie.read_bytes())}">'
    poster = _poster(movie, len(record.sections) // 2)
    return f'<img alt="the middle section" {style} src="{_data_url("image/png", poster)}">' if poster else ""


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _poster(movie: Path, position: int) -> bytes:
    """A frame of a movie as PNG; nothing where it does not decode."""
    name = str(movie.absolute())
    name.encode()  # OpenCV would crash on what is not UTF-8
    capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
    try:
        capture.set(cv2.CAP_PROP_POS_FRAMES, position)
        decoded, frame = capture.read()
    finally:
        capture.release()
    if not decoded:
        return b""
    scale = min(1.0, _POSTER_SIDE / max(frame.shape[:2]))
    smaller = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else frame
    return cv2.imencode(".png", smaller)[1].tobytes()
