// The network: actors where the page's data puts them, pushed apart until none covers another, and between them curved arrows.

const svg = document.getElementById("network");
const panel = document.getElementById("panel");
const arrowLayer = draw("g", { role: "group", "aria-label": say("arrows_group") });
const labelLayer = draw("g", { class: "labels", "aria-hidden": "true" });
const nodeLayer = draw("g", { role: "group", "aria-label": say("actors_group") });
svg.append(arrowLayer, labelLayer, nodeLayer);

const measure = document.createElement("canvas").getContext("2d");
const weights = ACTORS.map(() => 0);
for (const event of data.events) {
  if (event[SOURCE] !== event[TARGET]) for (const place of [event[SOURCE], event[TARGET]]) weights[place] += 1;
}
const heaviest = Math.max(...weights);

let fullNames = false;
let boxes = [];
let placed = 0;
// How far each arrow bows out, found once for each placing.
const bends = new Map();
const drawnArrows = new Map();
const drawnNodes = new Map();

/** Put the actors in their places: once for each number of actors, width of the window, and kind of name. */
function place() {
  placed += 1;
  bends.clear();
  const width = Math.max(svg.parentElement.clientWidth, 280);
  const crowd = Math.sqrt(Math.max(view.count, 20) / 40) * (fullNames ? 1.25 : 1);
  const height = Math.round((width < 640 ? width * 1.2 + 60 : Math.min(Math.max(width * 0.66, 420), 640)) * Math.max(crowd, width < 640 ? 1 : 0.85));
  set(svg, { viewBox: `0 0 ${width} ${height}`, width, height });
  panel.style.maxHeight = `${height}px`;
  const places = data.places[view.count];
  const reach = [0, 1].map((axis) => [Math.min(...places.map((one) => one[axis])), Math.max(...places.map((one) => one[axis]))]);
  const scaled = (value, axis, low, high) => {
    const [from, to] = reach[axis];
    return to > from ? low + ((value - from) / (to - from)) * (high - low) : (low + high) / 2;
  };
  boxes = places.map(([x, y], actor) => {
    const size = (width < 640 ? 10.5 : 11.5) + (width < 640 ? 4 : 6) * Math.sqrt(weights[actor] / heaviest);
    const text = fullNames ? ACTORS[actor].name : ACTORS[actor].code;
    measure.font = `600 ${size}px system-ui, sans-serif`;
    const box = { actor, text, size, w: measure.measureText(text).width + size * 1.1, h: size * 1.85 };
    return { ...box, x: scaled(x, 0, box.w / 2 + 10, width - box.w / 2 - 10), y: scaled(y, 1, box.h / 2 + 26, height - box.h / 2 - 10) };
  });
  spread(width, height, width < 640 ? 13 : 24);
}

/** Push boxes apart that are nearer than `gap`, each time along the shorter way; they stay inside. */
function spread(width, height, gap) {
  for (let round = 0; round < 200; round += 1) {
    let moved = false;
    for (let one = 0; one < boxes.length; one += 1) {
      for (let other = 0; other < one; other += 1) {
        const [a, b] = [boxes[one], boxes[other]];
        const overX = (a.w + b.w) / 2 + gap - Math.abs(a.x - b.x);
        const overY = (a.h + b.h) / 2 + gap - Math.abs(a.y - b.y);
        if (overX <= 0 || overY <= 0) continue;
        moved = true;
        const axis = overX < overY ? "x" : "y";
        const by = (Math.min(overX, overY) / 2) * 0.6 * (a[axis] > b[axis] || (a[axis] === b[axis] && one > other) ? 1 : -1);
        a[axis] += by;
        b[axis] -= by;
      }
    }
    for (const box of boxes) {
      box.x = Math.max(box.w / 2 + 4, Math.min(width - box.w / 2 - 4, box.x));
      box.y = Math.max(box.h / 2 + 22, Math.min(height - box.h / 2 - 4, box.y));
    }
    if (!moved) break;
  }
}

/** Draw what the tally has; elements that stay keep the keyboard's place. */
function drawNetwork({ drawn: arrows }) {
  const totals = new Map();
  for (const one of arrows) for (const actor of new Set([one.source, one.target])) totals.set(actor, (totals.get(actor) ?? 0) + one.total);
  keep(drawnArrows, new Map(arrows.map((one) => [one.key, one])), newArrow, arrowLayer);
  for (const one of arrows) update(drawnArrows.get(one.key), one);
  keep(drawnNodes, new Map(boxes.map((box) => [box.actor, box])), newNode, nodeLayer);
  for (const box of boxes) {
    const { group, rect, text } = drawnNodes.get(box.actor);
    const total = totals.get(box.actor) ?? 0;
    set(rect, { x: box.x - box.w / 2, y: box.y - box.h / 2, width: box.w, height: box.h, rx: box.h / 2 });
    set(text, { x: box.x, y: box.y + box.size * 0.35, "font-size": box.size });
    if (text.textContent !== box.text) text.textContent = box.text;
    const told = say("actor_told", { actor: ACTORS[box.actor].name, events: counted("events", total) });
    set(group, { class: total ? "node" : "node idle", "aria-pressed": String(view.only === box.actor), "aria-label": told });
  }
  // The largest arrow lies on top of the others, and the tabulator stops at it; of the actors at the heaviest.
  const groups = arrows.map((one) => drawnArrows.get(one.key).group);
  order(arrowLayer, groups.toReversed(), groups[0]);
  const nodes = boxes.map((box) => drawnNodes.get(box.actor).group);
  order(nodeLayer, nodes, nodes[0]);
  labelArrows(arrows);
  light();
}

function keep(drawn, wanted, create, layer) {
  for (const [key, parts] of drawn) {
    if (!wanted.has(key)) {
      parts.group.remove();
      drawn.delete(key);
    }
  }
  for (const key of wanted.keys()) {
    if (!drawn.has(key)) {
      drawn.set(key, create(key));
      layer.append(drawn.get(key).group);
    }
  }
}

// Moving an element takes the focus from it, so it is only done where the order differs.
function order(layer, groups, first) {
  if (groups.some((group, index) => layer.children[index] !== group)) {
    const focused = document.activeElement;
    layer.append(...groups);
    if (layer.contains(focused)) focused.focus({ preventScroll: true });
  }
  if (groups.length && !groups.some((group) => group.getAttribute("tabindex") === "0")) stop(groups, first);
}

function newArrow(key) {
  const parts = { line: draw("path", { class: "line" }), head: draw("path", { class: "head" }), hit: draw("path", { class: "hit" }) };
  const group = draw("g", { role: "button", tabindex: "-1" }, parts.hit, parts.line, parts.head);
  group.dataset.arrow = String(key);
  return { group, ...parts };
}

function newNode(actor) {
  const parts = { rect: draw("rect"), text: draw("text", { "text-anchor": "middle" }) };
  const group = draw("g", { role: "button", tabindex: "-1" }, parts.rect, parts.text);
  group.dataset.actor = String(actor);
  return { group, ...parts };
}

function update(parts, one) {
  set(parts.group, { class: `arrow is-${one.stance.id}`, "aria-label": one.label, "aria-pressed": String(view.pinned === one.key) });
  // The same boxes, width and dashes give the same line.
  const form = `${placed} ${one.total} ${one.stance.family}`;
  if (parts.form === form) return;
  parts.form = form;
  const width = widthOf(one.total);
  const { line, head, middle, length } = curve(one, width);
  Object.assign(parts, { middle, length });
  set(parts.line, { d: line, "stroke-width": width, "stroke-dasharray": dashes(one.stance.family, width) });
  set(parts.hit, { d: line, "stroke-width": Math.max(width + 10, 16) });
  set(parts.head, { d: head });
}

function dashes(family, width) {
  return { opposes: `${5 + width} ${2.5 + width * 0.6}`, asks: `${width * 0.2 + 1} ${2 + width}` }[family] ?? null;
}

/** A bow from one box to the other, to the right of its way, so that both directions lie side by side; cut where it leaves the boxes. */
function curve(one, width) {
  const [a, b] = [boxes[one.source], boxes[one.target]];
  if (!bends.has(one.key)) bends.set(one.key, clearest(a, b));
  const points = a === b ? loop(a) : bow(a, b, bends.get(one.key));
  const at = (t) => bezier(points, t);
  let start = 0;
  while (start < 0.45 && within(at(start), a, 2)) start += 0.01;
  let end = 1;
  while (end > start + 0.1 && within(at(end), b, 3)) end -= 0.01;
  const long = 5 + width * 1.5;
  const tip = at(end);
  let base = end;
  while (base > start + 0.02 && Math.hypot(at(base).x - tip.x, at(base).y - tip.y) < long) base -= 0.01;
  const back = at(base);
  const far = Math.hypot(tip.x - back.x, tip.y - back.y) || 1;
  const [ux, uy] = [(tip.x - back.x) / far, (tip.y - back.y) / far];
  const half = 2.5 + width * 0.95;
  const line = [];
  for (let step = 0; step <= 16; step += 1) {
    const { x, y } = at(start + ((base - start) * step) / 16);
    line.push(`${step ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`);
  }
  const corners = [tip, { x: back.x - uy * half, y: back.y + ux * half }, { x: back.x + uy * half, y: back.y - ux * half }];
  const head = `M${corners.map(({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}Z`;
  const [first, last] = [at(start), tip];
  return { line: line.join(""), head, middle: (t) => at(start + (end - start) * t), length: Math.hypot(last.x - first.x, last.y - first.y) };
}

/** The bend that runs under the fewest other actors; of several the most usual. */
function clearest(a, b) {
  if (a === b) return 0;
  const others = boxes.filter((box) => box !== a && box !== b);
  const usual = Math.max(16, Math.min(70, Math.hypot(b.x - a.x, b.y - a.y) * 0.17));
  const covered = (bend) => {
    const points = bow(a, b, bend);
    const samples = Array.from({ length: 17 }, (_, step) => bezier(points, (step + 1) / 18));
    return others.reduce((count, box) => count + samples.some((point) => within(point, box, 2)), 0);
  };
  let best = { bend: usual, count: Infinity };
  for (const factor of [1, 1.5, 0.55, 2, 2.5]) {
    const count = covered(usual * factor);
    if (count < best.count) best = { bend: usual * factor, count };
    if (count === 0) break;
  }
  return best.bend;
}

function bow(a, b, bend) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const far = Math.hypot(dx, dy) || 1;
  const control = { x: (a.x + b.x) / 2 - (dy / far) * bend, y: (a.y + b.y) / 2 + (dx / far) * bend };
  return [a, control, control, b];
}

function loop(a) {
  const out = Math.max(16, a.w / 2);
  return [{ x: a.x - a.w / 4, y: a.y }, { x: a.x - out, y: a.y - a.h - 22 }, { x: a.x + out, y: a.y - a.h - 22 }, { x: a.x + a.w / 4, y: a.y }];
}

function bezier([a, b, c, d], t) {
  const s = 1 - t;
  const [wa, wb, wc, wd] = [s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t];
  return { x: wa * a.x + wb * b.x + wc * c.x + wd * d.x, y: wa * a.y + wb * b.y + wc * c.y + wd * d.y };
}

function within(point, box, more) {
  return Math.abs(point.x - box.x) < box.w / 2 + more && Math.abs(point.y - box.y) < box.h / 2 + more;
}

/** Write stance and count beside the largest arrows, where there is room: colour and dashes alone tell families, not stances. */
function labelArrows(arrows) {
  const taken = boxes.map((box) => ({ x: box.x, y: box.y, w: box.w + 4, h: box.h + 2 }));
  const labels = [];
  for (const one of arrows.slice(0, narrow() ? 12 : 36)) {
    const parts = drawnArrows.get(one.key);
    if (parts.length < 44) continue;
    const text = one.total > 1 ? `${one.stance.short} ${one.share}` : one.stance.short;
    const size = { w: text.length * 5.6 + 4, h: 12 };
    for (const t of [0.5, 0.4, 0.6, 0.3, 0.7]) {
      const spot = { ...parts.middle(t), ...size };
      if (taken.some((other) => Math.abs(spot.x - other.x) < (spot.w + other.w) / 2 && Math.abs(spot.y - other.y) < (spot.h + other.h) / 2)) continue;
      taken.push(spot);
      labels.push(draw("text", { x: spot.x, y: spot.y + 3.5, class: `is-${one.stance.id}` }, text));
      break;
    }
  }
  labelLayer.replaceChildren(...labels);
}

/** Lift what is pointed at or kept above the rest. */
function light() {
  const chosen = view.pointed ?? view.pinned;
  const actor = typeof view.pointed === "string" ? Number(view.pointed.slice(1)) : null;
  svg.classList.toggle("lit", chosen !== null && chosen !== undefined);
  for (const [key, { group }] of drawnArrows) {
    const [source, target] = [Math.floor(key / ACTORS.length), key % ACTORS.length];
    group.classList.toggle("is-lit", actor === null ? key === chosen : source === actor || target === actor);
  }
}
