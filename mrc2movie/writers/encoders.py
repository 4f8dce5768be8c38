"""Encoders that movies share: to open one takes as long as to encode a small frame, and stops all other Python."""

import threading
from collections.abc import Hashable
from contextlib import suppress
from typing import Generic, TypeVar

Encoder = TypeVar("Encoder")
Model = TypeVar("Model")


class SharedEncoders(Generic[Encoder, Model]):
    """All encoders of this process, by their form: what distinguishes them.

    While movies of a form are made, all its encoders are kept; afterwards some, of the forms that were used last.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: dict[Hashable, _Form[Encoder, Model]] = {}

    def lend(self, form: Hashable, most_idle: int) -> "Lease[Encoder, Model]":
        """The encoders for a movie.

        Args:
            form: Equal where the encoders are.
            most_idle: So many may be kept when no movie uses any encoder; fewer where some of other forms are kept.
        """
        with self._lock:
            lent = self._forms.pop(form, None) or _Form(most_idle)
            self._forms[form] = lent  # the form that was used last is the last
            lent.movies += 1
        return Lease(self, lent)

    def end(self, lent: "_Form[Encoder, Model]") -> None:
        """A movie of this form needs no encoder any more."""
        with self._lock:
            lent.movies -= 1
            room = 1.0
            for form, other in reversed(list(self._forms.items())):
                if not other.movies:
                    room -= other.keep(room)
                    if not any(other.idle):
                        del self._forms[form]


class _Form(Generic[Encoder, Model]):
    """The idle encoders of one form, by the phase, 0 or 1, that each encodes next."""

    def __init__(self, most_idle: int) -> None:
        self.movies = 0
        self.model: Model | None = None
        self.idle: tuple[list[Encoder], list[Encoder]] = ([], [])
        self._most_idle = most_idle

    def keep(self, room: float) -> float:
        """Close those for which there is no room.

        Args:
            room: The part that is left of the room for all.

        Returns:
            The part that the others take.
        """
        most = int(room * self._most_idle)
        for encoders in self.idle:
            del encoders[most:]
            most -= len(encoders)
        return sum(map(len, self.idle)) / max(1, self._most_idle)


class Lease(Generic[Encoder, Model]):
    """The encoders for one movie; from any thread."""

    def __init__(self, shared: SharedEncoders[Encoder, Model], lent: _Form[Encoder, Model]) -> None:
        self._shared = shared
        self._lent = lent
        self._over = False

    @property
    def model(self) -> Model | None:
        """What containers need to know of the encoders; None until a movie has found it out."""
        return self._lent.model

    @model.setter
    def model(self, model: Model) -> None:
        self._lent.model = model

    def take(self, phase: int) -> Encoder | None:
        """An idle encoder, one that encodes this phase next where there is one; None where all are at work."""
        for idle in (self._lent.idle[phase], self._lent.idle[1 - phase]):
            with suppress(IndexError):
                return idle.pop()
        return None

    def put_back(self, phase: int, encoder: Encoder) -> None:
        """Leave an encoder to other threads, and say which phase it encodes next."""
        self._lent.idle[phase].append(encoder)

    def end(self) -> None:
        """Leave all to other movies; harmless when that is done."""
        if not self._over:
            self._over = True
            self._shared.end(self._lent)
