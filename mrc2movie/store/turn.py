"""Runs that a scheduler begins again where they were lost: whose place in a claim a new turn may take."""

import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """One turn of such a run.

    A claim of a machine that was lost would else be taken for alive for half an hour, and the movie be left to nobody.

    Attributes:
        run: Stands for the run.
        number: Counts its turns; None where a movie has one turn at a time, so that any other claim of the run is that
            of a lost one.
        lost: So many turns were lost while they made the movie.
    """

    run: str
    number: int | None = None
    lost: int = 0

    @property
    def is_first(self) -> bool:
        """Whether it follows none."""
        return self.number == 0

    def follows(self, other: "Turn") -> bool:
        """Whether the other one has ended, however alive it looks."""
        return self.run == other.run and (self.number is None or (other.number or 0) < self.number)

    def as_bytes(self, lost: int) -> bytes:
        """As it is kept in a claim, after so many lost turns."""
        return json.dumps({"run": self.run, "number": self.number, "lost": lost}).encode()

    @classmethod
    def of(cls, text: bytes) -> "Turn | None":
        """The one that is kept; None where it is none."""
        try:
            kept = json.loads(text)
            return cls(str(kept["run"]), kept["number"] and int(kept["number"]), int(kept["lost"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


def slurm_turn(environment: Mapping[str, str]) -> Turn | None:
    """That of a Slurm job, which is begun again under its number when its node is lost; None outside of any."""
    job, turns = environment.get("SLURM_JOB_ID"), environment.get("SLURM_RESTART_COUNT", "0")
    if not job or not turns.isdecimal():
        return None
    return Turn(f"slurm {environment.get('SLURM_CLUSTER_NAME', '')} {job}", int(turns))
