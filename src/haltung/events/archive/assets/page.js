// The page of an archive: one selection, and every picture drawn anew when it changes.

const controls = document.getElementById("controls");
const status = document.getElementById("status");
const legend = document.getElementById("legend");
const details = document.querySelector("details.table");
let shown = tally();
let waiting = false;
let later = null;
let isNear = false;
const drawnRest = { matrix: null, table: null };

/** Draw at the next frame; what is dear and further down a little later, so that a slider never waits for it. */
function changed() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    shown = tally();
    if (view.pinned !== null && !shown.arrows.some((one) => one.key === view.pinned)) view.pinned = null;
    drawNetwork(shown);
    drawTime(shown);
    showPanel(shown);
    tellStatus();
    drawLegend();
    clearTimeout(later);
    later = setTimeout(drawRest, 300);
  });
}

/** Draw the matrix, once it is near, and the table, once it is open. */
function drawRest() {
  if (isNear && drawnRest.matrix !== shown) drawMatrix((drawnRest.matrix = shown));
  if (details.open && drawnRest.table !== shown) drawTable((drawnRest.table = shown));
}

function tellStatus() {
  const { left } = shown;
  const parts = [
    left.actors && say("left_actors", { events: counted("events", left.actors), n: number(ACTORS.length - view.count) }),
    left.within && say("left_within", { events: counted("events", left.within) }),
    left.few && say("left_few", { events: counted("events", left.few) }),
    left.only && say("left_only", { events: counted("events", left.only), actor: ACTORS[view.only]?.code }),
  ].filter(Boolean);
  const drawn = say("shown", { events: counted("events", shown.total), arrows: counted("arrows", shown.drawn.length) });
  // While the window moves on, a screen reader would never come to an end.
  set(status, { "aria-live": playing ? "off" : "polite" });
  status.textContent = [shown.drawn.length ? drawn : say("nothing"), parts.length ? say("left_out", { parts: parts.join(", ") }) : ""].join(" ");
}

function pin(key) {
  view.pinned = view.pinned === key ? null : key;
  view.pointed = null;
  changed();
}

function only(actor) {
  view.only = view.only === actor ? null : actor;
  view.pinned = null;
  view.pointed = null;
  changed();
}

function release() {
  const focused = panel.contains(document.activeElement);
  Object.assign(view, { pinned: null, only: null, pointed: null });
  changed();
  if (focused) svg.querySelector("[tabindex='0']")?.focus();
}

// ---- the legend is the filter of stances: what is pressed is shown alone, nothing pressed shows all

function setUpLegend() {
  const entries = STANCES.map((stance, place) => {
    const sample = draw("svg", { viewBox: "0 0 30 10", width: 30, height: 10, "aria-hidden": "true" });
    sample.append(draw("path", { d: "M1 5H22", "stroke-width": 3, "stroke-dasharray": dashes(stance.family, 3) }), draw("path", { d: "M21 0.5L29 5L21 9.5Z", class: "head" }));
    const entry = make("button", { type: "button", class: `entry is-${stance.id}`, "aria-pressed": "false" }, sample, make("span", {}, stance.name), make("b"));
    entry.addEventListener("click", () => {
      if (!view.stances.delete(place)) view.stances.add(place);
      changed();
    });
    return make("li", {}, entry);
  });
  legend.replaceChildren(...entries);
}

function drawLegend() {
  const counts = STANCES.map((_, place) => shown.arrows.reduce((sum, one) => sum + one.counts[place], 0));
  for (const [place, item] of [...legend.children].entries()) {
    const entry = item.firstChild;
    entry.setAttribute("aria-pressed", String(view.stances.has(place)));
    entry.lastChild.textContent = number(counts[place]);
  }
  legend.classList.toggle("filtering", view.stances.size > 0);
}

function drawWidths() {
  const sizes = [...new Set([1, Math.max(2, Math.round(MOST / 4)), MOST])].filter((size) => size <= MOST);
  const place = document.getElementById("widths");
  const samples = sizes.map((size) => {
    const sample = draw("svg", { viewBox: "0 0 30 10", width: 30, height: 10, "aria-hidden": "true" }, draw("path", { d: "M1 5H29", "stroke-width": widthOf(size) }));
    return make("span", {}, sample, ` ${number(size)}`);
  });
  place.append(...samples);
}

// ---- controls

function setUpControls() {
  const steps = Object.keys(data.places).map(Number).sort((one, other) => one - other);
  if (!steps.includes(view.count)) view.count = steps.filter((step) => step <= view.count).at(-1) ?? steps[0];
  const { count, most, topic, fewest, within, names } = controls.elements;
  for (const step of steps) count.append(new Option(step === ACTORS.length ? say("all_of", { n: number(step) }) : number(step), String(step)));
  for (const step of [50, 100, 200, 500]) most.append(new Option(number(step), String(step)));
  most.append(new Option(say("all"), "Infinity"));
  topic.append(new Option(say("all"), "-1"), ...data.topics.map((name, place) => new Option(name, String(place))));
  set(fewest, { max: MOST });
  within.closest("label").hidden = !data.events.some((event) => event[SOURCE] === event[TARGET]);
  const apply = () => {
    const before = [view.count, fullNames].join();
    view.count = Number(count.value);
    view.most = Number(most.value);
    view.topic = Number(topic.value);
    view.fewest = Math.max(1, Math.min(MOST, Number(fewest.value) || 1));
    view.within = within.checked;
    fullNames = names.checked;
    if (view.only >= view.count) view.only = null;
    if ([view.count, fullNames].join() !== before) place();
    changed();
  };
  controls.addEventListener("input", apply);
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("reset", (event) => {
    event.preventDefault();
    pause();
    Object.assign(view, { stances: new Set(), from: 0, to: Math.max(data.months.length - 1, 0), only: null, pinned: null, pointed: null });
    fill();
    apply();
  });
  const fill = () => {
    count.value = String(Math.min(narrow() ? 20 : 40, steps.at(-1)));
    if (!count.value) count.value = String(steps.at(-1));
    most.value = narrow() ? "100" : "200";
    topic.value = "-1";
    fewest.value = String(data.fewest);
    within.checked = false;
  };
  fill();
  view.count = Number(count.value);
}

// ---- pointing, clicking, walking

function target(event) {
  const found = event.target.closest?.("[data-arrow], [data-actor]");
  if (!found) return null;
  return found.dataset.arrow ? Number(found.dataset.arrow) : `a${found.dataset.actor}`;
}

function point(to) {
  if (to === view.pointed) return;
  view.pointed = to;
  light();
  showPanel(shown);
}

function choose(event) {
  const found = target(event);
  if (typeof found === "number") pin(found);
  else if (found) only(Number(found.slice(1)));
  else if (event.currentTarget === svg) release();
}

for (const element of [svg, matrix]) {
  // A finger has nothing to point with: its tap chooses.
  element.addEventListener("pointerover", (event) => event.pointerType !== "touch" && point(target(event)));
  element.addEventListener("pointerleave", () => point(null));
  element.addEventListener("focusin", (event) => event.target.matches(":focus-visible") && point(target(event)));
  element.addEventListener("focusout", () => point(null));
  element.addEventListener("click", choose);
}
svg.addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    choose(event);
  }
});
document.addEventListener("keydown", (event) => event.key === "Escape" && release());
walk(arrowLayer, () => [...arrowLayer.children].reverse(), along);
walk(nodeLayer, () => [...nodeLayer.children], along);
walk(matrix, () => [...matrix.querySelectorAll("button")], (key, place, all) => {
  const row = all[place].closest("tr");
  const step = { ArrowDown: 1, ArrowUp: -1 }[key];
  if (!step) return along(key, place, all);
  // The nearest number in the next row that has one.
  const rows = [...row.parentElement.rows];
  const next = rows[rows.indexOf(row) + step];
  if (!next) return null;
  const column = all[place].parentElement.cellIndex;
  const there = [...next.querySelectorAll("button")];
  const distance = (button) => Math.abs(button.parentElement.cellIndex - column);
  return all.indexOf(there.sort((one, other) => distance(one) - distance(other))[0]);
});
details.addEventListener("toggle", drawRest);
new IntersectionObserver(([entry]) => {
  isNear = entry.isIntersecting;
  drawRest();
}, { rootMargin: "600px" }).observe(matrix);
window.addEventListener("beforeprint", () => {
  isNear = true;
  drawRest();
});

// On a phone the picture comes first.
document.querySelector(".choice").open = !narrow();
setUpControls();
setUpLegend();
drawWidths();
setUpTime(changed);
place();
changed();
let known = svg.parentElement.clientWidth;
new ResizeObserver(() => {
  if (svg.parentElement.clientWidth === known) return;
  known = svg.parentElement.clientWidth;
  place();
  changed();
}).observe(svg.parentElement);
