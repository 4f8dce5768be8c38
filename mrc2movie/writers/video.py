"""Every format but AVI, through PyAV: FFmpeg's encoders and containers.

Either every frame for itself (`IndependentFrames`: each worker has an encoder, a packet is written again on the way
back) or frames predicted from each other (`PredictedFrames`: one encoder, which takes them one by one).
"""

import math
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import DTypeLike, NDArray

from mrc2movie.errors import Mrc2movieError, UsageError, not_written, saying
from mrc2movie.options.codecs import AV1, CODECS, GIF, H264, find_codec
from mrc2movie.options.settings import Settings
from mrc2movie.picture.render import Frame
from mrc2movie.store.names import printable
from mrc2movie.version import __version__
from mrc2movie.writers.encoders import SharedEncoders
from mrc2movie.writers.levels import declared
from mrc2movie.writers.movie import Encode, MovieFacts, MovieWriter, Packet, check_facts, spoilt

# The encoder of AV1 writes to standard error unless told before its first use.
os.environ.setdefault("SVT_LOG", "0")

_CONTAINERS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm", "gif": "gif"}
_CONTAINER_OPTIONS = {
    # No random numbers: the same movie has the same bytes. No checksum of what is declared at the end, see `declared`.
    "mkv": {"fflags": "+bitexact", "write_crc": "0"},
    "webm": {"fflags": "+bitexact"},
    "gif": {"loop": "0"},  # for ever
}
_INDEX_IN_FRONT = ("mp4", "mov")
"""A browser plays such a movie before it has all of it."""

_INDEX_BYTES, _FRAME_BYTES = 1 << 14, 48
"""Room for the index: for what is the same in every movie (1 kB, 3.5 kB with H.265), and for each frame. Of these the
tables take at most 45: stts 8, ctts 8, stss 4, stsz 4, stsc 12, co64 8, sdtp 1; ISO/IEC 14496-12. What is left over is
one box that players skip."""

_BT709, _LIMITED_RANGE, _FULL_RANGE = 1, 1, 2  # of ITU-T H.273, and FFmpeg's AVColorRange
_CHROMA_SPAN, _NEUTRAL = 224, 128  # of 8 bits in limited range
_GIF_SHORTEST_DELAY = 2  # hundredths of a second; browsers show what is shorter ten times slower
_GIF_LARGE = 50e6
_AVX512_SKX = 256  # of OpenCV's CpuFeatures, which Python has no name for; what x264 takes for AVX-512
_HEADER_BYTES = 2**16
"""In so many the parameter sets lie: in front of the table of the frames in MP4 and MOV, of the frames in MKV."""
_FAR_AWAY = 2**48  # in any time base later than any movie's end


@dataclass(frozen=True)
class PixelFormat:
    """How grey values are kept.

    Attributes:
        dtype: Of a sample.
        black: What grey value 0 becomes.
        white: What grey value 255 becomes.
        neutral: What no colour is; None where there are no planes for it.
    """

    dtype: DTypeLike
    black: int
    white: int
    neutral: int | None

    @property
    def scale(self) -> float:
        """By how much a sample grows with a grey value."""
        return (self.white - self.black) / 255

    @property
    def table(self) -> NDArray[Any]:
        """(256,): the sample for each grey value."""
        return np.rint(np.linspace(self.black, self.white, 256)).astype(self.dtype)

    def grey(self, samples: NDArray[Any]) -> Frame:
        """The grey values of samples, the way back."""
        grey = np.rint((samples.astype(np.float32) - self.black) / self.scale)
        return np.asarray(grey.clip(0, 255), np.uint8)


# Players take video for limited range whatever its flags say, so that is what they get.
PIXEL_FORMATS = {
    "yuv420p": PixelFormat(np.uint8, 16, 235, 128),
    "yuv422p10le": PixelFormat(np.uint16, 64, 940, 512),
    "gray": PixelFormat(np.uint8, 0, 255, None),
}


class GreyCanvas:
    """A frame of FFmpeg's that is drawn again and again.

    Args:
        form: How grey values are kept.
        pixels: FFmpeg's name for it.
        height: Rows.
        width: Columns.
    """

    def __init__(self, form: PixelFormat, pixels: str, height: int, width: int) -> None:
        self._table = form.table
        self._black, self._scale = form.black, form.scale
        self._video_frame = VideoFrame(width, height, pixels)
        grey, *colours = (
            np.frombuffer(memoryview(plane), form.dtype).reshape(plane.height, -1) for plane in self._video_frame.planes
        )
        self._grey = grey[:, :width]  # FFmpeg makes the lines longer
        for colour in colours:
            colour.fill(form.neutral)
        _set_colours(self._video_frame, form)

    def draw(self, frame: Frame, time: int) -> VideoFrame:
        """Draw a frame of just this size; it stays until the next is drawn."""
        if self._grey.dtype == np.uint8:  # the same in a third of the time
            cv2.convertScaleAbs(frame, self._grey, self._scale, self._black)
        else:
            cv2.LUT(frame, self._table, self._grey)
        self._video_frame.pts = time
        return self._video_frame


class ColourCanvas420:
    """A frame of FFmpeg's with a colour for two by two pixels, drawn again and again: a third of FFmpeg's time.

    Formula: ITU-R BT.709-6, 3.2 to 3.5. A colour is that of the mean of its pixels.

    Args:
        form: How grey values are kept.
        height: Rows, even.
        width: Columns, even.
    """

    def __init__(self, form: PixelFormat, height: int, width: int) -> None:
        self._black, self._scale = form.black, form.scale
        self._video_frame = VideoFrame(width, height, "yuv420p")
        grey, blue, red = (
            np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1) for plane in self._video_frame.planes
        )
        self._grey, self._blue, self._red = grey[:, :width], blue[:, : width // 2], red[:, : width // 2]
        self._whole = [np.empty((height, width), np.uint8) for _ in range(4)]
        self._half = [np.empty((height // 2, width // 2), np.uint8) for _ in range(4)]
        _set_colours(self._video_frame, form)

    def draw(self, frame: Frame, time: int) -> VideoFrame:
        """Draw a frame of just this size; it stays until the next is drawn."""
        *channels, luma = self._whole
        cv2.split(frame, channels)
        cv2.convertScaleAbs(_luma(channels, luma), self._grey, self._scale, self._black)
        *small, luma = self._half
        for channel, smaller in zip(channels, small, strict=True):
            cv2.resize(channel, smaller.shape[::-1], smaller, interpolation=cv2.INTER_AREA)
        _luma(small, luma)
        for colour, plane, span in ((small[2], self._blue, 1.8556), (small[0], self._red, 1.5748)):
            scale = _CHROMA_SPAN / (255 * span)
            cv2.addWeighted(colour, scale, luma, -scale, _NEUTRAL, plane)
        self._video_frame.pts = time
        return self._video_frame


def _luma(channels: Sequence[NDArray[np.uint8]], luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write the luma of BT.709 of red, green and blue; grey pixels keep their value exactly."""
    red, green, blue = channels
    cv2.addWeighted(red, 0.2126, green, 0.7152, 0, luma)
    cv2.addWeighted(luma, 1, blue, 0.0722, 0, luma)
    return luma


class ColourCanvas:
    """Where frames in red, green and blue become what an encoder takes.

    Args:
        form: How grey values are kept.
        pixels: FFmpeg's name of the pixel format.
    """

    def __init__(self, form: PixelFormat, pixels: str) -> None:
        self._form = form
        self._pixels = pixels
        self._reformatter = VideoReformatter()

    def draw(self, frame: Frame, time: int) -> VideoFrame:
        """A frame of FFmpeg's."""
        if self._pixels == GIF.colours:  # its dithering begins with what the frame before has left
            self._reformatter = VideoReformatter()
        rgb = VideoFrame.from_ndarray(frame, format="rgb24")
        drawn = self._reformatter.reformat(rgb, format=self._pixels, dst_colorspace=Colorspace.ITU709)
        _set_colours(drawn, self._form)
        drawn.pts = time
        return drawn


def _set_colours(labelled: VideoFrame | VideoCodecContext, form: PixelFormat) -> None:
    """Name the colours of frames or of an encoder: some write down what their frames name."""
    if form.neutral is None:
        labelled.color_range = _FULL_RANGE
    else:
        labelled.color_range = _LIMITED_RANGE
        labelled.color_primaries = labelled.color_trc = labelled.colorspace = _BT709


class VideoMovie(MovieWriter):
    """What both ways share: the container, the packets' way into it, the verification.

    Args:
        path: Where; the suffix is that of the format.
        shape: Of the frames: (rows, columns), or (rows, columns, 3) in colour.
        settings: Format, codec, rate and quality.
        title: What the movie is called.
        frames: At most so many will be written; None where nobody knows.
        threads: Of the encoder.

    Raises:
        Mrc2movieError: The codec cannot hold frames of this size.
        OutputError: The file cannot be made.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        settings: Settings,
        title: str,
        frames: int | None,
        threads: int = 1,
    ) -> None:
        self._threads = threads
        codec = find_codec(settings.codec)
        self._form = PIXEL_FORMATS[codec.pixels]
        self._in_colour = len(shape) == 3
        self._pixels = codec.colours if self._in_colour and codec.colours else codec.pixels
        self._rate = Fraction(str(settings.fps)).limit_denominator(1001)  # 30000/1001 is as fine as rates come
        if codec is GIF:
            self._rate = Fraction(100, max(_GIF_SHORTEST_DELAY, round(100 / self._rate)))
        self._tick = 1 / self._rate
        super().__init__(path, shape, float(self._rate), codec, even=self._form.neutral is not None)
        self._exact &= not (self._in_colour and codec is GIF)  # which has 256 of them
        if codec is GIF and self._in_colour:
            self.notes += ("a GIF has 256 colours: the nearest of these are shown",)
        if codec is GIF and self._rate != Fraction(str(settings.fps)):
            said = f"a GIF counts hundredths of a second: {self.fps:.4g} frames a second instead of {settings.fps:g}"
            if settings.fps * _GIF_SHORTEST_DELAY > 100:
                self.warnings += (f"{said}, the most that browsers show",)
            else:
                self.notes += (said,)
        mode = codec.small if settings.small else codec.frames
        assert mode is not None  # Settings refuses --small where there is none
        self._options = mode.options_for(settings.quality, self._threads, min(self.width, self.height))
        if codec is H264 and settings.small and cv2.checkHardwareSupport(_AVX512_SKX):
            # x264's AVX-512 code reads memory that nobody has written: bytes and sizes would differ from run to run.
            self._options["x264-params"] = "asm=AVX2"
        self._written = 0
        self._last_second: deque[int] = deque(maxlen=max(1, math.ceil(self._rate)))
        self._title = title or path.stem
        self._comment = " ".join([f"mrc2movie {__version__}", settings.command_line()]).strip()
        self._container_format = settings.format
        self._frames = frames
        self._container: OutputContainer | None = None

    def _begin(self, model: VideoStream | None = None) -> VideoStream:
        """Open the container, with a stream that says how its frames are encoded.

        Args:
            model: The stream of an earlier movie of the same form, whose headers are copied; None to open an encoder.
        """
        with _writing():
            container = av.open(
                str(self._path.absolute()),  # absolute, since FFmpeg takes ``a:b.mp4`` for a protocol
                "w",
                format=_CONTAINERS[self._container_format],
                container_options=_container_options(
                    self._container_format, self._frames, len(self._title) + len(self._comment)
                ),
            )
            stream = (
                container.add_stream_from_template(model)
                if model
                else container.add_stream(self._codec.encoder, rate=self._rate)
            )
        assert isinstance(stream, VideoStream)
        self._container, self._stream = container, stream
        # FFmpeg names itself as the encoder of the container, and lets the stream have another.
        maker = f"mrc2movie {__version__}"
        container.metadata.update(title=printable(self._title), comment=self._comment, encoding_tool=maker)
        stream.metadata["encoder"] = maker
        context = stream.codec_context
        if model:
            context.codec_tag = model.codec_context.codec_tag
        else:
            self._configure(context)
            if self._codec.tag and self._container_format in ("mp4", "mov"):
                context.codec_tag = self._codec.tag
            self._open_encoder(context)
        self._parameters = bytes(context.extradata or b"")
        with _writing():
            container.start_encoding()
        return stream

    def _canvas(self) -> GreyCanvas | ColourCanvas420 | ColourCanvas:
        if self._in_colour and self._pixels == "yuv420p":
            return ColourCanvas420(self._form, self.height, self.width)
        if self._in_colour:
            return ColourCanvas(self._form, self._pixels)
        return GreyCanvas(self._form, self._pixels, self.height, self.width)

    def _configure(self, context: VideoCodecContext) -> None:
        context.width, context.height = self.width, self.height
        context.pix_fmt = self._pixels
        context.framerate = self._rate
        context.time_base = self._tick
        context.thread_count = self._threads
        context.flags |= Flags.global_header
        _set_colours(context, self._form)
        context.options = dict(self._options)

    def _open_encoder(self, context: VideoCodecContext) -> None:
        try:
            with _no_higher_priority() if self._codec is AV1 else nullcontext():
                context.open()
        except av.error.FFmpegError as error:
            raise Mrc2movieError(
                f"{self._codec.name} cannot hold frames of {self.width} x {self.height} ({error.strerror})",
                "take another --codec, make them smaller with --max-size, or, if memory is short, take fewer --jobs",
            ) from error

    @contextmanager
    def _encoding(self) -> Iterator[None]:
        """Say that an encoder has failed; whatever is wrong with a frame, it is not its size."""
        try:
            yield
        except av.error.FFmpegError as error:
            raise Mrc2movieError(
                f"the encoder of {self._codec.name} failed ({error.strerror})", "if memory is short, take fewer --jobs"
            ) from error

    def _mux(self, packet: "av.Packet[Any]") -> None:
        assert self._container is not None
        packet.stream = self._stream
        self._last_second.append(8 * packet.size)
        self.packet_bytes += packet.size
        self.peak_bits = max(self.peak_bits, sum(self._last_second))
        with _writing():
            self._container.mux(packet)

    def close(self) -> None:
        """Write the index, close the file and declare the level; a GIF must not be too large for most programs."""
        if self._container is None:
            return
        with _writing():
            self._container.close()
        if self._path.exists():
            with saying("the movie cannot be written"):
                self._declare_level()
        size = self._path.stat().st_size if self._codec is GIF and self._path.exists() else 0
        if size > _GIF_LARGE:
            self.warnings += (
                f"a GIF of {size / 1e6:.0f} MB: few programs show such; --max-size or --format mp4 makes it smaller",
            )

    def _declare_level(self) -> None:
        found = list(declared(self._codec, self._parameters, self.width, self.height, self.fps, self.peak_bits))
        if not found:
            return
        with self._path.open("rb+") as movie:
            header = movie.read(_HEADER_BYTES)
            for before, after in found:
                header = header.replace(before, after)
            movie.seek(0)
            movie.write(header)

    def verify(self, facts: MovieFacts, ends: Mapping[int, Frame]) -> None:
        """The frames at the ends must decode."""
        try:
            with av.open(str(self._path.absolute())) as container:
                stream = container.streams.video[0]
                stream.codec_context.thread_count = 1
                frames = stream.frames  # MKV, WebM and GIF do not say
                if not frames:
                    frames = sum(1 for packet in container.demux(stream) if packet.size)
                rate = float(stream.average_rate or 0)
                check_facts(MovieFacts(frames, stream.width, stream.height, rate), facts)
                for position, frame in ends.items():
                    container.seek(_FAR_AWAY if position else 0, stream=stream)
                    decoded = container.decode(stream)
                    if position:  # more than one where decoding cannot begin at the last frame
                        decoded = iter(deque(decoded, maxlen=1))
                    self.check_picture(position, self._grey(next(decoded, None)), frame)
        except (av.error.FFmpegError, IndexError) as error:
            raise spoilt("it cannot be opened again") from error

    def _grey(self, shown: VideoFrame | None) -> Frame | None:
        if shown is None:
            return None
        if self._in_colour or shown.format.name != self._pixels:  # a GIF always comes back in colour
            rgb = shown.to_ndarray(format="rgb24")
            return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        samples = np.frombuffer(memoryview(shown.planes[0]), self._form.dtype).reshape(shown.height, -1)
        return self._form.grey(samples[:, : shown.width])


@dataclass
class _Encoder:
    """An encoder that gives one packet a frame, and its clock."""

    context: VideoCodecContext
    time: int = 0

    def __call__(self, canvas: GreyCanvas | ColourCanvas420 | ColourCanvas, frame: Frame) -> bytes:
        (packet,) = self.context.encode(canvas.draw(frame, self.time))
        self.time += 1
        return bytes(packet)


_encoders = SharedEncoders[_Encoder, VideoStream]()
_IDLE_PIXELS, _LEAST_PIXELS = 2**22, 2**18
"""H.264 encoders for so many pixels may be idle, each counted as at least _LEAST_PIXELS: up to 16 of 2.3 MB, and the
models hold as many again. Those of other codecs take up to ten times as much, or have threads: none is kept."""


class IndependentFrames(VideoMovie):
    """Every frame for itself: encoded once, by any worker, and written again on the way back.

    Encoders put headers before their first packet, which the container has already: they are cut off, so that it does
    not matter which worker encoded a frame, nor whether its encoder has worked for another movie before. A GIF has no
    other header, and gets it back before its first frame.

    The file is made with the first frame that is written.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], settings: Settings, title: str, frames: int | None) -> None:
        super().__init__(path, shape, settings, title, frames)
        self.alternates = self._codec.alternates
        self._phases = 2 if self.alternates else 1
        self._gif_header = b""
        size = self.width, self.height
        most_idle = _IDLE_PIXELS // max(math.prod(size), _LEAST_PIXELS) if self._codec is H264 else 0
        # The encoders of a GIF are for one movie alone, which needs the header of one of them.
        shared = SharedEncoders[_Encoder, VideoStream]() if self._codec is GIF else _encoders
        # What distinguishes encoders.
        form = (settings.format, settings.codec, self._pixels, size, self._rate, *self._options.items())
        self._encoders = shared.lend(form, most_idle)
        try:
            self._put_back(self._encoder_for(0))  # what an encoder refuses is refused at once
        except BaseException:
            self._encoders.end()
            raise

    def encoder(self) -> Encode:
        """An encoder that takes whichever of FFmpeg's is idle: for H.264 one whose turn is even or odd as wanted."""
        canvas = self._canvas()

        def encode(frame: Frame, turn: int) -> Packet:
            encoder = self._encoder_for(turn % self._phases)
            padded = self.padded(frame)
            with self._encoding():
                if encoder.time % self._phases != turn % self._phases:
                    encoder(canvas, np.zeros_like(padded))  # which takes the least time
                packet = self._without_header(encoder(canvas, padded))
            self._put_back(encoder)
            return packet

        return encode

    def _encoder_for(self, phase: int) -> _Encoder:
        encoder = self._encoders.take(phase)
        if encoder is None:
            encoder = _Encoder(_new_encoder(self._codec.encoder))
            self._configure(encoder.context)
            self._open_encoder(encoder.context)
        return encoder

    def _put_back(self, encoder: _Encoder) -> None:
        self._encoders.put_back(encoder.time % self._phases, encoder)

    def _without_header(self, packet: bytes) -> Packet:
        begin = max(0, packet.find(self._codec.begins))
        if begin and self._codec is GIF:
            self._gif_header = packet[:begin]
        return np.frombuffer(packet, np.uint8, offset=begin)

    def write(self, packet: Packet) -> None:
        """Append a frame."""
        if self._container is None:
            self._encoders.model = self._begin(self._encoders.model)
        header = self._gif_header if self._written == 0 else b""
        held = header + packet.tobytes() if header else packet.data
        muxed = av.Packet(held)  # type: ignore[arg-type]  # it refers to any buffer
        muxed.pts = muxed.dts = self._written
        muxed.time_base = self._tick
        muxed.is_keyframe = True
        self._written += 1
        self._mux(muxed)

    def close(self) -> None:
        """Close the file as `VideoMovie` does, and leave the encoders to other movies."""
        self._encoders.end()
        super().close()


class PredictedFrames(VideoMovie):
    """Frames predicted from each other, for the smallest file: one encoder takes them in the order of the movie.

    What is kept for the way back is the frames themselves.
    """

    packets_are_frames = False

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        settings: Settings,
        title: str,
        frames: int | None,
        threads: int,
    ) -> None:
        super().__init__(path, shape, settings, title, frames, threads)
        self._drawing = self._canvas()
        self._own_encoder = self._begin().codec_context
        self._open = True

    def encoder(self) -> Encode:
        """Only pads: the encoder is one for all frames, and works as they are written."""

        def encode(frame: Frame, turn: int) -> Packet:
            return self.padded(frame).flatten()

        return encode

    def write(self, packet: Packet) -> None:
        """Encode and append a frame."""
        frame = packet.reshape((self.height, self.width, 3) if self._in_colour else (self.height, self.width))
        drawn = self._drawing.draw(frame, self._written)
        self._written += 1
        with self._encoding():
            made = self._own_encoder.encode(drawn)
        for encoded in made:
            self._mux(encoded)

    def close(self) -> None:
        """Encode what is pending, write the index and close the file."""
        if self._open:
            self._open = False
            with self._encoding():
                pending = self._own_encoder.encode(None)
            for encoded in pending:
                if self._written <= 2:  # x265 leaves it to chance when so few frames are to be decoded: in their order
                    encoded.dts = encoded.pts
                self._mux(encoded)
        super().close()

    def abandon(self) -> None:
        """Drop what is pending."""
        self._open = False
        super().abandon()


def _container_options(container: str, frames: int | None, text: int) -> dict[str, str]:
    """FFmpeg's options of a container that gets so many frames, or nobody knows how many, and so long texts."""
    if container not in _INDEX_IN_FRONT:
        return _CONTAINER_OPTIONS.get(container, {})
    room = _INDEX_BYTES + 4 * text + _FRAME_BYTES * (frames or 0)  # 4 bytes a character
    if frames is None or room >= 2**31:  # FFmpeg takes an int
        return {"movflags": "+faststart"}  # which copies the movie once more
    return {"moov_size": str(room)}


def require_encoder(codec: str) -> None:
    """Refuse a codec that this build of PyAV cannot encode.

    Raises:
        UsageError: It cannot; the advice lists those that work here.
    """
    if not _encodes(codec):
        working = " ".join(name for name, row in CODECS.items() if not row.encoder or _encodes(name))
        raise UsageError(
            f"--codec {codec}: this PyAV has no {find_codec(codec).encoder}", f"those that work here are {working}"
        )


def _encodes(codec: str) -> bool:
    try:
        return _new_encoder(find_codec(codec).encoder) is not None
    except ValueError:  # av.codec.codec.UnknownCodecError is one
        return False


def _new_encoder(name: str) -> VideoCodecContext:
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, VideoCodecContext)
    return context


@contextmanager
def _no_higher_priority() -> Iterator[None]:
    """Take back what an encoder gives itself.

    SVT-AV1 puts its threads, and the first that ever opens it, at the highest real-time priority where it may, as root
    may: all else on the machine would wait for them.
    """
    threads = Path("/proc/self/task")
    if not threads.is_dir():
        yield
        return
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    before = _real_time_threads(threads)
    try:
        yield
    finally:
        for thread in _real_time_threads(threads) - before:
            with suppress(OSError):  # it has ended
                os.sched_setscheduler(thread, policy, priority)


def _real_time_threads(threads: Path) -> set[int]:
    found = set()
    for thread in [int(path.name) for path in threads.iterdir()]:
        with suppress(OSError):  # it has ended
            if os.sched_getscheduler(thread) == os.SCHED_FIFO:
                found.add(thread)
    return found


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except av.error.FFmpegError as error:
        raise not_written("the movie cannot be written", OSError(error.errno, error.strerror)) from error
