"""Movies in a real browser: Chromium, headless, shows the right pixels of the section that it is sent to."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from movies import reference, thinned, write_mrc
from numpy.typing import NDArray
from web import served

from mrc2movie import Settings, convert

FPS = 5
PAGE = """<!doctype html><title>movie</title><video muted preload="auto"></video><script>
const video = document.querySelector("video");
function once(name) {
  return new Promise((resolve, reject) => {
    video.addEventListener(name, resolve, {once: true});
    video.addEventListener("error", () => reject(new Error(video.error.message)), {once: true});
  });
}
async function load(name) {
  video.src = name;
  await once("canplaythrough");
  return {duration: video.duration, width: video.videoWidth, height: video.videoHeight};
}
async function picture(time) {
  // A canvas drawn right after "seeked" may still get the frame before: wait until the new one is presented. Where the
  // video is on this frame already, none comes.
  const presented = new Promise(resolve => {
    video.requestVideoFrameCallback(resolve);
    setTimeout(resolve, 1000);
  });
  const there = once("seeked");
  video.currentTime = time;
  await there;
  await presented;
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  let text = "";
  for (const value of pixels) text += String.fromCharCode(value);
  return btoa(text);
}
</script>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a web site, and its directory."""
    directory = tmp_path_factory.mktemp("site")
    (directory / "page.html").write_text(PAGE)
    with served(directory) as (address, _):
        yield address, directory


def call(browser: Any, expression: str) -> Any:
    """The value of a promise of the page."""
    answer = browser.execute_async_script(
        f"const done = arguments[0]; {expression}.then(v => done(JSON.stringify(v)), e => done(`no: ${{e.message}}`));"
    )
    assert not answer.startswith("no:"), answer
    return json.loads(answer)


def wandering_bar(sections: int, rows: int, columns: int) -> NDArray[np.float32]:
    """(z, y, x), black at the left and white at the right; a bar near the top of the picture goes right with z."""
    volume = np.zeros((sections, rows, columns), np.float32)
    volume[:] = np.linspace(0, 255, columns)
    for z in range(sections):
        volume[z, -24:-8, 8 + 12 * z : 20 + 12 * z] = 255 - volume[z, -24:-8, 8 + 12 * z : 20 + 12 * z]
    return volume


@pytest.mark.parametrize(
    ("container", "codec", "small"),
    thinned(
        [
            ("mp4", "H264", False),
            ("mp4", "H264", True),
            ("webm", "VP9", False),
            ("webm", "VP9", True),
            ("mp4", "AV1", False),
        ],
        2,
    ),
)
def test_a_browser_loads_the_movie_and_shows_each_section_where_it_is_sent(
    site: tuple[str, Path], browser: Any, container: str, codec: str, small: bool
) -> None:
    address, directory = site
    sections, rows, columns = 9, 95, 128
    voxels = wandering_bar(sections, rows, columns)
    settings = Settings(format=container, codec=codec, small=small, fps=FPS, clip_limit=0, range="0,255")
    name = f"{codec}{small:d}.{container}"
    convert(write_mrc(directory / "in.mrc", voxels), directory / name, settings)
    expected = [np.pad(picture, ((0, 1), (0, 0)), mode="edge") for picture in reference(voxels, 0, 255)]

    browser.get(f"{address}/page.html")
    loaded = call(browser, f"load('{name}')")
    frames = 2 * sections - 2
    assert loaded["duration"] == pytest.approx(frames / FPS, abs=0.002)
    assert (loaded["width"], loaded["height"]) == (columns, rows + 1)
    for frame, section in [(7, 7), (0, 0), (15, 1), (8, 8), (9, 7), (3, 3), (14, 2)]:
        data = base64.b64decode(call(browser, f"picture({(frame + 0.5) / FPS})"))
        shown = np.frombuffer(data, np.uint8).reshape(rows + 1, columns, 4)
        losses = [float(np.abs(np.subtract(shown[..., 1], picture, dtype=int)).mean()) for picture in expected]
        assert int(np.argmin(losses)) == section
        assert losses[section] <= 2
        assert np.ptp(shown[..., :3], axis=2).max() <= (6 if codec == "AV1" else 1), "it has colours"
        assert shown[60:, 0, 1].max() <= 3, "black is not black"
        assert shown[60:, -1, 1].min() >= 252, "white is not white"


SHOWN = """
async function shown() {
  const element = document.querySelector("video, img");
  if (element.tagName === "VIDEO" && element.readyState < 4)
    await new Promise(resolve => element.addEventListener("canplaythrough", resolve, {once: true}));
  if (element.tagName === "VIDEO") {
    element.pause();
    const there = new Promise(resolve => element.addEventListener("seeked", resolve, {once: true}));
    element.currentTime = 4.5 / 5;
    await there;
    await new Promise(resolve => {element.requestVideoFrameCallback(resolve); setTimeout(resolve, 1000);});
  } else await element.decode();
  const canvas = document.createElement("canvas");
  canvas.width = element.videoWidth || element.naturalWidth;
  canvas.height = element.videoHeight || element.naturalHeight;
  const context = canvas.getContext("2d");
  context.drawImage(element, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  let text = "";
  for (const value of pixels) text += String.fromCharCode(value);
  return [element.tagName, canvas.height, canvas.width, btoa(text), document.body.innerText];
}
"""


@pytest.mark.parametrize(
    ("name", "tag", "section"),
    [("a.mp4", "VIDEO", 4), ("a.webm", "VIDEO", 4), ("a.gif", "IMG", 0), ("a.avi", "IMG", 4), ("a.mkv", "IMG", 4)],
)
def test_a_notebook_plays_the_movie_or_shows_its_middle_section(
    tmp_path: Path, browser: Any, name: str, tag: str, section: int
) -> None:
    voxels = wandering_bar(9, 96, 128)
    made = convert(voxels, tmp_path / name, Settings(fps=FPS, clip_limit=0, range="0,255"), voxel_size_A=10)
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><meta charset=utf-8>{made._repr_html_()}<script>{SHOWN}</script>")
    browser.get(page.as_uri())
    found, rows, columns, data, text = call(browser, "shown()")
    assert (found, rows, columns) == (tag, 96, 128)
    shown = np.frombuffer(base64.b64decode(data), np.uint8).reshape(rows, columns, 4)[..., 1]
    losses = [float(np.abs(np.subtract(shown, picture, dtype=int)).mean()) for picture in reference(voxels, 0, 255)]
    assert int(np.argmin(losses)) == section
    assert losses[section] <= 3
    assert "16 frames of 128 x 96" in text
    assert f"{tmp_path}/{name} of array" in text
