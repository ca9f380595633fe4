// Arrows over a sentence: from the words of the source to those of the target, in lanes that are made between the lines for them, so that
// no arrow crosses a word. It knows nothing of dyads: what it draws are links between two elements of the sentence.

import { make, shape } from "./dom.js";

// In pixels: the height of a lane, the space between words and the first one, and between two names in one lane.
const LANE = 16;
const GAP = 3;
const APART = 8;

// About as wide is a figure.
const FIGURE = 7;

// How far an arrow that passes several lines keeps from the sentence's edge, and from the next such arrow.
const EDGE = 7;
const BESIDE = 6;

const ROUND = 26;
const HEAD = 5;

/**
 * Draw the links of sentences, or draw them again after their width has changed: `scenes` are {sentence, links}.
 *
 * A link is {from, to, both, name, sure, title, dress}: two elements in the sentence with an empty `.rise` in each, whether both ends have
 * a head, what is written on it and how probable that is, what is told when it is pointed at, and a function that colours its parts.
 */
export function draw(scenes) {
  // All is written before all is measured, twice: a browser that is asked in between lays the whole article out each time.
  const pictures = scenes.map(picture);
  const plans = pictures.map(plan);
  plans.forEach((found, index) => (found ? raise(found) : pictures[index].frame.remove()));
  const found = plans.filter(Boolean);
  const raised = found.map(({ sentence, routes }) => measure(sentence, routes));
  found.forEach((one, index) => {
    for (const [element, place] of raised[index]) place.line = one.places.get(element).line;
    for (const route of one.routes) trace(route, raised[index]);
  });
}

function picture({ sentence, links }) {
  sentence.querySelector(":scope > .arrows")?.remove();
  for (const rise of sentence.querySelectorAll(".rise")) rise.style.removeProperty("--rise");
  const frame = shape("svg", { class: "arrows", "aria-hidden": "true" });
  const routes = links.map((link) => ({ link, group: group(link), label: label(link) }));
  // The names last, so that no line lies on one.
  frame.append(...routes.map(({ group }) => group), ...routes.map(({ label }) => label));
  sentence.append(frame);
  return { sentence, frame, routes };
}

// Decide where each link runs; null where there is none, or where it is too narrow and the stylesheet shows the dyads in words.
function plan({ sentence, frame, routes }) {
  const places = measure(sentence, routes);
  if (!places.size || getComputedStyle(frame).display === "none") return null;
  const style = getComputedStyle(sentence);
  const room = Math.min(Number.parseFloat(style.paddingLeft), Number.parseFloat(style.paddingRight)) - EDGE;
  const top = Math.min(...[...places.values()].map((place) => place.middle));
  for (const place of places.values()) place.line = Math.round((place.middle - top) / Number.parseFloat(style.lineHeight));
  return { sentence, routes, places, gaps: lanes(routes, places, sentence.clientWidth, room) };
}

function raise({ places, gaps }) {
  for (const [element, { line, above }] of places) {
    const count = gaps.get(line)?.length ?? 0;
    // Once for each line would do; several of one height are as high as one.
    if (count) element.querySelector(".rise").style.setProperty("--rise", `${above + count * LANE + GAP}px`);
  }
}

// ---- where everything is

function measure(sentence, routes) {
  const frame = sentence.getBoundingClientRect();
  const baseline = Number.parseFloat(getComputedStyle(sentence).fontSize);
  const places = new Map();
  for (const { link } of routes) {
    for (const element of [link.from, link.to]) {
      // Of a name that is broken over two lines, the part in which its rise stands.
      const box = [...element.getClientRects()].find(({ width }) => width > 1);
      // Neither has any where it is not shown.
      if (!box) return new Map();
      const [left, top] = [box.left - frame.left - sentence.clientLeft, box.top - frame.top];
      places.set(element, { left, width: box.width, top, bottom: top + box.height, middle: top + box.height / 2, above: baseline * 1.15 });
    }
  }
  return places;
}

// Give each link the places at which it leaves and arrives, and each of its runs a lane; return the lanes above each line.
function lanes(routes, places, width, room) {
  spread(routes, places);
  const runs = [];
  const line = (element) => places.get(element).line;
  const far = routes.filter(({ link }) => Math.abs(line(link.from) - line(link.to)) > 1);
  const step = Math.min(BESIDE, room / far.length);
  for (const route of routes) {
    const { from, to, sure } = route.link;
    // The probability is hidden until somebody looks, and has its room all the same.
    const length = route.label.getComputedTextLength() + FIGURE * sure.length + APART;
    const rank = far.indexOf(route);
    if (rank < 0) {
      route.runs = [run(Math.max(line(from), line(to)), route.x1, route.x2, length, width)];
    } else {
      const aside = EDGE + step * rank;
      route.side = route.x1 + route.x2 > width ? width - aside : aside;
      route.runs = [run(line(from), route.x1, route.side, length, width), run(line(to), route.x2, route.side, 0, width)];
    }
    runs.push(...route.runs);
  }
  const gaps = new Map();
  // The short ones nearest to the words, so that long ones pass over them.
  for (const found of runs.toSorted((one, other) => one.right - one.left - (other.right - other.left))) {
    if (!gaps.has(found.line)) gaps.set(found.line, []);
    const taken = gaps.get(found.line);
    found.lane = taken.findIndex((lane) => lane.every((it) => it.right + APART < found.left || found.right + APART < it.left));
    if (found.lane < 0) found.lane = taken.push([]) - 1;
    taken[found.lane].push(found);
  }
  return gaps;
}

// Several links at one word stand side by side, in the order of where they go, so that they do not cross.
function spread(routes, places) {
  const ends = new Map();
  for (const route of routes) {
    for (const [key, own, other] of [["x1", route.link.from, route.link.to], ["x2", route.link.to, route.link.from]]) {
      if (!ends.has(own)) ends.set(own, []);
      ends.get(own).push({ route, key, other: places.get(other).left + places.get(other).width / 2 });
    }
  }
  for (const [element, found] of ends) {
    const { left, width } = places.get(element);
    found.sort((one, other) => one.other - other.other).forEach(({ route, key }, index) => {
      route[key] = left + (width * (index + 1)) / (found.length + 1);
    });
  }
}

// The name stands in the middle of the arrow, or beside one that it would cover.
function run(line, from, to, label, width) {
  const [left, right] = [Math.min(from, to), Math.max(from, to)];
  if (!label || right - left > label + HEAD) {
    const x = Math.min(Math.max((left + right) / 2, label / 2), width - label / 2);
    return { line, x, anchor: "middle", left, right };
  }
  const behind = right + APART;
  if (behind + label < width) return { line, x: behind, anchor: "start", left, right: behind + label };
  return { line, x: left - APART, anchor: "end", left: left - APART - label, right };
}

// ---- what is drawn

function group({ title, dress }) {
  const lines = ["near", "line", "head"].map((name) => shape("path", { class: name }));
  const out = shape("g", { class: "arrow" }, shape("title", {}, title), ...lines);
  dress(out);
  return out;
}

function label({ name, sure, dress }) {
  const out = shape("text", { class: "name" }, name, shape("tspan", { class: "sure" }, ` ${sure}`));
  dress(out);
  return out;
}

function trace(route, places) {
  const { link, group, label, runs, side } = route;
  const [one, other] = [places.get(link.from), places.get(link.to)];
  const tops = new Map();
  for (const place of places.values()) tops.set(place.line, Math.min(place.top, tops.get(place.line) ?? Infinity));
  const height = ({ line, lane }) => tops.get(line) - GAP - (lane + 0.5) * LANE;
  // A link leaves a word at its foot where its lane is below it.
  const y1 = height(runs[0]) > one.middle ? one.bottom : one.top - 1;
  const y2 = height(runs.at(-1)) > other.middle ? other.bottom : other.top - 1;
  const first = height(runs[0]);
  const path = side === undefined ? bow(route.x1, y1, route.x2, y2, first) : around(route, y1, y2, first, height(runs[1]));
  const heads = [head(route.x2, y2, first > y2 && side === undefined ? 1 : -1)];
  if (link.both) heads.push(head(route.x1, y1, first > y1 ? 1 : -1));
  for (const line of group.querySelectorAll(".near, .line")) line.setAttribute("d", path);
  group.querySelector(".head").setAttribute("d", heads.join(""));
  label.setAttribute("x", String(runs[0].x));
  label.setAttribute("text-anchor", runs[0].anchor);
  label.setAttribute("y", String(first));
}

function bow(x1, y1, x2, y2, lane) {
  const along = Math.sign(x2 - x1) || 1;
  const bend = along * Math.min(Math.abs(x2 - x1) / 2, ROUND);
  return `M${x1} ${y1}Q${x1} ${lane} ${x1 + bend} ${lane}H${x2 - bend}Q${x2} ${lane} ${x2} ${y2}`;
}

function around({ x1, x2, side }, y1, y2, lane1, lane2) {
  const out = Math.sign(side - x1);
  const [bend1, bend2] = [x1, x2].map((x) => out * Math.min(Math.abs(side - x) / 2, ROUND));
  const turn = Math.sign(lane2 - lane1) * LANE / 2;
  const corner = out * Math.min(LANE / 2, Math.abs(bend1), Math.abs(bend2));
  return (
    `M${x1} ${y1}Q${x1} ${lane1} ${x1 + bend1} ${lane1}H${side - corner}Q${side} ${lane1} ${side} ${lane1 + turn}` +
    `V${lane2 - turn}Q${side} ${lane2} ${side - corner} ${lane2}H${x2 + bend2}Q${x2} ${lane2} ${x2} ${y2}`
  );
}

// A triangle with its tip at a place; `from` is 1 where the arrow comes from below, and -1 where it comes from above.
function head(x, y, from) {
  return `M${x} ${y}l${-HEAD * 0.8} ${from * HEAD * 1.5}h${HEAD * 1.6}z`;
}

/** Return the empty element that makes room above the line it stands in. */
export function rise() {
  return make("span", { class: "rise" });
}
