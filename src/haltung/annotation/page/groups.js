// The questions of a sentence: a group of labels for each task, and one for who acts towards whom. Each has an element, the keys of its
// buttons, and `update()`, which shows the draft; nothing that has the focus is rebuilt.

import { colouring, labelOf, towards } from "../reading.js";
import { paint } from "../colours.js";
import { make } from "../dom.js";
import { own } from "./words.js";

const SINGLE = "1234567890abcdefghijklmnopqrstuvwxyz";
const NEUTRAL = "neutral";

/** Return keys for a number of buttons: one character each, or a letter and a digit if these are too few. */
export function codes(count) {
  if (count <= SINGLE.length) return [...SINGLE].slice(0, count);
  const [digits, letters] = [SINGLE.slice(0, 10), SINGLE.slice(10)];
  return Array.from({ length: count }, (_, index) => `${letters[Math.floor(index / 10)] ?? ""}${digits[index % 10]}`);
}

/** Return whether the draft's stance is one that somebody takes towards somebody. */
export function hasDyads(draft) {
  const stances = [draft.labels.stance ?? []].flat();
  return stances.some((stance) => stance !== NEUTRAL);
}

/** Make the group of a task; `change` is called with true when its answer is complete. */
export function taskGroup({ task, tasks, draft, language, proposals = [], change, activate }) {
  const text = own(language);
  const many = task.kind === "multi";
  const same = (one, other) => String(one ?? "") === String(other ?? "");
  const take = (value) => {
    draft.labels[task.name] = value;
    change(!many || proposals.length > 0);
  };
  const toggle = (id) => {
    const chosen = draft.labels[task.name] ?? [];
    draft.labels[task.name] = chosen.includes(id) ? chosen.filter((one) => one !== id) : [...chosen, id];
    change(false);
  };
  const titled = (value) => [value].flat().map((id) => labelOf(task, id)[language]).join(" + ") || text.none;
  const offered = proposals.filter((value) => value !== null);
  const rest = task.labels.filter(({ id }) => many || !offered.includes(id));
  const keys = new Map();
  const all = codes(offered.length + rest.length);
  const button = (code, name, press, { id, title }) => {
    keys.set(code, press);
    const made = make("button", { type: "button", onclick: press, "aria-keyshortcuts": code.length === 1 ? code : null, title }, kbd(code), make("span", {}, name));
    if (id !== undefined && task === colouring(tasks)) paint(made, task, id);
    return made;
  };
  const answers = offered.map((value, index) => ({
    on: () => same(draft.labels[task.name], value),
    shown: button(all[index], titled(value), () => take(value), { id: many ? undefined : value }),
  }));
  const labels = rest.map(({ id, definition, ...names }, index) => ({
    on: () => (many ? (draft.labels[task.name] ?? []).includes(id) : draft.labels[task.name] === id),
    shown: button(all[offered.length + index], names[language], () => (many ? toggle(id) : take(id)), { id, title: definition || null }),
  }));
  const chosen = make("span", { class: "chosen" });
  const definition = make("p", { class: "definition" });
  const list = (some) => make("ul", { class: "labels" }, some.map(({ shown }) => make("li", {}, shown)));
  const parts = proposals.length
    ? [make("p", { class: "hint" }, text.answers, proposals.includes(null) ? ` (${text.wasSkipped})` : null), list(answers), make("details", {}, make("summary", {}, text.otherAnswer), list(labels))]
    : [list(labels)];
  const element = group(task.name, [task[language], many ? make("span", { class: "hint" }, ` ${text.several}`) : null], chosen, activate, parts, definition);
  const update = (active) => {
    for (const { on, shown } of [...answers, ...labels]) shown.setAttribute("aria-pressed", String(on()));
    const value = draft.labels[task.name];
    chosen.textContent = value === undefined ? "" : titled(value);
    definition.textContent = value === undefined || many ? "" : labelOf(task, value).definition;
    element.classList.toggle("active", active);
  };
  return { name: task.name, title: task[language], element, keys, update, many, open: () => (!many || proposals.length > 0) && draft.labels[task.name] === undefined };
}

/** Make the group of dyads, open until a judge has decided on them. The returned `pick(code)` sets the side that is asked for, also from a click on a name. */
export function dyadGroup({ task, draft, item, language, proposals = [], change, activate }) {
  const text = own(language);
  const keys = new Map();
  const list = make("ul", { class: "dyads" });
  const asked = make("p", { class: "asked", "aria-live": "polite" });
  const field = make("input", { type: "text", id: "typed", maxlength: 100, autocomplete: "off", spellcheck: "false" });
  const stanceOf = (dyad) => dyad.stance ?? [draft.labels.stance ?? []].flat().find((one) => one !== NEUTRAL);
  const spoken = (dyad) => (dyad.stance ? `${towards(dyad)}: ${labelOf(task, dyad.stance)[language]}` : towards(dyad));
  const changed = () => {
    draft.decided = true;
    change(false);
  };
  const pick = (code) => {
    activate();
    if (draft.half === undefined) draft.half = code;
    else {
      draft.dyads.push({ source: draft.half, target: code, stance: null });
      draft.half = undefined;
    }
    changed();
  };
  const drop = () => {
    if (draft.half !== undefined) draft.half = undefined;
    else draft.dyads.pop();
    changed();
  };
  const chip = (key, name, press) => {
    keys.set(key, press);
    return make("li", {}, make("button", { type: "button", onclick: press, "aria-keyshortcuts": key }, kbd(key), make("span", {}, name)));
  };
  const answers = proposals.map((dyads, index) => {
    const said = dyads.map(([source, target, stance]) => ({ source, target, stance: stance || null }));
    const press = () => {
      draft.dyads = said.map((dyad) => ({ ...dyad }));
      draft.half = undefined;
      changed();
    };
    return chip("abcdefgh"[index], said.map(spoken).join("; ") || text.none, press);
  });
  const named = [...new Set(item.codes)].slice(0, 9);
  const chips = [...named.map((code, index) => chip(SINGLE[index], code, () => pick(code))), chip("0", text.nobody, () => pick(""))];
  keys.set("#", drop);
  const type = () => {
    if (!field.value.trim()) return;
    pick(field.value.trim());
    field.value = "";
  };
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !field.value.trim()) return;
    event.preventDefault();
    type();
  });
  const chosen = make("span", { class: "chosen" });
  const element = group("dyads", [text.dyads], chosen, activate, [
    proposals.length ? [make("p", { class: "hint" }, text.answers), make("ul", { class: "labels" }, answers)] : [],
    list,
    asked,
    make("ul", { class: "labels chips" }, chips),
    make("div", { class: "field typed" }, make("label", { for: "typed" }, kbd("."), " ", text.typed),
      make("div", { class: "row" }, field, make("button", { type: "button", onclick: type }, text.add))),
  ].flat());
  const row = (dyad, index) => {
    const select = make("select", { "aria-label": text.stanceOf(towards(dyad)), onchange: () => change(false, (dyad.stance = select.value)) },
      task.labels.filter(({ id }) => id !== NEUTRAL).map((label) => make("option", { value: label.id, selected: label.id === stanceOf(dyad) }, label[language])));
    const remove = make("button", { type: "button", class: "plain", "aria-label": text.remove(towards(dyad)), onclick: () => {
      draft.dyads.splice(index, 1);
      changed();
    } }, "✕");
    const made = make("li", {}, make("span", { class: "pair" }, towards(dyad)), select, remove);
    paint(made, task, stanceOf(dyad));
    return made;
  };
  const update = (active) => {
    element.hidden = !hasDyads(draft);
    list.replaceChildren(...draft.dyads.map(row));
    const half = draft.half === undefined;
    asked.replaceChildren(make("strong", {}, half ? `${text.source}?` : `${draft.half || text.nobody} →`), half ? " → …" : ` ${text.target}?`);
    chosen.textContent = draft.dyads.map(towards).join(", ");
    element.classList.toggle("active", active);
  };
  return { name: "dyads", title: text.dyads, element, keys, update, open: () => proposals.length > 0 && hasDyads(draft) && !draft.decided, pick, field, stanceOf };
}

function group(name, title, chosen, activate, ...parts) {
  const head = make("button", { type: "button", class: "head", id: `group-${name}`, onclick: activate }, make("span", {}, ...title), chosen);
  return make("section", { class: "group", role: "group", "aria-labelledby": `group-${name}`, "data-group": name }, make("h2", {}, head), make("div", { class: "body" }, ...parts.flat()));
}

function kbd(key) {
  return make("kbd", { "aria-hidden": "true" }, key);
}
