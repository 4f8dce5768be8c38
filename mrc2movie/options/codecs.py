"""The table of codecs: what encodes each, where it can be kept, how `--quality` becomes its own number.

Names and numbers only, no encoder: the help and the validation of the options need it, too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from mrc2movie.errors import UsageError

FORMATS = ("avi", "mp4", "mov", "mkv", "webm", "gif")
"""The containers; all but AVI, which OpenCV writes, are written through PyAV."""

_PLAYED_BITS = 50e6
"""What decoders in hardware take: level 4.1 of H.264, that of Blu-ray discs and of most phones."""

TINY = 64
"""Pixels: encoders fail in several ways at frames of less than a block of the largest kind."""


@dataclass(frozen=True)
class Mode:
    """One way to run an encoder.

    Attributes:
        options: The encoder's options; ``{q}`` stands for its own quality number, ``{threads}`` for the threads.
        tiny: Options in place of those where a side of the frames is below `TINY`.
        scale: Pairs of ``--quality`` and the encoder's number, ascending; between them it is interpolated.
    """

    options: Mapping[str, str]
    scale: Sequence[tuple[int, float]] = ()
    tiny: Mapping[str, str] = field(default_factory=dict)

    def options_for(self, quality: int, threads: int, shortest_side: int) -> dict[str, str]:
        """The options at a ``--quality`` of 1 … 100, for frames whose shorter side has so many pixels."""
        number = _interpolated(self.scale, quality) if self.scale else 0
        options = {**self.options, **(self.tiny if shortest_side < TINY else {})}
        return {name: value.format(q=number, threads=threads) for name, value in options.items()}


@dataclass(frozen=True)
class Codec:
    """A row of the table.

    Attributes:
        name: As ``--codec`` takes it.
        formats: The containers that can hold it; the first is the one for ``--codec`` alone.
        encoder: FFmpeg's name of the encoder; empty where OpenCV encodes.
        pixels: FFmpeg's name of the pixel format for grey frames.
        colours: FFmpeg's name of the pixel format for frames in colour, where it is another.
        frames: Every frame encoded for itself, in parallel; None where OpenCV encodes.
        small: Frames predicted from each other; None where the codec cannot.
        lossless: Whether frames come back exactly as they were rendered.
        sides: The shortest and the longest side in pixels that the encoder takes.
        played: (columns, rows) of the largest frames that common players decode, where that is less.
        fastest: The most frames a second that the encoder takes.
        played_bits: The most bits in a second that common players take of it in MP4 and MOV.
        tag: The name of the codec in MP4 and MOV, where players want another one than FFmpeg's default.
        begins: What a frame's packet begins with, after the headers that an encoder puts before some of them.
        alternates: Whether two frames that follow each other must carry different numbers; see `H264`.
    """

    name: str
    formats: tuple[str, ...]
    encoder: str = ""
    pixels: str = "yuv420p"
    colours: str = ""
    frames: Mode | None = None
    small: Mode | None = None
    lossless: bool = False
    sides: tuple[int, int] = (1, 65535)
    played: tuple[int, int] | None = None
    fastest: float = math.inf
    played_bits: float = math.inf
    tag: str | None = None
    begins: bytes = b""
    alternates: bool = False


# The scales were found with tests/benchmarks/quality.py: the number whose PSNR is that of MJPG at the same quality, on
# the noisy sections of a tomogram. A constant quantiser ("qp", or the same by other names) and not a rate control is
# what each frame for itself needs: its bytes depend on no other frame, and so not on which worker encoded it.
_X265_QUIET = "log-level=none:info=0"
# Its look ahead by slices, in frames of 720 rows and more, gives other bytes for other numbers of threads.
_X265_SMALL = f"{_X265_QUIET}:pools={{threads}}:frame-threads=1:wpp=1:lookahead-slices=0:crf={{q}}"

# Every frame is an IDR picture. Two that follow each other must differ in idr_pic_id (ITU-T H.264, 7.4.3).
# ultrafast takes CAVLC instead of CABAC: 6 % more bytes in a fifth of the time.
H264 = Codec(
    name="H264",
    formats=("mp4", "mov", "mkv"),
    encoder="libx264",
    frames=Mode(
        {"preset": "ultrafast", "tune": "zerolatency", "g": "1", "qp": "{q}"},
        # qp 0 would be lossless, in a profile that no browser plays
        ((1, 51), (10, 43), (25, 38), (50, 35.5), (75, 32), (85, 29), (90, 26), (95, 20.6), (98, 11), (100, 1)),
    ),
    small=Mode(
        # The bytes of x264 depend on the number of its threads; they must not depend on the machine. A slower preset, B
        # frames and more references save 3 to 6 % of noisy sections, in 2 to 10 times the time.
        {"preset": "veryfast", "tune": "psnr", "crf": "{q}", "threads": "1", "bf": "0"},
        ((1, 45), (10, 33.6), (25, 28), (50, 25.3), (75, 22.7), (85, 19.5), (90, 17), (95, 12), (98, 3), (100, 1)),
    ),
    sides=(1, 16384),
    played=(4096, 2304),  # level 5.2
    played_bits=_PLAYED_BITS,
    begins=b"\0\0\1\x65",  # a slice of an IDR picture
    alternates=True,
)
HEVC = Codec(
    name="HEVC",
    formats=("mp4", "mov", "mkv"),
    encoder="libx265",
    frames=Mode(
        {
            "preset": "ultrafast",
            "tune": "zerolatency",
            # With one of its loop filters on, x265 writes a flag that depends on the frame's number.
            "x265-params": f"{_X265_QUIET}:keyint=1:pools=none:frame-threads=1:wpp=0:no-sao=1:no-deblock=1:qp={{q}}",
        },
        ((1, 51), (10, 44), (25, 39), (50, 36), (75, 32.6), (85, 29.4), (90, 26.4), (95, 20.7), (98, 11), (100, 1)),
    ),
    small=Mode(
        {
            "preset": "superfast",  # slower ones take twice as long for 1 % fewer bytes of noise
            "tune": "psnr",
            "x265-params": _X265_SMALL,
        },
        ((1, 42), (10, 32), (25, 27), (50, 24.6), (75, 21.3), (85, 17.4), (90, 14.6), (95, 9), (98, 1), (100, 1)),
        # Its search through the frames ahead writes beyond its memory when a frame is up to 48 pixels wide.
        tiny={"x265-params": f"{_X265_SMALL}:cutree=0"},
    ),
    sides=(16, 16384),
    played=(8192, 4320),
    played_bits=_PLAYED_BITS,
    begins=b"\0\0\1\x28",  # a slice of an IDR picture; hvc1 wants the parameter sets in the header alone
    tag="hvc1",  # QuickTime plays no hev1
)
VP9 = Codec(
    name="VP9",
    formats=("webm", "mp4", "mkv"),
    encoder="libvpx-vp9",
    frames=Mode(
        {
            **{"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "g": "1"},
            **{"b": "0", "crf": "{q}", "qmin": "{q}", "qmax": "{q}"},
        },
        ((1, 63), (10, 48), (25, 41), (50, 36), (75, 29.5), (85, 24), (90, 17), (95, 8), (98, 2), (100, 0)),
    ),
    small=Mode(
        # Without row-mt: with it, the bytes for one thread differ from those for more.
        {"deadline": "good", "cpu-used": "5", "lag-in-frames": "25", "b": "0", "crf": "{q}"},
        ((1, 63), (10, 51), (25, 43), (50, 39), (75, 32.6), (85, 27), (90, 20.6), (95, 10.6), (98, 3), (100, 0)),
    ),
    sides=(1, 65534),
    played=(8192, 4320),
    played_bits=_PLAYED_BITS,
)
AV1 = Codec(
    name="AV1",
    formats=("mp4", "webm", "mkv"),
    encoder="libsvtav1",
    frames=Mode(
        {"preset": "10", "g": "1", "crf": "{q}", "svtav1-params": "lp=1:pred-struct=1"},
        ((1, 63), (10, 62), (25, 59), (50, 55.6), (75, 50.6), (85, 45), (90, 41), (95, 32), (98, 12), (100, 1)),
    ),
    small=Mode(
        {"preset": "8", "g": "250", "crf": "{q}", "svtav1-params": "lp={threads}"},
        ((1, 63), (10, 52), (25, 42), (50, 38), (75, 32.6), (85, 26.5), (90, 21), (95, 10.5), (98, 3), (100, 1)),
        # With more threads than one it crashes or hangs when a side is up to 24 pixels.
        tiny={"svtav1-params": "lp=1"},
    ),
    sides=(4, 16384),
    played=(8192, 4320),
    played_bits=_PLAYED_BITS,
    fastest=240,
)
FFV1 = Codec(
    name="FFV1",
    formats=("avi", "mkv"),
    encoder="ffv1",
    pixels="gray",
    colours="bgr0",
    frames=Mode({"level": "3", "g": "1", "context": "0"}),
    lossless=True,
)
PRORES = Codec(
    name="PRORES",
    formats=("mov", "mkv"),
    encoder="prores_ks",
    pixels="yuv422p10le",
    frames=Mode(
        # 118 is FFmpeg's FF_QP2LAMBDA
        {"profile": "hq", "flags": "+qscale", "global_quality": "{q}*118"},
        ((1, 64), (50, 60), (75, 43), (85, 30), (90, 22), (95, 11.5), (98, 5), (100, 2)),
    ),
)
GIF = Codec(
    name="GIF",
    formats=("gif",),
    encoder="gif",
    pixels="gray",
    colours="rgb8",
    # Every frame whole, and not what differs from the frame before: in noise all does.
    frames=Mode({"gifflags": "-offsetting-transdiff"}),
    lossless=True,
    begins=b"\x21\xf9",  # the graphic control extension
)
MJPG = Codec(name="MJPG", formats=("avi",), pixels="yuvj420p", sides=(1, 65500))  # libjpeg's JPEG_MAX_DIMENSION

CODECS: Mapping[str, Codec] = {codec.name: codec for codec in (MJPG, H264, HEVC, VP9, AV1, FFV1, PRORES, GIF)}
"""By name; for ``--format`` alone the first one that the container can hold is taken."""

OTHER_NAMES = {"H265": "HEVC", "X265": "HEVC", "LIBX265": "HEVC", "LIBX264": "H264", "AVC": "H264", "MJPEG": "MJPG"}
"""What people call some of them. H265 and X265 could be a FourCC, but OpenCV writes none of that name."""


def find_codec(name: str) -> Codec:
    """The row of a codec; a FourCC that is not in the table is for OpenCV, and AVI, to know."""
    return CODECS.get(name) or Codec(name=name, formats=("avi",))


def choose(codec: str | None, container: str | None, small: bool = False) -> tuple[str, str]:
    """Complete what the user gave to a codec and a container that go together.

    For the smallest file that is AV1 where what opens the container plays it: not MP4 and MOV.

    Raises:
        UsageError: They do not; the advice says what would.
    """
    if codec is None:
        container = container or FORMATS[0]
        if small and container in ("mkv", "webm"):
            return AV1.name, container
        return next(name for name, row in CODECS.items() if container in row.formats), container
    formats = find_codec(codec).formats
    if container is not None and container not in formats:
        others = ", ".join(name for name, row in CODECS.items() if container in row.formats)
        raise UsageError(
            f"--codec {codec} cannot go into --format {container}",
            f"{container} holds {others}; {codec} goes into {', '.join(formats)}",
        )
    return codec, container or formats[0]


def played_bits(codec: str, container: str) -> float:
    """The most bits in a second that common players take; no bound for the containers that such do not open."""
    return find_codec(codec).played_bits if container in ("mp4", "mov") else math.inf


def qualities(codec: str, small: bool, finest: int) -> Sequence[int]:
    """The qualities up to this one that are not the same to the encoder, ascending; this one alone if it has none."""
    row = find_codec(codec)
    if row is MJPG:
        return range(1, finest + 1)
    mode = row.small if small else row.frames
    if mode is None or not mode.scale:
        return (finest,)
    return sorted({_interpolated(mode.scale, quality): quality for quality in range(1, finest + 1)}.values())


def require_small(codec: str) -> None:
    """Refuse ``--small`` with a codec that predicts no frame from another.

    Raises:
        UsageError: It is such a codec.
    """
    if find_codec(codec).small is None:
        able = ", ".join(name for name, row in CODECS.items() if row.small)
        raise UsageError(
            f"--small: {codec} cannot predict frames from each other", f"take --format mp4, or --codec {able}"
        )


def require_rate(codec: str, fps: float) -> None:
    """Refuse more frames a second than the codec's encoder takes.

    Raises:
        UsageError: It takes fewer.
    """
    fastest = find_codec(codec).fastest
    if fps > fastest:
        raise UsageError(
            f"--fps {fps:g}: the encoder of {codec} takes at most {fastest:g} frames a second",
            "make it slower, or take another --codec",
        )


def _interpolated(scale: Sequence[tuple[int, float]], quality: int) -> int:
    """Between the two pairs around the quality, as a whole number: most encoders take no other."""
    for (low, at_low), (high, at_high) in pairwise(scale):
        if quality <= high:
            return round(at_low + (at_high - at_low) * (quality - low) / (high - low))
    raise ValueError(quality)
