"""The levels of H.264 and HEVC: what a decoder must be able to do for a movie, as its parameter sets declare it.

Encoders choose a level by size and rate alone where each frame has a constant quantiser; the bits of a second are
known when the movie is written. So the level is declared then, in the parameter sets that the container keeps.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mrc2movie.options.codecs import H264, HEVC, Codec


@dataclass(frozen=True)
class Level:
    """What a decoder of a level can do.

    Attributes:
        number: As parameter sets have it: 41 is level 4.1 of H.264, 123 is level 4.1 of HEVC.
        size: Luma samples of a frame; no side is longer than the root of eight times as many.
        rate: Luma samples a second.
        bits: A second.
        high_tier: Whether it is one of HEVC's high tier.
    """

    number: int
    size: int
    rate: int
    bits: float
    high_tier: bool = False


def _h264(number: int, blocks_a_second: int, blocks: int, kilobits: int) -> Level:
    return Level(number, 256 * blocks, 256 * blocks_a_second, 1e3 * kilobits)


_LEVELS: Mapping[str, Sequence[Level]] = {
    # ITU-T H.264, table A-1. The rates are those of the Baseline and Main profiles; High allows a quarter more.
    H264.name: (
        _h264(10, 1485, 99, 64),
        _h264(11, 3000, 396, 192),
        _h264(12, 6000, 396, 384),
        _h264(13, 11880, 396, 768),
        _h264(20, 11880, 396, 2000),
        _h264(21, 19800, 792, 4000),
        _h264(22, 20250, 1620, 4000),
        _h264(30, 40500, 1620, 10000),
        _h264(31, 108000, 3600, 14000),
        _h264(32, 216000, 5120, 20000),
        _h264(40, 245760, 8192, 20000),
        _h264(41, 245760, 8192, 50000),
        _h264(42, 522240, 8704, 50000),
        _h264(50, 589824, 22080, 135000),
        _h264(51, 983040, 36864, 240000),
        _h264(52, 2073600, 36864, 240000),
        _h264(60, 4177920, 139264, 240000),
        _h264(61, 8355840, 139264, 480000),
        _h264(62, 16711680, 139264, 800000),
    ),
    # ITU-T H.265, tables A.8 and A.9.
    HEVC.name: (
        Level(30, 36864, 552960, 128e3),
        Level(60, 122880, 3686400, 1500e3),
        Level(63, 245760, 7372800, 3000e3),
        Level(90, 552960, 16588800, 6000e3),
        Level(93, 983040, 33177600, 10e6),
        Level(120, 2228224, 66846720, 12e6),
        Level(120, 2228224, 66846720, 30e6, high_tier=True),
        Level(123, 2228224, 133693440, 20e6),
        Level(123, 2228224, 133693440, 50e6, high_tier=True),
        Level(150, 8912896, 267386880, 25e6),
        Level(150, 8912896, 267386880, 100e6, high_tier=True),
        Level(153, 8912896, 534773760, 40e6),
        Level(153, 8912896, 534773760, 160e6, high_tier=True),
        Level(156, 8912896, 1069547520, 60e6),
        Level(156, 8912896, 1069547520, 240e6, high_tier=True),
        Level(180, 35651584, 1069547520, 60e6),
        Level(180, 35651584, 1069547520, 240e6, high_tier=True),
        Level(183, 35651584, 2139095040, 120e6),
        Level(183, 35651584, 2139095040, 480e6, high_tier=True),
        Level(186, 35651584, 4278190080, 240e6),
        Level(186, 35651584, 4278190080, 800e6, high_tier=True),
    ),
}

_ESCAPED = re.compile(b"\0\0\3")  # ITU-T H.264, 7.4.1: no start code within a unit
_TO_ESCAPE = re.compile(b"\0\0(?=[\0-\3])")
_MAIN, _RANGE_EXTENSIONS = 1, 4  # profiles of HEVC; phones play the first
_BLOCK = 16  # samples: H.264 counts whole macroblocks; for HEVC this is never too little


def declared(
    codec: Codec, parameters: bytes, width: int, height: int, fps: float, bits: float
) -> Iterator[tuple[bytes, bytes]]:
    """What in the header of a container is to be replaced by what, so that the level is true.

    The level is never lower than the one that the encoder has declared: it knows how many frames it refers to.

    Args:
        codec: Its row of the table; for any but H.264 and HEVC there is nothing to be replaced.
        parameters: The parameter sets as the encoder gives them: NAL units, each after a start code.
        width: Columns of a frame.
        height: Rows of a frame.
        fps: Frames a second.
        bits: The most in any second.
    """
    if codec.name not in _LEVELS:
        return
    level = _lowest(_LEVELS[codec.name], _whole_blocks(width), _whole_blocks(height), fps, bits)
    for unit in parameters.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]:
        if codec is H264 and unit[0] & 31 == 7:  # a sequence parameter set
            leveled = bytes((*unit[:3], max(unit[3], level.number), *unit[4:]))
            yield _avc_record(unit), _avc_record(leveled)
        elif codec is HEVC and unit[0] >> 1 in (32, 33):  # a video or a sequence parameter set
            begin = 6 if unit[0] >> 1 == 32 else 3
            plain = bytearray(_ESCAPED.sub(b"\0\0", unit))
            before = bytes(plain[begin : begin + 12])  # profile_tier_level
            number, tier = max((before[11], before[0] >> 5 & 1), (level.number, int(level.high_tier)))
            profile, compatible = before[0] & 31, before[1]
            if profile == _RANGE_EXTENSIONS:  # x265 calls movies of intra frames so, though they need no extension
                profile, compatible = _MAIN, compatible | 0x60
            after = bytes((tier << 5 | profile, compatible, *before[2:11], number))
            plain[begin : begin + 12] = after
            yield unit, _TO_ESCAPE.sub(b"\0\0\3", plain)
            yield b"\1" + before, b"\1" + after  # in HEVCDecoderConfigurationRecord, of ISO/IEC 14496-15


def _avc_record(unit: bytes) -> bytes:
    """The begin of an AVCDecoderConfigurationRecord (ISO/IEC 14496-15), up to the end of its parameter set."""
    return b"\1" + unit[1:4] + b"\xff\xe1" + len(unit).to_bytes(2) + unit


def _lowest(levels: Sequence[Level], width: int, height: int, fps: float, bits: float) -> Level:
    for level in levels:
        fits = width * height <= level.size and max(width, height) ** 2 <= 8 * level.size
        if fits and width * height * fps <= level.rate and bits <= level.bits:
            return level
    return levels[-1]


def _whole_blocks(side: int) -> int:
    return -(-side // _BLOCK) * _BLOCK
