"""How long it takes to read which images a collection names, and how much memory.

Run it with the package installed: ``python tests/benchmarks/particles.py [--rows 1000000] [--stacks 10000]``.

It writes a star of 26 columns as RELION 3.1 does, a ``.cs`` file as cryoSPARC does, and stacks of tiny images. Each
line is a process of its own: seconds elapsed and of the processor, and the most memory, all with the imports.
``split`` is the plain way, which splits every line of the star into words and keeps two of them.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mrcfile
import numpy as np

COLUMNS = (
    "rlnCoordinateX rlnCoordinateY rlnAutopickFigureOfMerit rlnClassNumber rlnAnglePsi rlnImageName rlnMicrographName "
    "rlnOpticsGroup rlnCtfMaxResolution rlnCtfFigureOfMerit rlnDefocusU rlnDefocusV rlnDefocusAngle rlnCtfBfactor "
    "rlnCtfScalefactor rlnPhaseShift rlnGroupNumber rlnAngleRot rlnAngleTilt rlnOriginXAngst rlnOriginYAngst "
    "rlnNormCorrection rlnLogLikeliContribution rlnMaxValueProbDistribution rlnNrOfSignificantSamples rlnRandomSubset"
)
OPTICS = "data_optics\n\nloop_ \n_rlnOpticsGroup #1 \n_rlnVoltage #2 \n_rlnImagePixelSize #3 \n1 300.0 1.05 \n \n"

TASKS = {
    "split": """
names = {}
rows = [(line.split()[5], names) for line in star.open("rb") if line.count(b" ") > 100]
""",
    "star, rows alone": """
from mrc2movie.readers.collections.collection import Finder
from mrc2movie.readers.collections.relion import read_star
from mrc2movie.readers.source import InputFile
read_star(InputFile(star), "", Finder(star, None), InputFile)
""",
    "star, and its stacks": "from mrc2movie.readers import open_volume\nopen_volume(star)",
    "cs, and its stacks": "from mrc2movie.readers import open_volume\nopen_volume(star.with_suffix('.cs'))",
}
REPORT = """
import re, time
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
print(time.process_time(), int(peak) // 1024)
"""


def make_data(project: Path, rows: int, stacks: int) -> None:
    """Write the collections and their images."""
    each = -(-rows // stacks)
    directory = project / "Extract/job012/Movies"
    directory.mkdir(parents=True)
    with mrcfile.new(project / "one.mrc") as mrc:
        mrc.set_data(np.zeros((each, 4, 4), np.int16))
    stack = (project / "one.mrc").read_bytes()
    for number in range(stacks):
        (directory / f"FoilHole_{number:06d}_Fractions.mrcs").write_bytes(stack)
    with (project / "particles.star").open("w") as file:
        file.write(OPTICS + "\ndata_particles\n\nloop_ \n")
        file.writelines(f"_{column} #{number} \n" for number, column in enumerate(COLUMNS.split(), start=1))
        for row in range(rows):
            name = f"Movies/FoilHole_{row // each:06d}_Fractions.mrc"
            numbers = "  3.400000     0.123456 12345.678901 12300.123456    45.678901     0.000000     1.000000"
            file.write(
                f" 1234.567890  2345.678901     0.123456 {row % 50 + 1:12d}    12.345678 "
                f"{row % each + 1:06d}@Extract/job012/{name}s MotionCorr/job002/{name}            1 {numbers} "
                f"    0.000000 {row % 999 + 1:12d}   -12.345678    90.123456     1.234567    -2.345678     0.800000 "
                f"1.234567e+05     0.123456 {row % 30:12d} {row % 2 + 1:12d} \n"
            )
    fields = "uid:u8 blob/path:S80 blob/idx:u4 blob/psize_A:f4 ctf/df1_A:f4 ctf/df2_A:f4 ctf/accel_kv:f4 pose:3f4"
    records = np.zeros(rows, [tuple(field.split(":")) for field in fields.split()])
    at = np.arange(rows)
    names = [f">Extract/job012/Movies/FoilHole_{number:06d}_Fractions.mrcs" for number in range(stacks)]
    records["blob/path"], records["blob/idx"] = np.array(names, "S80")[at // each], at % each
    records["blob/psize_A"] = 1.05
    with (project / "particles.cs").open("wb") as cs:
        np.save(cs, records)


def main() -> None:
    """Make the data, and read it."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--stacks", type=int, default=10_000)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory)
        make_data(project, asked.rows, asked.stacks)
        size = (project / "particles.star").stat().st_size
        print(f"{asked.rows} rows, {size / 1e6:.0f} MB of star, {asked.stacks} stacks")
        for task, code in TASKS.items():
            paths = f"from pathlib import Path\nstar = Path({str(project)!r}, 'particles.star')\n"
            begin = time.perf_counter()
            words = [sys.executable, "-c", paths + code + REPORT]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            seconds, megabytes = done.stdout.split()
            elapsed = time.perf_counter() - begin
            print(f"{task:22} {elapsed:6.2f} s elapsed, {float(seconds):6.2f} s of the processor, {megabytes:>5} MB")


if __name__ == "__main__":
    main()
