// The matrix and the plain table: the tally once more, for those who compare and for those who can't see the network.

const matrix = document.getElementById("matrix");
const cut = document.getElementById("cut");
const plainTable = document.getElementById("table");
// More cells than this say nothing to an eye, and keep a slider waiting.
const WIDEST = 60;

function drawMatrix({ arrows }) {
  const rows = ranked(arrows, "source");
  const columns = ranked(arrows, "target");
  const cells = new Map(arrows.map((one) => [one.key, one]));
  const largest = Math.max(1, ...arrows.map((one) => one.total));
  const head = make(
    "tr",
    {},
    make("td", { class: "corner" }, say("source_target")),
    columns.map((actor) => make("th", { scope: "col" }, make("abbr", { title: ACTORS[actor].name }, ACTORS[actor].code))),
  );
  const body = rows.map((source) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, make("abbr", { title: ACTORS[source].name }, ACTORS[source].code)),
      columns.map((target) => cell(cells.get(source * ACTORS.length + target), source === target, largest)),
    ),
  );
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, body));
  // A new table takes the focus from the old one's number; whoever walks through it goes on at the same arrow.
  const focused = document.activeElement.closest("#matrix button")?.dataset.arrow;
  matrix.replaceChildren(arrows.length ? table : make("p", {}, say("nothing")));
  cut.textContent = Math.max(rows.length, columns.length) === WIDEST ? say("matrix_cut", { n: number(WIDEST) }) : "";
  const kept = matrix.querySelector(`button[data-arrow="${focused}"]`);
  (kept ?? matrix.querySelector("button"))?.setAttribute("tabindex", "0");
  kept?.focus({ preventScroll: true });
}

function ranked(arrows, side) {
  const totals = new Map();
  for (const one of arrows) totals.set(one[side], (totals.get(one[side]) ?? 0) + one.total);
  const sorted = [...totals.keys()].sort((one, other) => totals.get(other) - totals.get(one) || one - other);
  return sorted.slice(0, WIDEST);
}

function cell(one, same, largest) {
  if (!one) return make("td", { class: same ? "same" : null });
  const told = one.most < one.total ? `${one.stance.short} ${one.most}` : one.stance.short;
  const attributes = { type: "button", tabindex: "-1", class: `is-${one.stance.id}`, "aria-label": one.label };
  const button = make("button", { ...attributes, "aria-pressed": String(view.pinned === one.key) }, make("b", {}, number(one.total)), told);
  button.dataset.arrow = String(one.key);
  button.style.setProperty("--share", String(Math.sqrt(one.total / largest)));
  return make("td", {}, button);
}

function drawTable({ arrows }) {
  const columns = ["who", "whom", "number", "most_stance", "by_stance", "first_last"];
  const rows = arrows.map((one) => {
    const dates = one.events.map((event) => event[DATE]).filter(Boolean).sort();
    const counts = one.counts.map((count, place) => [count, STANCES[place].name]).filter(([count]) => count);
    const told = counts.sort(([a], [b]) => b - a).map(([count, name]) => `${name} ${number(count)}`);
    const when = [...new Set([dates[0], dates.at(-1)])].filter(Boolean).map(dayName);
    return make(
      "tr",
      {},
      [one.source, one.target].map((actor) => make("td", {}, [...new Set([ACTORS[actor].code, ACTORS[actor].name])].join(" "))),
      make("td", { class: "n" }, number(one.total)),
      make("td", {}, one.stance.name),
      make("td", {}, told.join(", ")),
      make("td", {}, when.join(" – ")),
    );
  });
  const head = columns.map((key) => make("th", { scope: "col", class: key === "number" ? "n" : null }, say(key)));
  plainTable.replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, head)), make("tbody", {}, rows)));
}
