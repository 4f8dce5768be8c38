"""The page of all movies in a real browser: scrubbing, filtering, marking, exporting, reloading, hostile names."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from movies import run, write_mrc
from web import chromium, served

from mrc2movie import Settings, convert
from mrc2movie.pages.cards import Cards, Failure
from mrc2movie.pages.html import page
from mrc2movie.pages.live import LivePage

GREYS = [10 + 8 * z for z in range(30)]
"""The grey of each section of the movies here: a screenshot shows which one is seen."""


def make(directory: Path, names: list[str], *options: str) -> Path:
    """Movies of sections of one grey each, and their page."""
    (directory / "in").mkdir()
    voxels = np.array(GREYS, np.float32)[:, None, None] + np.zeros((len(GREYS), 24, 32), np.float32)
    write_mrc(directory / "in/first", voxels, voxel_size_A=10)
    for name in names:
        os.link(directory / "in/first", directory / "in" / name)
    (directory / "in/first").unlink()
    (directory / "in/broken.mrc").write_bytes(b"no MRC file")
    words = ("--range=0,255", "--clip-limit=0", "--report", "--fps=5", "--quiet", *options)
    assert run(directory / "in", directory / "out", *words) == 1  # the broken one
    return directory / "out"


def opened(browser: Any, address: str) -> None:
    """Look at a page, and wait until it is usable."""
    browser.get(address)
    waited(lambda: browser.execute_script("return document.documentElement.dataset.ready"))


def waited(what: Callable[[], Any], seconds: float = 10) -> Any:
    """The first true value that a function gives."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)
    return found


def complaints(browser: Any) -> list[str]:
    """What the browser complains of: errors of the script, violations of the policy."""
    return [entry["message"] for entry in browser.get_log("browser")]


def card(browser: Any, name: str) -> Any:
    """The card of an input."""
    for found in browser.find_elements("css selector", ".card"):
        if found.find_element("css selector", "h2").text == name:
            return found
    raise AssertionError(name)


def names(browser: Any) -> list[str]:
    """Of the cards that are shown, in their order."""
    return list(browser.execute_script("return [...document.querySelectorAll('.card h2')].map(e => e.textContent)"))


def seen(browser: Any, element: Any) -> int:
    """The grey in the middle of an element, as a person sees it."""
    browser.execute_script("return new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
    picture = cv2.imdecode(np.frombuffer(element.screenshot_as_png, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    rows, columns = picture.shape
    return int(np.median(picture[rows // 2 - 10 : rows // 2 + 10, columns // 2 - 10 : columns // 2 + 10]))


def press(browser: Any, *keys: str) -> None:
    """Press keys, wherever the focus is."""
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def hover(browser: Any, element: Any, share: float) -> None:
    """Move the pointer over an element, from its left edge (0) to its right (1)."""
    from selenium.webdriver.common.action_chains import ActionChains

    x = round((share - 0.5) * element.size["width"])
    ActionChains(browser).move_to_element_with_offset(element, x, 0).perform()


def choose(browser: Any, name: str, value: str) -> None:
    """Choose in a list of the page."""
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("id", name)).select_by_value(value)


def shows(greys: int, found: int) -> bool:
    """Whether a grey is that of a section, to within what JPEG and scaling change."""
    return abs(greys - found) <= 3


def waited_for_cell(browser: Any, element: Any, cell: int) -> bool:
    """Whether an element comes to show a cell of the sheet: of 30 sections it has 24."""
    return bool(waited(lambda: shows(GREYS[round(cell * 29 / 23)], seen(browser, element))))


def test_a_page_from_the_disk_is_scrubbed_filtered_and_marked(tmp_path: Path, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    out = make(tmp_path, ["TS_1.mrc", "TS_10.mrc", "TS_2.rec"])
    opened(browser, (out / "index.html").as_uri())
    assert names(browser) == ["broken.mrc", "TS_1.mrc", "TS_2.rec", "TS_10.mrc"]
    first = card(browser, "TS_1.mrc")
    poster = first.find_element("css selector", ".poster")
    assert waited(lambda: shows(GREYS[15], seen(browser, poster))), "the poster is the middle section"
    for share in (0.01, 0.99, 0.6):
        hover(browser, poster, share)
        assert waited_for_cell(browser, poster, int(share * 24))
    assert first.find_element("css selector", ".where").text == "section 18 · mean 154"

    browser.find_element("id", "words").send_keys("ts_1")
    waited(lambda: names(browser) == ["TS_1.mrc", "TS_10.mrc"])
    press(browser, Keys.ARROW_DOWN, "y", Keys.ARROW_DOWN, "n", "/", Keys.ESCAPE)
    waited(lambda: len(names(browser)) == 4)
    assert browser.find_element("id", "counts").text == "4 files · 1 failed · 3 with quality signals · 1 good · 1 bad"
    browser.refresh()
    choose(browser, "mark", "bad")
    assert names(browser) == ["TS_10.mrc"]
    choose(browser, "mark", "good")
    assert names(browser) == ["TS_1.mrc"]
    assert complaints(browser) == []
    browser.execute_script("localStorage.clear(); sessionStorage.clear()")


# The rest takes half a minute.


@pytest.mark.large
def test_keys_alone_do_all_that_the_pointer_does(tmp_path: Path, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    out = make(tmp_path, ["a.mrc", "b.mrc"], "--format=mp4")
    opened(browser, (out / "index.html").as_uri())
    browser.execute_script("document.querySelector('.card').focus()")
    press(browser, Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.ARROW_UP)
    assert browser.switch_to.active_element.get_attribute("aria-label").startswith("a.mrc, ")
    poster = card(browser, "a.mrc").find_element("css selector", ".poster")
    for keys, cell in (((Keys.ARROW_RIGHT,) * 3, 15), ((Keys.ARROW_LEFT,) * 30, 0), ((Keys.ARROW_RIGHT,) * 2, 2)):
        press(browser, *keys)
        assert waited_for_cell(browser, poster, cell)
    assert "section 3" in waited(lambda: browser.find_element("id", "said").get_attribute("textContent"))
    press(browser, "e", "a note y n")  # into the note, not as keys
    press(browser, Keys.ESCAPE, "n")
    detail = browser.find_element("id", "detail")
    assert detail.get_attribute("open") is not None
    press(browser, " ")
    assert waited(lambda: browser.execute_script("return document.querySelector('video')?.currentTime > 0.3"))
    press(browser, " ")
    assert browser.execute_script("return document.querySelector('video').paused")
    press(browser, Keys.ARROW_DOWN)
    assert browser.find_element("id", "detail-name").text == "b.mrc"
    press(browser, "y", Keys.ESCAPE)
    assert detail.get_attribute("open") is None
    assert browser.switch_to.active_element.get_attribute("aria-label").endswith("marked good")
    kept = browser.execute_script("return JSON.parse(localStorage[Object.keys(localStorage)[0]])")
    assert kept == [["a.mp4", {"mark": "bad", "note": "a note y n"}], ["b.mp4", {"mark": "good", "note": ""}]]
    press(browser, "y")
    assert "marked" not in card(browser, "b.mrc").get_attribute("aria-label")
    assert complaints(browser) == []
    browser.execute_script("localStorage.clear(); sessionStorage.clear()")


@pytest.mark.large
@pytest.mark.parametrize(("container", "codec"), [("mp4", "H264"), ("webm", "VP9"), ("mp4", "AV1"), ("gif", "GIF")])
def test_a_click_plays_the_movie(tmp_path: Path, browser: Any, container: str, codec: str) -> None:
    out = make(tmp_path, ["a.mrc"], f"--format={container}", f"--codec={codec}")
    opened(browser, (out / "index.html").as_uri())
    card(browser, "a.mrc").find_element("css selector", ".poster").click()
    if container == "gif":
        assert waited(lambda: browser.execute_script("return document.querySelector('.whole').naturalWidth")) == 32
    else:
        assert waited(lambda: browser.execute_script("return document.querySelector('video').currentTime > 0.3"))
    assert complaints(browser) == []


@pytest.mark.large
def test_where_no_browser_plays_the_movie_its_sections_are_shown_and_what_opens_it(
    tmp_path: Path, browser: Any
) -> None:
    out = make(tmp_path, ["a.mrc"])
    opened(browser, (out / "index.html").as_uri())
    card(browser, "a.mrc").find_element("css selector", ".poster").click()
    play = browser.find_element("css selector", ".play")
    assert play.text == (
        "Browsers do not play MJPG in AVI. Open a.avi in ImageJ or VLC, or make it again with --format mp4."
    )
    assert (
        browser.execute_script("return document.querySelector('.play a').href").split("?")[0]
        == (out / "a.avi").as_uri()
    )
    stage = browser.find_element("css selector", ".stage")
    hover(browser, stage, 0.99)
    assert waited(lambda: shows(GREYS[29], seen(browser, stage)))
    (out / "a.mp4").write_bytes(b"damaged")


@pytest.mark.large
def test_a_movie_that_is_damaged_is_said_to_be_unplayable(tmp_path: Path, browser: Any) -> None:
    out = make(tmp_path, ["a.mrc"], "--format=mp4")
    (out / "a.mp4").write_bytes(b"damaged")
    opened(browser, (out / "index.html").as_uri())
    card(browser, "a.mrc").find_element("css selector", ".poster").click()
    play = browser.find_element("css selector", ".play")
    assert waited(lambda: play.text.startswith("This browser cannot play it. Open a.mp4"))


def downloaded(directory: Path, name: str) -> str:
    """The text of a file that the browser was told to keep."""
    path = directory / "downloads" / name
    waited(lambda: path.exists() and not list(path.parent.glob("*.crdownload")))
    text = path.read_bytes().decode()
    path.unlink()
    return text


@pytest.mark.large
def test_marks_come_out_as_text_csv_and_json_and_go_in_again(tmp_path: Path) -> None:
    browser = chromium(tmp_path / "profile")
    try:
        out = make(tmp_path, ["=1+1.mrc", "a,b.mrc", 'q"uote.mrc', "plain.rec", "new\nline.mrc"])
        opened(browser, (out / "index.html").as_uri())
        marks = {"=1+1.mrc": "y", "a,b.mrc": "y", 'q"uote.mrc': "n", "new\\nline.mrc": "y"}
        for name, key in marks.items():
            browser.execute_script("arguments[0].focus()", card(browser, name))
            press(browser, key)
        press(browser, "e", 'two\nlines, "quoted", and ünï', "\ue00c", "\ue00c")

        def exported(button: str, name: str) -> str:
            browser.execute_script("document.getElementById('menu').open = true")
            browser.find_element("id", button).click()
            return downloaded(tmp_path / "profile", name)

        assert exported("good-text", "good.txt") == f"{tmp_path}/in/=1+1.mrc\n{tmp_path}/in/a,b.mrc\n"
        said = browser.find_element("id", "said")
        assert waited(lambda: "1 with a line break left out" in said.get_attribute("textContent"))
        listed = tmp_path / "bad.txt"
        listed.write_text(exported("bad-text", "bad.txt"))
        command = f'while read -r file; do wc -c <"$file"; done <"{listed}"'
        counted = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
        assert counted.stdout.split() == [str((tmp_path / 'in/q"uote.mrc').stat().st_size)]
        for style, line in (("name", 'q"uote.mrc'), ("stem", 'q"uote'), ("tomostar", 'q"uote.tomostar')):
            browser.execute_script("document.getElementById('menu').open = true")
            choose(browser, "style", style)
            assert exported("bad-text", "bad.txt") == f"{line}\n"
        as_csv, as_json = exported("csv", "marks.csv"), exported("json", "marks.json")
        assert as_csv.splitlines()[0] == "movie,input,mark,note"
        assert '"\'=1+1.avi"' in as_csv
        note = 'two\nlines, "quoted", and ünï'
        kept = {row["movie"]: (row["mark"], row["note"]) for row in json.loads(as_json)["marks"]}
        assert kept == {
            "=1+1.avi": ("good", ""),
            "a,b.avi": ("good", ""),
            'q"uote.avi': ("bad", ""),
            "new\nline.avi": ("good", note),
        }

        def read(name: str, text: str) -> dict[str, Any]:
            browser.execute_script("localStorage.clear()")
            browser.refresh()
            (tmp_path / name).write_text(text)
            browser.find_element("id", "file").send_keys(str(tmp_path / name))
            waited(lambda: "marks read" in browser.find_element("id", "said").get_attribute("textContent"))
            found = browser.execute_script("return Object.values(localStorage)")
            return {key: (mark["mark"], mark["note"]) for key, mark in json.loads(found[0])}

        assert read("m.csv", as_csv) == kept
        assert read("m.json", as_json) == kept
        found = read("some.txt", 'q"uote\nplain.rec\nnot here\n')
        assert found == {'q"uote.avi': ("good", ""), "plain.avi": ("good", "")}
        assert complaints(browser) == []
    finally:
        browser.quit()


def publish(out: Path, live: float, failures: list[Failure]) -> None:
    """Write a page as a run does, but one that reloads itself sooner."""
    cards = Cards(out, False)
    cards.read()
    (out / "new").write_text("".join(page("night", cards.in_json(failures), live, time.time())))
    (out / "new").replace(out / "index.html")


@pytest.mark.large
def test_a_live_page_reloads_itself_and_keeps_place_filter_marks_and_focus(tmp_path: Path, browser: Any) -> None:
    out = make(tmp_path, [f"TS_{number:02d}.mrc" for number in range(60)])
    with served(out) as (address, asked):
        for url in (f"{address}/", (out / "index.html").as_uri()):
            publish(out, 1, [])
            opened(browser, url)
            assert "A run is under way" in browser.find_element("id", "live").text
            choose(browser, "sort", "newest")
            choose(browser, "state", "signals")
            wanted = names(browser)[40]
            browser.execute_script("arguments[0].focus(); scrollBy(0, 37)", card(browser, wanted))
            press(browser, "y")
            top = browser.execute_script("return document.activeElement.getBoundingClientRect().top")
            browser.execute_script("window.before = true")
            publish(out, 1, [Failure(Path("/in/new.mrc"), out / "new.avi", "is damaged")])
            waited(lambda: not browser.execute_script("return window.before"), 20)
            waited(lambda: browser.execute_script("return document.documentElement.dataset.ready"))
            assert "1 failed" in browser.find_element("id", "counts").text
            assert browser.find_element("id", "sort").get_attribute("value") == "newest"
            assert len(names(browser)) == 60
            active = browser.switch_to.active_element
            assert active.get_attribute("aria-label").startswith(f"{wanted}, ")
            assert active.get_attribute("aria-label").endswith("marked good")
            moved = browser.execute_script("return document.activeElement.getBoundingClientRect().top") - top
            assert abs(moved) <= 2

            browser.find_element("id", "live").click()  # held
            browser.execute_script("window.before = true; scrollBy(0, 1)")
            time.sleep(5)
            assert browser.execute_script("return window.before")
            publish(out, 0, [])
            opened(browser, url)
            assert not browser.find_element("id", "live").is_displayed()
            browser.execute_script("localStorage.clear(); sessionStorage.clear()")
    assert {path.split("?")[0].rpartition("/")[0] for path in asked} <= {"", "/.mrc2movie"}
    assert complaints(browser) == []


HOSTILE = [
    "<img src=x onerror=alert(1)>.mrc",
    "]]>.mrc",
    "</script><script>alert(1)<",
    "a'b\"c`d.mrc",
    "שלום ‮gpj.mrc",
    "%2e%2e #?&amp;.mrc",
    "javascript:alert(1).mrc",
    "__proto__",
    "constructor.mrc",
    "n" * 251 + ".mrc",
]


IMAGES = "return document.querySelectorAll('.card canvas[data-painted]').length"


@pytest.mark.large
def test_hostile_names_are_shown_as_they_are_and_their_pictures_found(tmp_path: Path, browser: Any) -> None:
    files = [name.replace("/", "|") for name in HOSTILE]
    out = make(tmp_path, files, "--pattern=*", "--format=mp4")
    with served(out) as (address, asked):
        for url in (f"{address}/index.html", (out / "index.html").as_uri()):
            opened(browser, url)
            assert len(names(browser)) == len(files) + 1
            shown = {name.replace("‮", "\\u202e") for name in files}
            assert set(names(browser)) - {"broken.mrc"} == shown
            waited(lambda: browser.execute_script(IMAGES) == len(files))
            first = browser.find_element("css selector", ".card .poster:not(:disabled)")
            hover(browser, first, 0.01)
            assert waited_for_cell(browser, first, 0)
            first.click()
            waited(lambda: browser.execute_script("return document.querySelector('video')?.currentTime > 0.2"))
            browser.execute_script("document.querySelector('.close').click()")
            assert not browser.find_elements("css selector", "[onerror]")
            assert complaints(browser) == []
            browser.execute_script("localStorage.clear(); sessionStorage.clear()")
    assert {path.split("?")[0].rpartition("/")[0] for path in asked} == {"", "/.mrc2movie"}


@pytest.mark.large
def test_a_page_without_records_and_one_with_damaged_records_say_so(tmp_path: Path, browser: Any) -> None:
    with LivePage(tmp_path, False, False):
        pass
    opened(browser, (tmp_path / "index.html").as_uri())
    assert browser.find_element("id", "empty").text == "No movie has been made here yet."
    press(browser, "y", "n", " ", "e", "/")
    (tmp_path / ".mrc2movie/a.avi.json").write_text("{")
    (tmp_path / ".mrc2movie/b.avi.json").write_text('{"movie": {"name": "b.avi"}, "sections": [[], {}], "kind": "x"}')
    with LivePage(tmp_path, False, False):
        pass
    opened(browser, (tmp_path / "index.html").as_uri())
    assert names(browser) == ["a.avi", "b.avi"]
    trouble = card(browser, "a.avi").find_element("css selector", ".trouble").text
    assert trouble == "the movie is no longer there; its record cannot be read"
    for found in browser.find_elements("css selector", ".more"):
        found.click()
        browser.execute_script("document.querySelector('.close').click()")
    assert complaints(browser) == []


@pytest.mark.large
def test_without_the_pictures_the_page_says_that_they_are_not_there(tmp_path: Path, browser: Any) -> None:
    out = make(tmp_path, ["a.mrc"])
    (tmp_path / "alone").mkdir()
    shutil.copy(out / "index.html", tmp_path / "alone")
    opened(browser, (tmp_path / "alone/index.html").as_uri())
    missing = card(browser, "a.mrc").find_element("css selector", ".missing")
    assert waited(lambda: missing.text == "Its picture is not here.")
    assert all("ERR_FILE_NOT_FOUND" in complaint for complaint in complaints(browser))


@pytest.mark.large
def test_a_page_of_2000_cards_is_light(tmp_path: Path, browser: Any) -> None:
    voxels = np.random.default_rng(1).normal(0, 1, (300, 64, 64)).astype(np.float32)
    convert(write_mrc(tmp_path / "a.mrc", voxels), tmp_path / "a.mp4", Settings(format="mp4", report=True))
    records = tmp_path / "many/.mrc2movie"
    records.mkdir(parents=True)
    kept = json.loads((tmp_path / ".mrc2movie/a.mp4.json").read_text())
    for number in range(2000):
        name = f"Position_{number:04d}.mp4"
        kept["movie"]["name"] = name
        (records / f"{name}.json").write_text(json.dumps(kept))
        for kind in ("poster", "sheet"):
            os.link(tmp_path / f".mrc2movie/a.mp4.{kind}.jpg", records / f"{name}.{kind}.jpg")
    begin = time.process_time()
    with LivePage(tmp_path / "many", False, False):
        pass
    assert time.process_time() - begin < 10  # asked for: 3 s on a quiet machine
    assert (tmp_path / "many/index.html").stat().st_size <= 10_000_000
    opened(browser, (tmp_path / "many/index.html").as_uri())
    # What is laid out and filled is what is near the screen, however many cards there are.
    filled = "return document.querySelectorAll('.card .poster').length"
    assert 4 <= waited(lambda: browser.execute_script(filled)) <= 100
    browser.execute_script("scrollTo(0, document.body.scrollHeight)")
    assert waited(lambda: "Position_1999.mrc" in names(browser)[-1] or names(browser)[-1])
    waited(
        lambda: browser.execute_script("return [...document.querySelectorAll('.card')].at(-1).querySelector('canvas')")
    )
    assert browser.execute_script(filled) <= 200
    browser.find_element("id", "words").send_keys("a.mrc")
    waited(lambda: "2,000 files" in browser.find_element("id", "counts").text)


@pytest.mark.large
@pytest.mark.parametrize(("width", "zoom"), [(360, 1), (640, 2), (1280, 1)])
def test_nothing_sticks_out_on_a_phone_or_at_200_percent(tmp_path: Path, browser: Any, width: int, zoom: int) -> None:
    out = make(tmp_path, ["n" * 200 + ".mrc", "a.mrc"])
    metrics = {"width": width, "height": 640, "deviceScaleFactor": zoom, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        opened(browser, (out / "index.html").as_uri())
        sticking = "return document.documentElement.scrollWidth - innerWidth"
        assert browser.execute_script(sticking) <= 0
        card(browser, "a.mrc").find_element("css selector", ".more").click()
        inside = "const d = document.getElementById('detail'); return d.scrollWidth - d.clientWidth"
        assert browser.execute_script(inside) <= 0
        assert browser.execute_script(sticking) <= 0
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.large
def test_every_card_is_printed(tmp_path: Path, browser: Any) -> None:
    out = make(tmp_path, [f"TS_{number:02d}.mrc" for number in range(60)])
    opened(browser, (out / "index.html").as_uri())
    browser.execute_script(
        "window.print = () => { window.printed = document.querySelectorAll('[data-painted]').length }"
    )
    browser.execute_script("document.getElementById('print').click()")
    assert waited(lambda: browser.execute_script("return window.printed")) == 60
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") >= 5 or printed.count(b"/Page") >= 5


@pytest.mark.large
def test_a_screen_reader_finds_names_states_and_what_has_changed(tmp_path: Path, browser: Any) -> None:
    out = make(tmp_path, ["a.mrc", "b.mrc"])
    opened(browser, (out / "index.html").as_uri())
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]

    def named(role: str) -> list[str]:
        return [node.get("name", {}).get("value", "") for node in tree if node.get("role", {}).get("value") == role]

    assert named("feed") == ["Movies"]
    assert named("article") == [
        "a.mrc, volume, 1 warning",
        "b.mrc, volume, 1 warning",
        "broken.mrc, failed, 1 warning",
    ]
    assert "Play a.mrc" in named("button")
    assert named("searchbox") == ["Filter by name"]
    assert set(named("combobox")) >= {"Kind", "Warnings", "Mark", "Sort by"}
    unnamed = [role for role in ("button", "searchbox", "combobox", "image") for name in named(role) if not name]
    assert unnamed == []
    browser.execute_script("document.querySelector('.card').focus()")
    press(browser, "y")
    said = browser.find_element("id", "said")
    assert said.get_attribute("aria-live") == "polite"
    assert waited(lambda: said.get_attribute("textContent") == "a.mrc: marked good")
    browser.execute_script("localStorage.clear(); sessionStorage.clear()")
