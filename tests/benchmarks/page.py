"""What the page of all movies costs: to make its pictures, to write it, to look at it.

    python tests/benchmarks/page.py [--cards 2000] [--repeats 9] [--only pictures|writing|browser]

- pictures: the installed command with ``--report`` against without, in turns, on small and large tilt series: elapsed
  time, and processor time, which means something on a machine that does something else, too;
- writing: a page of so many cards, each of 300 sections: seconds and processor seconds to read the records and write
  it, again where nothing has changed, and its size;
- browser: Chromium, headless and without a graphics card: seconds until it can be used, memory of its process, and
  frames a second while it scrolls through a quarter of the cards at 50 pixels a frame.

The exit status is 1 where a bound is missed.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from speed import Bounds, Scratch, make, warm

sys.path.insert(0, str(Path(__file__).parent.parent))

from movies import write_mrc
from web import chromium

from mrc2movie import Settings, convert
from mrc2movie.pages.live import LivePage

SHAPES = {
    "20 x 41 x 512 x 512": (20, 41, 512),
    "5 x 41 x 1024 x 1024": (5, 41, 1024),
    "2 x 12 x 4092 x 4092": (2, 12, 4092),
}

SCROLL = """
const done = arguments[0], end = scrollY + innerHeight + document.documentElement.scrollHeight / 4, times = [];
let last = performance.now();
function step(now) {
  times.push(now - last);
  last = now;
  scrollBy(0, 50);
  if (scrollY + innerHeight < end) requestAnimationFrame(step);
  else done(times.slice(1));
}
requestAnimationFrame(step);
"""


def children_seconds() -> float:
    """Processor seconds of all commands so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def pictures(directory: Path, repeats: int, scratch: Scratch, bounds: Bounds) -> None:
    """The command with and without."""
    for name, (files, sections, side) in SHAPES.items():
        source = directory / name.replace(" ", "")
        source.mkdir()
        for number in range(files):
            make(source / f"{number}.mrc", (sections, side, side), "int16")
        elapsed: list[list[float]] = [[], []]
        spent: list[list[float]] = [[], []]
        for _ in range(repeats):
            for way, words in enumerate(((), ("--report",))):
                for path in source.iterdir():
                    warm(path)
                before = children_seconds()
                seconds, _, out = scratch.convert(source, *words)
                elapsed[way].append(seconds)
                spent[way].append(children_seconds() - before)
                for movie in out.glob("*.avi"):
                    movie.unlink()
        for what, (without, with_it), at_most in (("elapsed", elapsed, None), ("processor time", spent, 1.05)):
            ratio = statistics.median(one / other for one, other in zip(with_it, without, strict=True))
            bounds.hold(f"{name}: {what} with --report", ratio, "times", at_most=at_most)


def records(directory: Path, cards: int) -> Path:
    """A directory of so many movies as far as the page is concerned."""
    noise = np.random.default_rng(1).normal(0, 1, (300, 256, 256)).astype(np.float32)
    convert(write_mrc(directory / "one.mrc", noise), directory / "one.mp4", Settings(format="mp4", report=True))
    kept = json.loads((directory / ".mrc2movie/one.mp4.json").read_text())
    out = directory / "movies"
    (out / ".mrc2movie").mkdir(parents=True)
    for number in range(cards):
        name = f"Position_{number:04d}.mp4"
        kept["movie"]["name"], kept["source_paths"] = name, [f"/data/session/Position_{number:04d}.mrc"]
        (out / ".mrc2movie" / f"{name}.json").write_text(json.dumps({"format": 1, **kept}, indent=1))
        for kind in ("poster", "sheet"):
            os.link(directory / f".mrc2movie/one.mp4.{kind}.jpg", out / f".mrc2movie/{name}.{kind}.jpg")
        (out / name).touch()
    return out


def writing(out: Path, bounds: Bounds) -> None:
    """Reading the records, and writing the page."""
    page = LivePage(out, False, False)
    for what in ("from nothing", "again"):
        begin, used = time.perf_counter(), time.process_time()
        page._cards.read()
        page._write(live=True)
        bounds.hold(f"written {what}", time.perf_counter() - begin, "s")
        bounds.hold("  processor time", time.process_time() - used, "s", at_most=3)
    bounds.hold("its size", (out / "index.html").stat().st_size / 1e6, "MB", at_most=10)


def memory(driver: int) -> float:
    """MB of the process of the page, the largest of its kind below the driver; what it shares counts in part."""
    found, mine = [], {driver}
    for process in sorted(
        (path for path in Path("/proc").iterdir() if path.name.isdecimal()), key=lambda p: int(p.name)
    ):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent not in mine:
                continue
            mine.add(int(process.name))
            if "--type=renderer" in (process / "cmdline").read_text():
                lines = (process / "smaps_rollup").read_text().splitlines()
                found.append(next(int(line.split()[1]) for line in lines if line.startswith("Pss:")))
        except (OSError, UnicodeDecodeError):
            continue
    return max(found) / 1000


def browsing(out: Path, directory: Path, bounds: Bounds) -> None:
    """Looking at the page."""
    browser = chromium(directory / "profile", "window-size=1400,1000")
    browser.set_script_timeout(300)
    try:
        usable = []
        for _ in range(5):
            browser.get((out / "index.html").as_uri())
            usable.append(browser.execute_script("return performance.getEntriesByType('mark')[0].startTime"))
        bounds.hold("usable after", statistics.median(usable) / 1000, "s", at_most=1)
        time.sleep(1)
        bounds.hold("memory of the page", memory(browser.service.process.pid), "MB", at_most=300)
        times = browser.execute_async_script(SCROLL)
        bounds.hold("frames a second while it scrolls", 1000 / statistics.mean(times), "", at_least=50)
        bounds.hold("  share of the frames that come within 20 ms", statistics.mean(each <= 20 for each in times), "")
        bounds.hold("memory when it has scrolled", memory(browser.service.process.pid), "MB", at_most=300)
    finally:
        browser.quit()


def main() -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cards", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=9, help="runs with and without --report (default: 9)")
    parser.add_argument("--only", choices=("pictures", "writing", "browser"))
    arguments = parser.parse_args()
    bounds = Bounds(held=True)
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        if arguments.only in (None, "pictures"):
            pictures(directory, arguments.repeats, Scratch(directory), bounds)
        if arguments.only != "pictures":
            out = records(directory, arguments.cards)
            writing(out, bounds)
            if arguments.only in (None, "browser"):
                browsing(out, directory, bounds)
    return 0 if bounds.kept else 1


if __name__ == "__main__":
    sys.exit(main())
