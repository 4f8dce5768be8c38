"""Whether the patterns of a scan are shown on a logarithmic scale."""

from contextlib import suppress
from dataclasses import replace

import numpy as np

from mrc2movie.options.settings import Settings
from mrc2movie.picture.sheet import evenly_spaced
from mrc2movie.readers.volume import SizeLearned, Volume

_FEW, _MOST = 0.03, 0.5
"""Where so small a part of the pixels holds more than this part of the sum, the rest would be black."""
_LOOKED_AT = 64


def settle_scale(settings: Settings, volume: Volume) -> tuple[Settings, tuple[str, ...]]:
    """The settings with the scale for a file, and what the user may want to know of it."""
    if settings.scale != "auto" or volume.description.kind != "scan" or (share := _share_of_few(volume)) <= _MOST:
        return settings, ()  # auto is linear, but for such patterns
    note = (
        f"shown as log(1 + intensity), since {100 * _FEW:g} % of the pixels hold {100 * share:.0f} % of the intensity "
        "(--scale linear shows it as it is)"
    )
    return replace(settings, scale="log"), (note,)


def _share_of_few(volume: Volume) -> float:
    """The part of the intensity that the brightest pixels of the mean of some patterns hold.

    Of a compressed file these are the first ones: all before the last one have to be unpacked.
    """
    scratch = np.empty(volume.scratch_bytes, np.uint8)
    mean = np.zeros(volume.description.section_shape)
    count = volume.description.shape[0]
    numbers = evenly_spaced(count, _LOOKED_AT) if volume.has_random_access else range(min(count, _LOOKED_AT))
    volume.expect(numbers, rising=True)
    with suppress(SizeLearned):  # what is there of a stream that ends early is enough
        for number in numbers:
            pattern = volume.section(number)(scratch).astype(np.float64)
            mean += np.nan_to_num(pattern, posinf=0.0, neginf=0.0).clip(0)
    brightest = np.sort(mean, axis=None)[::-1]
    total = brightest.sum()
    return float(brightest[: max(1, round(_FEW * brightest.size))].sum() / total) if total > 0 else 0.0
