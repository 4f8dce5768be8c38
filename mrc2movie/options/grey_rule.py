"""How black and white are found: the parsed form of ``--range``, without arithmetic, so that the help loads quickly."""

import math
from dataclasses import dataclass
from typing import Literal, cast


@dataclass(frozen=True)
class GreyRule:
    """A rule for the grey range.

    Attributes:
        kind: Its name; ``fixed`` where the user gave the range itself.
        values: Its numbers, as the help of ``--range`` lists them.
    """

    kind: Literal["auto", "minmax", "percentile", "sigma", "mad", "fixed"]
    values: tuple[float, ...] = ()

    @property
    def needs_sample(self) -> bool:
        """Whether more than minimum and maximum must be known."""
        return self.kind not in ("minmax", "fixed")

    @classmethod
    def parse(cls, text: str) -> "GreyRule":
        """Parse the text form.

        Raises:
            ValueError: The text is none of the forms that the help lists.
        """
        if text in ("auto", "minmax"):
            return cls(cast(Literal["auto", "minmax"], text))
        kind, _, numbers = text.rpartition(":")
        values = tuple(float(number) for number in numbers.split(","))
        if not all(math.isfinite(value) for value in values) or text.startswith(":"):
            raise ValueError(text)
        match kind, values:
            case "percentile", (low, high) if 0 <= low < high <= 100:
                return cls("percentile", values)
            case "sigma" | "mad", (factor,) if 0 < factor <= 1_000_000:
                return cls(kind, values)
            case "", (low, high) if low < high and math.isfinite(high - low):
                return cls("fixed", values)
        raise ValueError(text)
