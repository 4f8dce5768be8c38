"""What each preset stands for."""

from collections.abc import Mapping

_BOTH: Mapping[str, object] = {"format": "mp4", "max_size": 1024, "min_size": 256}

PRESETS: Mapping[str, Mapping[str, object]] = {
    "tilt": {
        **_BOTH,
        "fps": 4.0,
        "order": "tilt",
        "match_mean": True,
        "label": "tilt",
        "smooth": 1.5,
        "clip_limit": 1.2,
    },
    "tomogram": {
        **_BOTH,
        "fps": 8.0,
        "average": 5,
        "deconv": True,
        "clip_limit": 0.0,
        "scale_bar": True,
    },
}
"""The movies of tilt series and of reconstructions that an electron-microscopy facility shows its users. Smoothing and
deconvolution, with little local contrast or none, are what an expert would choose (``tests/benchmarks/picture.py``)."""

SMOOTH_INSTEAD = 1.5
"""What ``tomogram`` smooths with where no voxel size is known, which the deconvolution needs."""

IMAGE_SECONDS = 2.0
"""Under a preset a single image is shown for so long: one frame would be gone before anybody sees it."""

AUTO_PRESET: Mapping[str, object] = _BOTH
"""What ``auto`` stands for before a file is opened, and for files that fit no preset: what the presets share."""


def in_words(values: Mapping[str, object]) -> str:
    """The options of a preset as they would be typed, for the help."""
    flags = {f"--{name.replace('_', '-')}": value for name, value in values.items()}
    return ", ".join(
        flag if value is True else f"{flag} {value:g}" if isinstance(value, float) else f"{flag} {value}"
        for flag, value in flags.items()
    )
