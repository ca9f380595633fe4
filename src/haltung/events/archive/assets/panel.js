// Beside the network: what is pointed at or kept, in counts by stance and in sentences.

const EXAMPLES = 5;

function showPanel(shown) {
  const chosen = view.pointed ?? view.pinned ?? (view.only === null ? null : `a${view.only}`);
  const found = typeof chosen === "number" ? shown.arrows.find((one) => one.key === chosen) : null;
  const parts = found ? ofArrow(found, shown) : typeof chosen === "string" ? ofActor(Number(chosen.slice(1)), shown) : overview(shown);
  panel.replaceChildren(...parts.filter(Boolean));
  panel.classList.toggle("kept", view.pinned !== null);
}

function ofArrow(one, shown) {
  const back = shown.arrows.find((other) => other.source === one.target && other.target === one.source && other !== one);
  const { all, first } = one.sentences(EXAMPLES);
  return [
    make("h3", {}, one.name),
    make("p", { class: "soft" }, one.fullName),
    bars(one.counts, one.total),
    make("p", { class: "caption" }, all > first.length ? say("sentences_of", { n: first.length, all: number(all) }) : say("sentences")),
    make("ul", { class: "examples" }, first.map(example)),
    make("p", { class: "row" }, back && pick(back, say("opposite", { events: counted("events", back.total) })), letGo()),
  ];
}

function example(event) {
  const [headline, medium] = data.articles[event[ARTICLE]];
  const stance = STANCES[event[STANCE]];
  const where = [dayName(event[DATE]), headline, medium].filter(Boolean).join(" · ");
  return make(
    "li",
    { class: `is-${stance.id}` },
    make("p", {}, data.sentences[event[SENTENCE]]),
    make("p", { class: "soft" }, make("b", {}, stance.name), ` ${Math.round(event[PROBABILITY] * 100)} % · ${where}`),
  );
}

function ofActor(actor, shown) {
  const sides = [
    ["goes_out", shown.arrows.filter((one) => one.source === actor)],
    ["comes_in", shown.arrows.filter((one) => one.target === actor)],
  ];
  const both = new Set(sides.flatMap(([, arrows]) => arrows));
  return [
    make("h3", {}, ACTORS[actor].code),
    make("p", { class: "soft" }, view.only === actor ? `${ACTORS[actor].name}. ${say("only_this")}` : ACTORS[actor].name),
    ...sides.flatMap(([key, arrows]) => {
      const counts = STANCES.map((_, place) => arrows.reduce((sum, one) => sum + one.counts[place], 0));
      const total = arrows.reduce((sum, one) => sum + one.total, 0);
      return [make("p", { class: "caption" }, say(key, { events: counted("events", total) })), total ? bars(counts, total) : null];
    }),
    both.size ? make("p", { class: "caption" }, say("most_frequent")) : null,
    list([...both].sort((one, other) => other.total - one.total).slice(0, 6)),
    make("p", { class: "row" }, letGo()),
  ];
}

function overview(shown) {
  if (!shown.arrows.length) return [make("p", {}, say("nothing"))];
  return [make("h3", {}, say("most_frequent")), list(shown.arrows.slice(0, narrow() ? 6 : 10)), make("p", { class: "soft keys" }, say("keys"))];
}

function list(arrows) {
  return make("ul", { class: "pairs" }, arrows.map((one) => make("li", {}, pick(one, one.name, true))));
}

function pick(one, text, full = false) {
  const button = make("button", { type: "button", class: `pick is-${one.stance.id}`, "aria-label": one.label, onclick: () => pin(one.key) });
  button.append(make("span", {}, text), ...(full ? [make("span", { class: "tag" }, one.stance.name), make("b", {}, one.share)] : []));
  return button;
}

function letGo() {
  return view.pinned !== null || view.only !== null ? make("button", { type: "button", class: "plain", onclick: release }, say("let_go")) : null;
}

function bars(counts, total) {
  const rows = counts.map((count, place) => [count, STANCES[place]]).filter(([count]) => count);
  rows.sort(([one], [other]) => other - one);
  return make(
    "ul",
    { class: "bars" },
    rows.map(([count, stance]) => {
      const bar = make("span", { class: "bar" });
      bar.style.setProperty("--share", String(count / total));
      return make("li", { class: `is-${stance.id}` }, make("span", {}, stance.name), bar, make("b", {}, number(count)));
    }),
  );
}
