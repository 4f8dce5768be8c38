"""What each preset stands for."""

from collections.abc import Mapping

PRESETS: Mapping[str, Mapping[str, object]] = {
    "tilt": {
        "format": "mp4",
        "fps": 4.0,
        "order": "tilt",
        "match_mean": True,
        "label": "tilt",
        "max_size": 1024,
    },
    "tomogram": {
        "format": "mp4",
        "fps": 8.0,
        "average": 5,
        "max_size": 1024,
        "scale_bar": True,
    },
}
"""What each preset stands for: the movies of tilt series and of reconstructions that an electron-microscopy facility
shows its users."""

AUTO_PRESET: Mapping[str, object] = {
    name: value for name, value in PRESETS["tilt"].items() if PRESETS["tomogram"].get(name) == value
}
"""What ``auto`` stands for before a file is opened, and for files that fit no preset: what the presets share."""


def in_words(values: Mapping[str, object]) -> str:
    """The options of a preset as they would be typed, for the help."""
    flags = {f"--{name.replace('_', '-')}": value for name, value in values.items()}
    return ", ".join(
        flag if value is True else f"{flag} {value:g}" if isinstance(value, float) else f"{flag} {value}"
        for flag, value in flags.items()
    )
