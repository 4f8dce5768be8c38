"use strict";
// The page of all movies. Everything that comes from a record is set as text, never as markup; addresses come percent-
// encoded. Marks are kept in localStorage, the place on the page in sessionStorage, so that a reload loses neither.
(() => {
  const SLOWEST_SECONDS = 60;
  const CALM_SECONDS = 3; // so long nothing may have been touched before the page reloads itself
  const ROWS_A_BLOCK = 4;
  const FILLED_A_FRAME = 5;
  const RUSH_PIXELS = 80; // a frame
  const SHEETS_KEPT = 6; // of 6 MB each, decoded
  const UNKNOWN = 255;
  const POSTER_RATIO = 1 / 0.9; // as in the style
  const BROWSER_CODECS = {H264: "avc1.640033", HEVC: "hvc1.1.6.L120.B0", VP9: "vp09.00.50.08", AV1: "av01.0.08M.08"};
  const CONTAINERS = {mp4: "video/mp4", mov: "video/mp4", webm: "video/webm", mkv: "video/x-matroska"};
  const MARK_ORDER = {good: 0, "": 1, bad: 2};

  const $ = id => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const here = location.pathname.replace(/index\.html$/, "");

  // What stays: in memory alone where the browser keeps nothing.

  function kept(storage, name) {
    const key = `mrc2movie ${name} ${here}`;
    return {
      key,
      read(otherwise) {
        try {
          return JSON.parse(window[storage].getItem(key)) ?? otherwise;
        } catch {
          return otherwise;
        }
      },
      write(value) {
        try {
          window[storage].setItem(key, JSON.stringify(value));
        } catch {
          say("This browser keeps no marks: take them out as a file before you close the page.");
        }
      },
    };
  }

  const keptMarks = kept("localStorage", "marks");
  const keptPlace = kept("sessionStorage", "place");
  const keptSeen = kept("sessionStorage", "seen");

  function say(text) {
    $("said").textContent = "";
    requestAnimationFrame(() => {
      $("said").textContent = text;
    });
  }

  // The movies, and the failures among them.

  const items = data.cards;
  const byKey = new Map(items.map(item => [item.key, item]));
  for (const [key, failed] of Object.entries(data.failures)) {
    const item = byKey.get(key) ?? {key, name: failed.name, source: failed.source, href: ""};
    item.failure = failed.why;
    if (!byKey.has(key)) items.push(item);
    byKey.set(key, item);
  }
  for (const key of data.gone) if (byKey.has(key)) byKey.get(key).gone = true;
  const collator = new Intl.Collator(undefined, {numeric: true});
  items.sort((a, b) => collator.compare(a.name, b.name) || collator.compare(a.key, b.key));
  items.forEach((item, order) => {
    item.order = order;
    item.haystack = `${item.name}\n${item.key}`.toLowerCase();
    item.troubles = [
      ...(item.failure ? [item.failure] : []),
      ...(item.gone ? ["the movie is no longer there"] : []),
      ...(item.signals ?? []),
      ...(item.warnings ?? []),
    ];
  });

  let marks = new Map();

  function readMarks() {
    const found = keptMarks.read([]);
    marks = new Map((Array.isArray(found) ? found : []).filter(Array.isArray));
  }

  const markOf = item => marks.get(item.key)?.mark ?? "";
  const noteOf = item => marks.get(item.key)?.note ?? "";

  function setMark(item, change) {
    const next = {mark: markOf(item), note: noteOf(item), ...change};
    if (next.mark || next.note) marks.set(item.key, next);
    else marks.delete(item.key);
  }

  function marked(item, change) {
    setMark(item, change);
    keptMarks.write([...marks]);
    showMarks(item);
    showCounts();
  }

  function toggleMark(item, mark) {
    const now = markOf(item) === mark ? "" : mark;
    marked(item, {mark: now});
    say(`${item.name}: ${now ? `marked ${now}` : "no mark"}`);
  }

  // In words.

  const minus = text => String(text).replace("-", "−");
  const number = value => (value === null ? "?" : minus(Number(value.toPrecision(4))));
  const range = ([low, high], unit) =>
    low === high ? `${number(low)}${unit}` : `${number(low)}…${number(high)}${unit}`;

  function megabytes(bytes) {
    return bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
  }

  function sizeOf(item) {
    const [sections, rows, columns] = item.shape ?? [];
    return columns ? `${columns} × ${rows} × ${sections}` : "";
  }

  function voxelOf(item) {
    if (!item.voxel) return "";
    const alike = item.voxel.every(length => length === null || Math.abs(length / item.voxel[0] - 1) < 1e-3);
    return `${(alike ? item.voxel.slice(0, 1) : item.voxel).map(length => (length ? number(length) : "?")).join(" × ")} Å`;
  }

  const opticsOf = item => [
    item.tilts && range(item.tilts, "°"),
    item.dose && `${range(item.dose, "")} e/Å²`,
    item.defocus && `${number(item.defocus)} µm`,
  ];

  const joined = parts => parts.filter(Boolean).join(" · ");

  // The curves: mean and contrast of each section, and lines where something is striking.

  function levels(curve) {
    const found = [];
    for (let at = 0; at < curve.levels.length; at += 2) found.push(parseInt(curve.levels.slice(at, at + 2), 16));
    return found;
  }

  function path(heights, closed) {
    const step = heights.length > 1 ? 240 / (heights.length - 1) : 240;
    const points = heights.length > 1 ? heights : [heights[0], heights[0]];
    let text = "";
    let from = null;
    const close = at => {
      if (closed && from !== null) text += `V40H${from.toFixed(1)}Z`;
      from = null;
    };
    points.forEach((height, at) => {
      if (height === null) {
        close(at);
        return;
      }
      const x = (at * step).toFixed(1);
      if (from === null) {
        text += closed ? `M${x} 40V${height.toFixed(1)}` : `M${x} ${height.toFixed(1)}`;
        from = at * step;
      } else text += `L${x} ${height.toFixed(1)}`;
    });
    close();
    return text;
  }

  const across = (item, position) => (item.shown > 1 ? (240 * position) / (item.shown - 1) : 120);

  function draw(svg, item) {
    const [contrast, striking, mean] = svg.children;
    svg.classList.toggle("unknown", !item.means);
    if (item.contrast) {
      contrast.setAttribute("d", path(levels(item.contrast).map(v => (v === UNKNOWN ? null : 40 - (v / 254) * 20)), true));
    }
    if (item.means) {
      // What the sections differ by is shown as large as it is beside their contrast: noise is no dark tilt.
      const span = item.means.high - item.means.low;
      const share = span > 0 ? Math.min(1, span / ((item.contrast?.high || span) * 0.75)) : 0;
      const height = v => (v === UNKNOWN ? null : 20 - (v / 254 - 0.5) * share * 34);
      mean.setAttribute("d", path(levels(item.means).map(height), false));
      const said = `Mean of each section, ${number(item.means.low)} to ${number(item.means.high)}`;
      svg.setAttribute("aria-label", item.contrast ? `${said}; contrast up to ${number(item.contrast.most)}` : said);
    } else svg.setAttribute("aria-label", "No curve");
    striking.setAttribute("d", (item.striking ?? []).map(at => `M${across(item, at).toFixed(1)} 0V40`).join(""));
  }

  function meanAt(item, position) {
    if (!item.means) return null;
    const found = levels(item.means);
    const level = found[Math.round((position / Math.max(1, item.shown - 1)) * (found.length - 1))];
    return level === UNKNOWN ? null : item.means.low + (level / 254) * (item.means.high - item.means.low);
  }

  // Scrubbing: a picture, and the sheet of sections over it, of which one is seen.

  const sheets = [];

  function frameFor(item, frame) {
    const [, width, height] = item.frames ?? [];
    const ratio = width && height ? width / height : 1;
    frame.style.aspectRatio = `${width || 1} / ${height || 1}`;
    frame.classList.toggle("wide", ratio >= POSTER_RATIO);
    frame.classList.toggle("tall", ratio < POSTER_RATIO);
  }

  function viewOf(item, root) {
    const get = name => root.querySelector(name);
    const view = {item, cell: null, loading: false, loaded: false};
    view.frame = get(".frame");
    view.canvas = get("canvas");
    view.sheet = get(".sheet");
    view.where = get(".where");
    view.missing = get(".missing");
    view.painted = paint(view);
    return view;
  }

  /** Paint the poster: of pictures in the document a browser would keep a thousand, decoded, however far they are. */
  async function paint(view) {
    const {canvas, item, missing} = view;
    if (!item.poster) {
      missing.textContent = item.failure ? "No movie was made." : "No picture yet: convert it with --report.";
      return;
    }
    const image = new Image();
    image.src = item.poster;
    try {
      await new Promise((resolve, reject) => Object.assign(image, {onload: resolve, onerror: reject}));
      if (!canvas.isConnected) return;
      const bitmap = await createImageBitmap(image);
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      canvas.getContext("2d", {alpha: false, willReadFrequently: true}).drawImage(bitmap, 0, 0);
      bitmap.close();
      canvas.dataset.painted = "yes";
    } catch {
      missing.textContent = "Its picture is not here.";
    }
  }

  function loadSheet(view) {
    if (view.loading) return;
    view.loading = true;
    const {item} = view;
    const image = new Image();
    image.src = item.sheet;
    image.decode().then(
      () => {
        view.sheet.style.backgroundImage = `url("${item.sheet}")`;
        view.sheet.style.backgroundSize = `100% ${100 * item.cells.length}%`;
        view.loaded = true;
        sheets.push(view);
        if (sheets.length > SHEETS_KEPT) dropSheet(sheets.find(each => each !== view && each.cell === null) ?? sheets[0]);
        if (view.cell !== null) scrub(view, view.cell);
      },
      () => {
        view.missing.textContent = "Its sections are not here.";
      },
    );
  }

  function dropSheet(view) {
    sheets.splice(sheets.indexOf(view), 1);
    view.loading = view.loaded = false;
    view.sheet.style.backgroundImage = "";
    view.frame.classList.remove("scrubbed");
  }

  function scrub(view, cell) {
    const {item} = view;
    if (!item.cells || !item.sheet) return;
    view.cell = Math.max(0, Math.min(item.cells.length - 1, cell));
    loadSheet(view);
    const [section, tilt, position] = item.cells[view.cell];
    const mean = meanAt(item, position);
    view.where.textContent = joined([
      section === null ? `section ${position} of those shown` : `section ${section}`,
      tilt !== null && `${minus(tilt.toFixed(1))}°`,
      mean !== null && `mean ${minus(Number(mean.toPrecision(3)))}`,
    ]);
    view.cursor.setAttribute("d", `M${across(item, position).toFixed(1)} 0V40`);
    if (!view.loaded) return;
    view.frame.classList.add("scrubbed");
    view.sheet.style.backgroundPosition = `0 ${item.cells.length > 1 ? (100 * view.cell) / (item.cells.length - 1) : 0}%`;
  }

  function unscrub(view) {
    view.cell = null;
    view.where.textContent = "";
    view.cursor.removeAttribute("d");
    view.frame.classList.remove("scrubbed");
  }

  function stepScrub(view, step) {
    if (!view.item.cells) return;
    scrub(view, (view.cell ?? Math.floor(view.item.cells.length / 2)) + step);
    say(view.where.textContent);
  }

  /** Scrub where the pointer is over an element: from its left edge to its right. */
  function scrubbable(element, view) {
    element.addEventListener("pointermove", event => {
      if (!view()?.item.cells) return;
      const box = element.getBoundingClientRect();
      scrub(view(), Math.floor(((event.clientX - box.left) / box.width) * view().item.cells.length));
    });
    element.addEventListener("pointerleave", () => view() && view().frame.isConnected && unscrub(view()));
  }

  // A card: its name at first; the rest when it comes near to the screen.

  const views = new Map();
  const cards = $("cards");
  let current = null;
  let shown = [];

  for (const item of items) {
    const card = document.createElement("article");
    card.className = "card";
    card.tabIndex = -1;
    card.item = item;
    item.card = card;
    showName(item);
  }

  function showName(item) {
    const name = document.createElement("h2");
    name.textContent = item.name;
    name.dir = "auto";
    item.card.replaceChildren(name);
  }
  // The cards lie in blocks of some rows: of two thousand cards a browser looks at the blocks alone, and lays out and
  // fills only those near the screen, a few cards a frame and none while they rush by.

  const probe = document.createElement("div");
  probe.className = "block";
  cards.append(probe);
  const blocks = [];
  const coming = new Set();
  let columns = 0;
  let filling = 0;
  let lastY = 0;

  const near = new IntersectionObserver(
    entries => {
      for (const {target, isIntersecting} of entries) {
        for (const {item} of target.children) {
          if (isIntersecting) coming.add(item);
          else if (!coming.delete(item)) letGo(item);
        }
      }
      if (coming.size && !filling) filling = requestAnimationFrame(fillSome);
    },
    {rootMargin: "400px 0px"},
  );

  function fillSome() {
    const rushes = Math.abs(scrollY - lastY) > RUSH_PIXELS;
    lastY = scrollY;
    for (const item of rushes ? [] : [...coming].slice(0, FILLED_A_FRAME)) {
      coming.delete(item);
      fill(item);
    }
    filling = coming.size ? requestAnimationFrame(fillSome) : 0;
  }

  function arrange() {
    columns = getComputedStyle(probe).gridTemplateColumns.split(" ").length;
    const size = columns * ROWS_A_BLOCK;
    near.disconnect();
    coming.clear();
    const kept = document.activeElement;
    for (let at = 0; at * size < shown.length || at < blocks.length; at += 1) {
      blocks[at] ??= document.createElement("div");
      const inIt = shown.slice(at * size, (at + 1) * size);
      blocks[at].className = "block";
      blocks[at].style.setProperty("--rows", Math.ceil(inIt.length / columns));
      blocks[at].replaceChildren(...inIt.map(item => item.card));
    }
    for (const block of blocks.splice(Math.ceil(shown.length / size))) block.remove();
    cards.append(...blocks.filter(block => !block.isConnected));
    for (const block of blocks) near.observe(block);
    if (kept !== document.activeElement && kept.isConnected) kept.focus({preventScroll: true});
  }

  new ResizeObserver(() => {
    if (getComputedStyle(probe).gridTemplateColumns.split(" ").length !== columns) arrange();
  }).observe(probe);

  function fill(item) {
    if (views.has(item)) return;
    const {card} = item;
    card.replaceChildren($("card").content.cloneNode(true));
    const get = name => card.querySelector(name);
    const view = viewOf(item, card);
    view.cursor = get(".cursor");
    views.set(item, view);
    const name = get("h2");
    name.textContent = name.title = item.name;
    name.dir = "auto";
    get(".facts").textContent = joined([item.kind, sizeOf(item)]);
    get(".optics").textContent = joined([voxelOf(item), ...opticsOf(item)]);
    const trouble = get(".trouble");
    trouble.textContent = trouble.title = item.troubles.join("; ");
    trouble.classList.toggle("failure", Boolean(item.failure));
    const poster = get(".poster");
    poster.setAttribute("aria-label", `Play ${item.name}`);
    poster.disabled = !item.href;
    frameFor(item, view.frame);
    draw(get(".plot"), item);
    scrubbable(poster, () => view);
    scrubbable(get(".plot"), () => view);
    showMarks(item);
    if (item === current) setTabs(item, 0);
  }

  /** Give the memory of a card back that is far from the screen. */
  function letGo(item) {
    const view = views.get(item);
    if (!view || item === current) return;
    if (view.loaded) dropSheet(view);
    view.canvas.width = view.canvas.height = 0;
    views.delete(item);
    showName(item);
  }

  function showMarks(item) {
    const mark = markOf(item);
    const {card} = item;
    card.classList.toggle("good", mark === "good");
    card.classList.toggle("bad", mark === "bad");
    const counted = item.troubles.length;
    card.setAttribute(
      "aria-label",
      [
        item.name,
        item.kind,
        item.failure && "failed",
        counted && `${counted} warning${counted > 1 ? "s" : ""}`,
        mark && `marked ${mark}`,
        noteOf(item) && `note: ${noteOf(item)}`,
      ]
        .filter(Boolean)
        .join(", "),
    );
    if (views.has(item)) {
      card.querySelector("button.good").setAttribute("aria-pressed", mark === "good");
      card.querySelector("button.bad").setAttribute("aria-pressed", mark === "bad");
      card.querySelector(".note").textContent = card.querySelector(".note").title = noteOf(item);
    }
    if (item === opened) showDetailMarks();
  }

  function setTabs(item, index) {
    item.card.tabIndex = index;
    for (const button of item.card.querySelectorAll("button")) button.tabIndex = index;
  }

  function setCurrent(item, focus) {
    if (current && current !== item) {
      setTabs(current, -1);
      current.card.classList.remove("current");
      if (views.has(current)) unscrub(views.get(current));
    }
    current = item;
    if (!item) return;
    fill(item);
    setTabs(item, 0);
    item.card.classList.add("current");
    if (focus) item.card.focus();
  }

  cards.addEventListener("focusin", event => {
    const card = event.target.closest(".card");
    if (card && card.item !== current) setCurrent(card.item, false);
  });
  cards.addEventListener("click", event => {
    const card = event.target.closest(".card");
    const button = event.target.closest("button");
    if (!card) return;
    const {item} = card;
    if (item !== current) setCurrent(item, !button);
    if (!button) return;
    if (button.matches(".poster")) open(item, true);
    else if (button.matches(".more")) open(item, false);
    else toggleMark(item, button.matches(".good") ? "good" : "bad");
  });

  // Which of them are shown, and in which order.

  const ORDERS = {
    name: () => 0,
    newest: (a, b) => (b.made ?? 0) - (a.made ?? 0),
    trouble: (a, b) => Boolean(b.failure) - Boolean(a.failure) || b.troubles.length - a.troubles.length,
    kind: (a, b) => collator.compare(a.kind ?? "", b.kind ?? ""),
    sections: (a, b) => (b.shape?.[0] ?? 0) - (a.shape?.[0] ?? 0),
    bytes: (a, b) => (b.bytes ?? 0) - (a.bytes ?? 0),
    mark: (a, b) => MARK_ORDER[markOf(a)] - MARK_ORDER[markOf(b)],
  };
  const STATES = {
    "": () => true,
    signals: item => Boolean(item.signals),
    warnings: item => Boolean(item.signals || item.warnings || item.gone),
    failures: item => Boolean(item.failure),
    clean: item => !item.troubles.length,
  };
  const MARKS = {
    "": () => true,
    none: item => !markOf(item),
    good: item => markOf(item) === "good",
    bad: item => markOf(item) === "bad",
    note: item => Boolean(noteOf(item)),
  };
  const CHOICES = ["words", "kind", "state", "mark", "sort"];

  for (const kind of [...new Set(items.map(item => item.kind).filter(Boolean))].sort(collator.compare)) {
    $("kind").append(new Option(kind, kind));
  }

  function apply() {
    const words = $("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const kind = $("kind").value;
    const fits = item =>
      words.every(word => item.haystack.includes(word)) &&
      (!kind || item.kind === kind) &&
      STATES[$("state").value](item) &&
      MARKS[$("mark").value](item);
    const order = ORDERS[$("sort").value];
    shown = items.filter(fits).sort((a, b) => order(a, b) || a.order - b.order);
    const visible = new Set(shown);
    const hadFocus = document.activeElement?.closest?.(".card");
    arrange();
    shown.forEach((item, at) => item.card.setAttribute("aria-posinset", at + 1));
    for (const item of shown) item.card.setAttribute("aria-setsize", shown.length);
    if (!visible.has(current)) setCurrent(shown[0] ?? null, Boolean(hadFocus));
    $("all").hidden = shown.length === items.length;
    $("empty").hidden = shown.length > 0;
    $("empty").textContent = items.length ? "Nothing fits the filter." : "No movie has been made here yet.";
    showCounts();
  }

  function counted(count, noun) {
    return count && `${count.toLocaleString("en")} ${noun}`;
  }

  function showCounts() {
    const all = counted(items.length, items.length === 1 ? "file" : "files") || "no files";
    const signals = items.filter(STATES.signals).length;
    $("counts").textContent = joined([
      shown.length < items.length ? `${shown.length.toLocaleString("en")} of ${all}` : all,
      counted(items.filter(STATES.failures).length, "failed"),
      counted(signals, signals === 1 ? "with a quality signal" : "with quality signals"),
      counted(items.filter(MARKS.good).length, "good"),
      counted(items.filter(MARKS.bad).length, "bad"),
    ]);
  }

  function changed() {
    apply();
    say(`${shown.length} of ${items.length} shown`);
  }

  let typing = null;
  $("words").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(changed, 120);
  });
  for (const id of CHOICES.slice(1)) $(id).addEventListener("change", changed);
  $("tools").addEventListener("submit", event => event.preventDefault());
  $("all").addEventListener("click", () => {
    for (const id of CHOICES.slice(0, -1)) $(id).value = "";
    changed();
  });

  // One movie at a time.

  const detail = $("detail");
  const stage = detail.querySelector(".stage");
  const detailPlot = detail.querySelector(".plot");
  const noteField = detail.querySelector("textarea");
  const play = detail.querySelector(".play");
  let opened = null;
  let detailView = null;

  const suffixOf = item => item.key.slice(item.key.lastIndexOf(".") + 1).toLowerCase();

  function isPlayable(item) {
    const codec = BROWSER_CODECS[item.codec];
    const container = CONTAINERS[suffixOf(item)];
    return Boolean(
      codec && container && document.createElement("video").canPlayType(`${container}; codecs="${codec}"`),
    );
  }

  function link(item) {
    const found = document.createElement("a");
    found.href = item.href;
    found.download = "";
    found.textContent = item.key;
    return found;
  }

  function sayHow(item, why) {
    play.replaceChildren(why, " Open ", link(item), " in ImageJ or VLC, or make it again with --format mp4.");
  }

  function stageSections(item) {
    stage.replaceChildren($("sections").content.cloneNode(true));
    detailView = viewOf(item, stage);
    detailView.cursor = detailPlot.querySelector(".cursor");
    const [, width, height] = item.frames ?? [];
    detailView.frame.style.aspectRatio = `${width || 1} / ${height || 1}`;
    fitFrame();
    stepScrub(detailView, 0);
  }

  function fitFrame() {
    if (!opened || !detailView) return;
    const [, width, height] = opened.frames ?? [1, 1, 1];
    const wide = width / height >= stage.clientWidth / Math.max(1, stage.clientHeight);
    detailView.frame.classList.toggle("wide", wide);
    detailView.frame.classList.toggle("tall", !wide);
  }
  new ResizeObserver(fitFrame).observe(stage);

  function playMovie(item) {
    const suffix = suffixOf(item);
    const whole = document.createElement(suffix === "gif" ? "img" : "video");
    whole.className = "whole";
    whole.addEventListener("error", () => {
      if (opened !== item) return;
      stageSections(item);
      sayHow(item, "This browser cannot play it.");
    });
    if (suffix === "gif") whole.alt = `The movie of ${item.name}`;
    else {
      Object.assign(whole, {controls: true, loop: true, muted: true, playsInline: true});
      whole.setAttribute("aria-label", `The movie of ${item.name}`);
    }
    whole.src = item.href;
    detailView = null;
    detailPlot.querySelector(".cursor").removeAttribute("d");
    stage.replaceChildren(whole);
    play.replaceChildren(link(item));
    if (suffix === "gif") return;
    whole.addEventListener("timeupdate", () => showTime(item, whole));
    whole.play().catch(() => {}); // it has controls, should the browser not let it begin by itself
  }

  /** The line in the curve where the movie is: it goes there and, mostly, back; one that is held or repeated has none. */
  function showTime(item, video) {
    const [frames, , , rate] = item.frames ?? [];
    if (![item.shown, 2 * item.shown - 2].includes(frames) || opened !== item) return;
    let at = Math.min(frames - 1, Math.floor(video.currentTime * rate));
    if (at >= item.shown) at = Math.max(0, frames - at);
    detailPlot.querySelector(".cursor").setAttribute("d", `M${across(item, at).toFixed(1)} 0V40`);
  }

  function open(item, playing) {
    opened = item;
    setCurrent(item, false);
    $("detail-name").textContent = item.name;
    $("detail-name").dir = "auto";
    for (const shape of detailPlot.children) shape.removeAttribute("d");
    draw(detailPlot, item);
    play.replaceChildren();
    const troubles = item.troubles.map(text => {
      const line = document.createElement("li");
      line.textContent = text;
      line.classList.toggle("failure", text === item.failure);
      return line;
    });
    detail.querySelector(".troubles").replaceChildren(...troubles);
    const [frames, width, height, rate] = item.frames ?? [];
    const facts = [
      ["Input", item.source],
      ["Kind", item.kind],
      ["Size", sizeOf(item)],
      ["Voxel size", voxelOf(item)],
      ["Tilts", item.tilts && range(item.tilts, "°")],
      ["Dose", item.dose && `${range(item.dose, "")} e/Å² a section`],
      ["Defocus", item.defocus && `${number(item.defocus)} µm`],
      ["Grey range", item.greys?.length === 2 && `${number(item.greys[0])} … ${number(item.greys[1])}`],
      ["Means", item.means && `${number(item.means.low)} … ${number(item.means.high)}`],
      ["Contrast", item.contrast && `standard deviations up to ${number(item.contrast.most)}`],
      ["Movie", frames && `${frames} frames of ${width} × ${height}, ${number(rate)} a second`],
      ["", item.bytes && joined([item.codec, megabytes(item.bytes)])],
      ["Made", item.made && new Date(item.made * 1000).toLocaleString()],
      ["By", item.version && joined([`mrc2movie ${item.version}`, item.preset && `preset ${item.preset}`])],
      ["Options", item.options],
      ["Notes", item.notes?.join("; ")],
    ];
    const list = detail.querySelector("dl");
    list.replaceChildren();
    for (const [name, value] of facts) {
      if (!value) continue;
      const term = document.createElement("dt");
      const definition = document.createElement("dd");
      term.textContent = name;
      definition.textContent = value;
      definition.dir = "auto";
      list.append(term, definition);
    }
    if (!detail.open) {
      detail.showModal();
      detail.focus();
    }
    const playable = item.href && !item.gone && (suffixOf(item) === "gif" || isPlayable(item));
    if (playing && playable) playMovie(item);
    else {
      stageSections(item);
      if (item.href && !item.gone && item.codec) {
        if (playable) play.replaceChildren(playButton(item), " ", link(item));
        else sayHow(item, `Browsers do not play ${item.codec} in ${suffixOf(item).toUpperCase()}.`);
      }
    }
    showDetailMarks();
    detail.querySelector(".words").scrollTop = 0;
  }

  function playButton(item) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Play";
    button.setAttribute("aria-keyshortcuts", "space");
    button.addEventListener("click", () => playMovie(item));
    return button;
  }

  function showDetailMarks() {
    const mark = markOf(opened);
    detail.querySelector(".good").setAttribute("aria-pressed", mark === "good");
    detail.querySelector(".bad").setAttribute("aria-pressed", mark === "bad");
    if (document.activeElement !== noteField) noteField.value = noteOf(opened);
  }

  function go(step) {
    const at = shown.indexOf(current) + step;
    if (at < 0 || at >= shown.length) return;
    if (opened) {
      const playing = Boolean(stage.querySelector(".whole"));
      open(shown[at], playing);
    } else setCurrent(shown[at], true);
    current.card.scrollIntoView({block: "nearest"});
  }

  scrubbable(stage, () => detailView);
  scrubbable(detailPlot, () => detailView);
  detail.querySelector(".good").addEventListener("click", () => toggleMark(opened, "good"));
  detail.querySelector(".bad").addEventListener("click", () => toggleMark(opened, "bad"));
  detail.querySelector(".previous").addEventListener("click", () => go(-1));
  detail.querySelector(".next").addEventListener("click", () => go(1));
  detail.querySelector(".close").addEventListener("click", () => detail.close());
  detail.addEventListener("click", event => {
    if (event.target === detail) detail.close(); // beside it
  });
  detail.addEventListener("close", () => {
    const item = opened; // the browser has given the focus to where it was before
    stage.replaceChildren();
    opened = detailView = null;
    setCurrent(item, true);
  });
  noteField.addEventListener("input", () => {
    if (opened) marked(opened, {note: noteField.value});
  });

  // Keys.

  const isField = element => element.matches?.("input, textarea, select");

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (isField(event.target)) {
      if (event.key === "Escape" && event.target === $("words")) {
        $("words").value = "";
        changed();
        current?.card.focus();
      } else if (event.key === "Escape" && event.target === noteField) {
        detail.focus();
        event.preventDefault(); // the movie stays open
      } else if (event.target === $("words") && ["Enter", "ArrowDown"].includes(event.key) && current) {
        current.card.focus();
        event.preventDefault();
      }
      return;
    }
    const item = opened ?? current;
    const video = stage.querySelector("video");
    const onButton = event.target.matches?.("button, summary, a");
    const act = {
      "/": () => opened || $("words").focus(),
      ArrowDown: () => go(1),
      ArrowUp: () => go(-1),
      ArrowRight: () => stepSection(1),
      ArrowLeft: () => stepSection(-1),
      y: () => toggleMark(item, "good"),
      n: () => toggleMark(item, "bad"),
      e: () => {
        if (!opened) open(item, false);
        noteField.focus();
      },
      Home: () => opened || setCurrent(shown[0], true),
      End: () => opened || setCurrent(shown[shown.length - 1], true),
      Enter: () => (onButton || opened ? false : open(item, false)),
      " ": () => {
        if (onButton) return false;
        if (!video) open(item, true);
        else if (video.paused) video.play();
        else video.pause();
        return true;
      },
    }[event.key];
    if (!act || (!item && event.key !== "/")) return;
    if (act() !== false) event.preventDefault();

    function stepSection(step) {
      if (!opened) stepScrub(views.get(item), step);
      else if (detailView) stepScrub(detailView, step);
      else if (video) {
        video.pause();
        video.currentTime = Math.max(0, video.currentTime + step / (item.frames?.[3] || 25));
      }
    }
  });

  // Marks as files.

  function download(name, kind, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], {type: `${kind};charset=utf-8`}));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    $("menu").open = false;
  }

  const fileName = text => text.slice(text.lastIndexOf("/") + 1);
  const stemOf = text => fileName(text).replace(/(\.(gz|bz2|xz|zst))?$/i, "").replace(/\.[^.]*$/, "");
  const STYLES = {
    path: item => item.source ?? item.name,
    name: item => fileName(item.source ?? item.name),
    stem: item => stemOf(item.source ?? item.name),
    tomostar: item => `${stemOf(item.source ?? item.name)}.tomostar`,
  };

  function asText(mark) {
    const lines = items.filter(item => markOf(item) === mark).map(STYLES[$("style").value]);
    const whole = lines.filter(line => !/[\r\n]/.test(line));
    download(`${mark}.txt`, "text/plain", whole.map(line => `${line}\n`).join(""));
    const left = lines.length - whole.length;
    say(`${whole.length} names${left ? `; ${left} with a line break left out, which JSON keeps` : ""}`);
  }

  const markedItems = () =>
    items
      .filter(item => marks.has(item.key))
      .map(item => ({
        movie: item.key,
        input: item.source ?? item.name,
        mark: markOf(item),
        note: noteOf(item),
      }));

  // A spreadsheet takes what begins so for a formula.
  const cell = text => `"${(/^[=+\-@\t\r']/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  const uncell = text => (/^'[=+\-@\t\r']/.test(text) ? text.slice(1) : text);
  const COLUMNS = ["movie", "input", "mark", "note"];

  function asCsv() {
    const rows = markedItems().map(row => COLUMNS.map(name => cell(row[name])).join(","));
    download("marks.csv", "text/csv", [COLUMNS.join(","), ...rows].map(row => `${row}\r\n`).join(""));
  }

  function asJson() {
    download("marks.json", "application/json", `${JSON.stringify({marks: markedItems()}, null, 1)}\n`);
  }

  function rowsOfCsv(text) {
    const rows = [];
    let row = [];
    for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
      row.push(uncell(quoted === undefined ? plain : quoted.replaceAll('""', '"')));
      if (end === ",") continue;
      if (row.some(Boolean)) rows.push(row);
      row = [];
      if (!end) break;
    }
    const [names = [], ...rest] = rows;
    return rest.map(values => Object.fromEntries(names.map((name, at) => [name, values[at] ?? ""])));
  }

  function rowsOf(text) {
    const bare = text.replace(/^\ufeff/, "");
    try {
      const found = JSON.parse(bare);
      return Array.isArray(found?.marks) ? found.marks : [];
    } catch {
      // No JSON: CSV with its heading, or names.
    }
    if (/^"?movie"?,/.test(bare)) return rowsOfCsv(bare);
    const mark = $("become").value;
    return bare.split(/\r?\n/).filter(Boolean).map(input => ({input, mark}));
  }

  function readIn(text) {
    const known = new Map();
    const add = (name, item) => known.set(name, [...(known.get(name) ?? []), item]);
    for (const item of items) {
      const names = [item.key, item.source ?? item.name, ...Object.values(STYLES).map(style => style(item))];
      for (const name of new Set(names)) add(name, item);
    }
    let taken = 0;
    let unknown = 0;
    for (const row of rowsOf(text)) {
      const movie = byKey.get(row?.movie);
      const found = movie ? [movie] : (known.get(row?.input) ?? known.get(fileName(String(row?.input ?? ""))) ?? []);
      if (!found.length) unknown += 1;
      for (const item of found) {
        const change = {};
        if (["good", "bad", ""].includes(row.mark)) change.mark = row.mark;
        if (typeof row.note === "string") change.note = row.note;
        setMark(item, change);
        taken += 1;
      }
    }
    keptMarks.write([...marks]);
    items.forEach(showMarks);
    apply();
    $("menu").open = false;
    say(`${taken} marks read${unknown ? `; ${unknown} names are not on this page` : ""}`);
  }

  $("good-text").addEventListener("click", () => asText("good"));
  $("bad-text").addEventListener("click", () => asText("bad"));
  $("csv").addEventListener("click", asCsv);
  $("json").addEventListener("click", asJson);
  $("file").addEventListener("change", async () => {
    const [file] = $("file").files;
    if (file) readIn(await file.text());
    $("file").value = "";
  });
  document.addEventListener("click", event => {
    if (!event.target.closest("#menu")) $("menu").open = false;
  });
  window.addEventListener("storage", event => {
    if (event.key !== keptMarks.key) return;
    readMarks(); // another window of this page has changed them
    items.forEach(showMarks);
    showCounts();
  });

  // The place on the page, and the reload that does not lose it.

  function savePlace() {
    const head = document.querySelector("header").getBoundingClientRect().bottom;
    const top = shown.find(item => item.card.getBoundingClientRect().bottom > Math.max(0, head));
    const active = document.activeElement;
    keptPlace.write({
      choices: Object.fromEntries(CHOICES.map(id => [id, $(id).value])),
      style: $("style").value,
      become: $("become").value,
      current: current?.key,
      cell: (opened ? detailView : views.get(current))?.cell ?? null,
      anchor: top && scrollY > 0 ? [top.key, top.card.getBoundingClientRect().top] : null,
      opened: opened?.key,
      focus: active?.closest(".card") ? "card" : active?.id,
      caret: $("words").selectionStart,
      following,
    });
  }

  function restorePlace() {
    const place = keptPlace.read({});
    for (const id of CHOICES) {
      const value = place.choices?.[id];
      if (typeof value === "string") $(id).value = value;
      if ($(id).value === "" && id === "sort") $(id).value = "name";
    }
    for (const id of ["style", "become"]) if (place[id]) $(id).value = place[id];
    apply();
    const last = byKey.get(place.current);
    setCurrent(last && shown.includes(last) ? last : (shown[0] ?? null), place.focus === "card");
    const [key, top] = place.anchor ?? [];
    const card = byKey.get(key)?.card;
    if (card?.isConnected) scrollTo(0, scrollY + card.getBoundingClientRect().top - top);
    if (byKey.has(place.opened)) open(byKey.get(place.opened), false);
    const view = opened ? detailView : views.get(current);
    if (view && Number.isInteger(place.cell)) scrub(view, place.cell);
    if (place.focus === "words") {
      $("words").focus();
      $("words").setSelectionRange(place.caret, place.caret);
    } else if (place.focus && place.focus !== "card" && $(place.focus)) $(place.focus).focus();
    return place;
  }

  let following = true;
  let touched = 0;

  function isBusy() {
    const video = stage.querySelector("video");
    return (
      document.activeElement === noteField ||
      $("menu").open ||
      (video && !video.paused) ||
      !getSelection().isCollapsed ||
      performance.now() - touched < 1000 * CALM_SECONDS
    );
  }

  function follow() {
    const seen = keptSeen.read({});
    const unchanged = seen.written === data.written ? (seen.unchanged ?? 0) + 1 : 0;
    keptSeen.write({written: data.written, unchanged});
    const wait = Math.min(SLOWEST_SECONDS, data.live * 2 ** Math.max(0, unchanged - 6));
    const reload = () => {
      if (!following) return;
      if (isBusy()) setTimeout(reload, 1000);
      else location.reload();
    };
    const live = $("live");
    const show = () => {
      const time = new Date(data.written * 1000).toLocaleTimeString();
      live.textContent = following ? `A run is under way; as of ${time}` : `Held as of ${time}`;
      live.setAttribute("aria-pressed", following);
      live.title = following ? "The page follows the run. Press to hold it." : "Press to follow the run.";
    };
    live.hidden = false;
    live.addEventListener("click", () => {
      following = !following;
      show();
      if (following) location.reload();
    });
    show();
    setTimeout(reload, 1000 * wait);
  }

  for (const kind of ["pointermove", "pointerdown", "keydown", "wheel", "scroll", "input"]) {
    document.addEventListener(
      kind,
      () => {
        touched = performance.now();
      },
      {passive: true, capture: true},
    );
  }

  addEventListener("pagehide", savePlace);
  async function printAll() {
    shown.forEach(fill);
    await Promise.all(shown.map(item => views.get(item).painted));
    print();
  }

  $("print").addEventListener("click", printAll);
  addEventListener("keydown", event => {
    if ((event.ctrlKey || event.metaKey) && event.key === "p") {
      event.preventDefault(); // until every card has its picture
      printAll();
    }
  });
  addEventListener("beforeprint", () => shown.forEach(fill));
  addEventListener("afterprint", arrange);

  document.title = `${data.title}: mrc2movie`;
  $("title").textContent = data.title;
  $("title").dir = "auto";
  history.scrollRestoration = "manual";
  readMarks();
  items.forEach(showMarks);
  const place = restorePlace();
  following = place.following ?? true;
  if (data.live) follow();
  document.documentElement.dataset.ready = "yes";
  performance.mark("ready");
})();
