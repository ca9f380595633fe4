// A pair's series: cooperation above the line, conflict below it, warnings, and the mean intensity; a month to read, and the table.

const data = read("data");
const QUADS = [1, 2, 3, 4, 0];
const names = { 1: say("quad1"), 2: say("quad2"), 3: say("quad3"), 4: say("quad4"), 0: `${say("warnings")} (${say("warnings_how")})` };
const place = document.getElementById("series");
const controls = document.getElementById("controls");
const details = document.querySelector("details.table");
// Places of the three panels from top to bottom, and what is kept free at the left and right.
const HIGH = { counts: 240, warnings: 34, intensity: 90, space: 30, foot: 22 };
const LEFT = 46;
const RIGHT = 8;
let chosen = data.months.length - 1;
let shown = data.first;

const directions = () => (shown === "apart" ? ["there", "back"] : ["summed"]);
const of = (row, quad) => row[QUADS.indexOf(quad)];
const mean = (row) => row[QUADS.length];
const oneDecimal = new Intl.NumberFormat(language, { maximumFractionDigits: 1, signDisplay: "exceptZero" }).format;

function drawAll() {
  place.replaceChildren(...directions().map(picture));
  tellMonth();
}

function picture(direction) {
  const rows = data.directions[direction];
  const width = Math.max(place.clientWidth, 280);
  const step = (width - LEFT - RIGHT) / rows.length;
  const x = (month) => LEFT + month * step;
  const bottom = HIGH.counts + HIGH.warnings + HIGH.intensity + 2 * HIGH.space + 8;
  const label = `${data.names[direction]}. ${say("series_about")} ${say("series_keys")}`;
  const svg = draw("svg", { class: "series", viewBox: `0 0 ${width} ${bottom + HIGH.foot}`, height: bottom + HIGH.foot, role: "slider", tabindex: "0" });
  set(svg, { "aria-label": label, "aria-valuemin": 0, "aria-valuemax": rows.length - 1, "aria-valuenow": chosen, "aria-valuetext": told(direction) });
  svg.append(patterns());
  for (const [start, end] of gapRuns()) svg.append(draw("rect", { class: "gap", x: x(start), y: 8, width: (end - start + 1) * step, height: bottom - 8 }));
  svg.append(...countsPanel(rows, x, step, width), ...warningsPanel(rows, x, step, width), ...intensityPanel(rows, x, step, width), ...calendar(x, step, bottom));
  const cursor = draw("rect", { class: "cursor", y: 8, width: Math.max(step, 2), height: bottom - 8 });
  svg.append(cursor);
  const move = (month) => {
    chosen = Math.max(0, Math.min(rows.length - 1, month));
    for (const other of place.querySelectorAll(".cursor")) set(other, { x: x(chosen) });
    for (const [index, other] of [...place.querySelectorAll(".series")].entries()) set(other, { "aria-valuenow": chosen, "aria-valuetext": told(directions()[index]) });
    tellMonth();
  };
  set(cursor, { x: x(chosen) });
  svg.addEventListener("pointermove", (event) => move(Math.floor((event.clientX - svg.getBoundingClientRect().left - LEFT) / step)));
  svg.addEventListener("pointerdown", (event) => move(Math.floor((event.clientX - svg.getBoundingClientRect().left - LEFT) / step)));
  svg.addEventListener("keydown", (event) => {
    const to = { ArrowRight: chosen + 1, ArrowUp: chosen + 1, ArrowLeft: chosen - 1, ArrowDown: chosen - 1, Home: 0, End: rows.length - 1 };
    const page = { PageUp: chosen + 12, PageDown: chosen - 12 };
    const next = to[event.key] ?? page[event.key];
    if (next === undefined) return;
    event.preventDefault();
    move(next);
  });
  return make("figure", {}, make("figcaption", {}, data.names[direction]), svg);
}

function patterns() {
  const hatch = draw("pattern", { id: "hatch", class: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse" }, draw("path", { d: "M0 5L5 0" }));
  const gaps = draw("pattern", { id: "gaps", width: 7, height: 7, patternUnits: "userSpaceOnUse" });
  gaps.append(draw("rect", { width: 7, height: 7 }), draw("path", { d: "M0 7L7 0" }));
  return draw("defs", {}, hatch, gaps);
}

function countsPanel(rows, x, step, width) {
  const all = directions().flatMap((name) => data.directions[name]);
  const up = Math.max(1, ...all.map((row) => of(row, 1) + of(row, 2)));
  const down = Math.max(1, ...all.map((row) => of(row, 3) + of(row, 4)));
  const unit = (HIGH.counts - 8) / (up + down);
  const zero = 8 + up * unit;
  const parts = ticks(up, down).flatMap((value) => [line("grid", zero - value * unit, width), note(zero - value * unit, number(Math.abs(value)))]);
  rows.forEach((row, month) => {
    for (const [sign, quads] of [[-1, [2, 1]], [1, [4, 3]]]) {
      let base = zero;
      for (const quad of quads) {
        const height = of(row, quad) * unit;
        if (!height) continue;
        const box = { x: x(month) + step * 0.06, y: sign < 0 ? base - height : base, width: Math.max(step * 0.88, 1), height };
        parts.push(draw("rect", { ...box, class: `quad${quad}` }));
        if (quad % 2 === 0) parts.push(draw("rect", { ...box, class: "hatched" }));
        base += sign * height;
      }
    }
  });
  return [...parts, line("axis", zero, width)];
}

function warningsPanel(rows, x, step, width) {
  const foot = HIGH.counts + HIGH.space + HIGH.warnings;
  const most = Math.max(1, ...directions().flatMap((name) => data.directions[name].map((row) => of(row, 0))));
  const unit = (HIGH.warnings - 4) / most;
  const parts = [line("grid", foot, width), note(foot - most * unit, number(most)), heading(foot - HIGH.warnings - 4, say("warnings"))];
  rows.forEach((row, month) => {
    const height = of(row, 0) * unit;
    if (height) parts.push(draw("rect", { class: "quad0", x: x(month) + step * 0.06, y: foot - height, width: Math.max(step * 0.88, 1), height }));
  });
  return parts;
}

function intensityPanel(rows, x, step, width) {
  const top = HIGH.counts + HIGH.warnings + 2 * HIGH.space + 8;
  const y = (value) => top + ((10 - value) / 20) * HIGH.intensity;
  const parts = [-10, 0, 10].flatMap((value) => [line(value ? "grid" : "axis", y(value), width), note(y(value), number(value))]);
  parts.push(heading(top - 6, `${say("intensity")} (${say("intensity_how")})`));
  let path = "";
  rows.forEach((row, month) => {
    if (mean(row) === null) return;
    const joined = month > 0 && mean(rows[month - 1]) !== null;
    path += `${joined ? "L" : "M"}${(x(month) + step / 2).toFixed(1)} ${y(mean(row)).toFixed(1)}`;
    parts.push(draw("circle", { class: "dot", cx: x(month) + step / 2, cy: y(mean(row)), r: 2.6 }));
  });
  return [...parts, draw("path", { class: "mean", d: path })];
}

function calendar(x, step, bottom) {
  // A label a year, or a label every few months, so that they are some 60 pixels apart.
  const every = Math.max(1, Math.ceil(60 / step));
  const years = every > 6 ? Math.ceil(every / 12) : 0;
  return data.months.flatMap((month, index) => {
    if (years ? !month.endsWith("-01") || Number(month.slice(0, 4)) % years : index % every) return [];
    return [draw("text", { x: x(index), y: bottom + 16 }, years ? month.slice(0, 4) : monthName(month))];
  });
}

function ticks(up, down) {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((one) => (up + down) / one <= 7) ?? 2000;
  const found = [];
  for (let value = -Math.floor(down / step) * step; value <= up; value += step) if (value) found.push(value);
  return found;
}

function gapRuns() {
  const found = [];
  data.gaps.forEach((isGap, month) => {
    if (isGap && found.at(-1)?.[1] === month - 1) found.at(-1)[1] = month;
    else if (isGap) found.push([month, month]);
  });
  return found;
}

const line = (name, y, width) => draw("path", { class: name, d: `M${LEFT} ${y}H${width - RIGHT}` });
const note = (y, text) => draw("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, text);
const heading = (y, text) => draw("text", { x: LEFT, y }, text);

/** What a month has, in words. */
function told(direction) {
  const row = data.directions[direction][chosen];
  const counts = QUADS.filter((quad) => of(row, quad)).map((quad) => `${names[quad]} ${number(of(row, quad))}`);
  const what = data.gaps[chosen] ? [say("gap")] : counts.length ? counts : [counted("events", 0)];
  const intensity = mean(row) === null ? [] : [`${say("mean")} ${oneDecimal(mean(row))}`];
  return `${monthName(data.months[chosen])}: ${[...what, ...intensity].join(", ")}`;
}

function tellMonth() {
  const texts = directions().map((name) => (shown === "apart" ? `${data.names[name]}, ${told(name)}` : told(name)));
  document.getElementById("month").replaceChildren(...texts.flatMap((text, index) => (index ? [make("br"), text] : [text])));
  document.getElementById("sentences").replaceChildren(...data.events.filter(([month]) => month === chosen).map(example));
}

function example([, pair, stance, name, probability, text, date, headline, medium]) {
  const where = [dayName(date), headline, medium].filter(Boolean).join(" · ");
  const said = make("p", { class: "soft" }, make("b", {}, name), ` ${pair} · ${Math.round(probability * 100)} % · ${where}`);
  return make("li", { class: `is-${stance}` }, make("p", {}, text), said);
}

function drawTable() {
  const heads = [say("month"), ...(shown === "apart" ? [say("direction")] : []), ...QUADS.map((quad) => names[quad]), say("intensity")];
  const rows = data.months.flatMap((month, index) =>
    directions().map((name) => {
      const row = data.directions[name][index];
      const isGap = data.gaps[index];
      const cells = QUADS.map((quad) => make("td", { class: "n" }, isGap ? "–" : number(of(row, quad))));
      const first = [make("th", { scope: "row" }, isGap ? `${monthName(month)} (${say("gap")})` : monthName(month))];
      if (shown === "apart") first.push(make("td", {}, data.names[name]));
      return make("tr", {}, first, cells, make("td", { class: "n" }, mean(row) === null ? "–" : oneDecimal(mean(row))));
    }),
  );
  const head = make("tr", {}, heads.map((text, column) => make("th", { scope: "col", class: column > (shown === "apart" ? 1 : 0) ? "n" : null }, text)));
  document.getElementById("table").replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, rows)));
}

function setUpLegend() {
  const entries = QUADS.map((quad) => {
    const sample = draw("svg", { viewBox: "0 0 18 12", width: 18, height: 12, "aria-hidden": "true" }, draw("rect", { class: `quad${quad}`, x: 1, y: 1, width: 16, height: 10 }));
    if (quad && quad % 2 === 0) sample.append(draw("rect", { class: "hatched", width: 18, height: 12 }));
    return make("li", {}, sample, names[quad]);
  });
  if (data.gaps.some(Boolean)) {
    const sample = draw("svg", { viewBox: "0 0 18 12", width: 18, height: 12, "aria-hidden": "true" }, draw("rect", { class: "gap", width: 18, height: 12 }));
    entries.push(make("li", {}, sample, say("gap")));
  }
  document.getElementById("legend").replaceChildren(...entries);
}

controls.elements.direction.value = shown;
controls.addEventListener("input", () => {
  shown = controls.elements.direction.value;
  drawAll();
  if (details.open) drawTable();
});
details.addEventListener("toggle", () => details.open && drawTable());
// Where something happened last, so that the sentence below says something.
chosen = Math.max(0, data.directions.summed.findLastIndex((row) => QUADS.some((quad) => of(row, quad))));
setUpLegend();
drawAll();
let known = place.clientWidth;
new ResizeObserver(() => {
  if (place.clientWidth !== known) {
    known = place.clientWidth;
    drawAll();
  }
}).observe(place);
