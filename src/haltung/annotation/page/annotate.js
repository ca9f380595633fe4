// The annotation page: shows a sentence in its article, takes the answer by key or click, and sends it before it goes on.

import { Failure, ask, useKey } from "../client.js";
import { make, shape } from "../dom.js";
import { pieces, tasksOf } from "../reading.js";
import * as settings from "../settings.js";
import { explain, words } from "../words.js";
import { dyadGroup, hasDyads, taskGroup } from "./groups.js";
import { own } from "./words.js";

const find = (id) => document.getElementById(id);

let language = settings.language();
let work = null;
let item = null;
let draft = null;
let groups = [];
let active = 0;
let busy = false;
let pending = "";
// The answered sentences, in the order of the answers, with whether they were skipped.
let answered = new Map();
// Answers that were begun or undone, by the number of the sentence, until they are saved.
const drafts = new Map();

// ---- asking

async function call(path, body) {
  const options = body && { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return ask(path, options ?? {});
}

// Run one action at a time: input during another would go to the wrong sentence.
async function doing(action) {
  if (busy) return;
  busy = true;
  find("main").setAttribute("aria-busy", "true");
  try {
    complain(null);
    await action();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    complain(error);
    if (error.status === 401) {
      find("key-form").hidden = false;
      find("key").focus();
    }
    if (error.status === 409 && item) {
      drafts.delete(item.number);
      await open(item.number);
    }
  } finally {
    busy = false;
    find("main").removeAttribute("aria-busy");
  }
}

function complain(failure) {
  const known = failure && (own(language).failures[failure.status] ?? explain(failure, language));
  const said = failure?.sentence ? make("p", { class: "said", lang: "en" }, failure.sentence) : null;
  find("failure").replaceChildren(...[known && make("p", {}, known), said].filter(Boolean));
}

async function load() {
  work = await call("work");
  answered = new Map(work.answered);
  find("key-form").hidden = true;
  introduce();
  await go(-1);
}

// Open the first unanswered sentence after a number, else the first of all.
async function go(after) {
  const ahead = work.numbers.filter((number) => !answered.has(number));
  const next = ahead.find((number) => number > after) ?? ahead[0];
  if (next === undefined) finish();
  else await open(next);
}

async function open(number) {
  item = { number, proposals: {}, agreed: {}, ...(await call(`items/${number}`)) };
  // The coders' answers, for a judge: in random order if they differ.
  for (const [name, said] of Object.entries(item.said)) {
    if (said.length > 1) item.proposals[name] = said.map((one) => [Math.random(), one]).toSorted(([one], [other]) => one - other).map(([, one]) => one);
    else if (said.length) [item.agreed[name]] = said;
  }
  // A draft that was begun before another window answered is discarded.
  const kept = drafts.get(number);
  draft = kept && kept.seen === (item.answer?.time ?? null) ? kept : drafted();
  drafts.set(number, draft);
  find("desk").hidden = false;
  find("finished").hidden = true;
  build();
  active = Math.max(0, groups.findIndex((group) => group.disputed));
  if (!work.settles) active = Math.max(0, groups.findIndex((group) => group.open()));
  update();
  find("announcement").textContent = `${place()}: ${item.sentences[item.here].text}`;
  find("main").focus({ preventScroll: true });
  if (matchMedia("(max-width: 55rem)").matches) scrollTo({ top: 0 });
}

function drafted() {
  const given = item.answer;
  const labels = {};
  for (const { name } of tasksOf(work)) labels[name] = given?.[name] ?? item.agreed[name] ?? undefined;
  const rows = given ? dyadsOf(given) : (item.agreed.dyads ?? []).map(([source, target, stance]) => ({ source, target, stance: stance || null }));
  return { labels, dyads: rows.map((dyad) => ({ ...dyad })), half: undefined, decided: Boolean(given), comment: given?.comment ?? "", seen: given?.time ?? null };
}

// A dyad has its own stance only if it differs from the sentence's; otherwise it follows that one.
function dyadsOf(answer) {
  const [first] = [answer.stance ?? []].flat().filter((one) => one !== "neutral");
  return (answer.dyads ?? []).map((dyad) => ({ ...dyad, stance: dyad.stance === first ? null : dyad.stance }));
}

// ---- showing

function introduce() {
  const text = own(language);
  find("title").textContent = work.settles ? text.settling(work.coder) : text.titled(work.coder);
  document.title = `${find("title").textContent} · Haltung`;
  find("model").textContent = `${work.scheme} · ${work.coder} · ${work.file}`;
  const number = new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const shown = ({ value, interval }) => (value === null ? "–" : number.format(value)) + (interval ? ` [${number.format(interval.low)}; ${number.format(interval.high)}]` : "");
  const alphas = work.agreement.map(({ task, n, course, ...alpha }) => [
    make("dt", {}, tasksOf(work).find(({ name }) => name === task)[language]),
    make("dd", {}, text.alpha(shown(alpha), n), drawn(Object.entries(course), n, shown)),
  ]);
  find("alphas").replaceChildren(...alphas.flat());
  find("agreement").hidden = !alphas.length;
  const shortcuts = text.shortcuts.map(([keys, what]) => make("div", {}, make("dt", {}, make("kbd", {}, keys)), make("dd", {}, what)));
  find("shortcuts").replaceChildren(...shortcuts);
}

// Alpha of each part of the course of coding as a dot with its interval, and of all so far as a line; below 0 counts as 0.
function drawn(course, n, shown) {
  if (!course.length) return null;
  const [width, height] = [240, 56];
  const x = (count) => (width * count) / n;
  const y = (value) => 2 + (height - 4) * (1 - Math.max(0, value));
  const middle = (at) => x((Number(course[at][0]) + Number(course[at - 1]?.[0] ?? 0)) / 2);
  const parts = course.map(([, { part }], at) => [
    part.interval && shape("line", { x1: middle(at), x2: middle(at), y1: y(part.interval.low), y2: y(part.interval.high), class: "reach" }),
    part.value !== null && shape("circle", { cx: middle(at), cy: y(part.value), r: 2.5 }),
  ]);
  const sofar = course.filter(([, { so_far: { value } }]) => value !== null).map(([count, { so_far: { value } }]) => `${x(count)},${y(value)}`);
  const wanted = [0.667, 0.8].map((value) => shape("line", { x1: 0, x2: width, y1: y(value), y2: y(value), class: "wanted" }));
  const told = own(language).course(course.map(([count, { part, so_far: all }]) => [count, shown(part), shown(all)]));
  const marks = [...wanted, ...parts.flat().filter(Boolean), shape("polyline", { points: sofar.join(" ") })];
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, class: "course", role: "img", "aria-label": told }, shape("title", {}, told), ...marks);
}

function place() {
  return own(language).place(work.numbers.indexOf(item.number) + 1, work.numbers.length);
}

function build() {
  const tasks = tasksOf(work);
  const change = (complete) => {
    if (complete) advance();
    update();
    if (complete && find("auto").checked && ready() && !asksDyads() && !groups.some((group) => group.many)) save();
  };
  const common = (name, index) => ({ draft, item, language, tasks, change, proposals: item.proposals[name], activate: () => activate(index) });
  groups = tasks.map((task, index) => taskGroup({ task, ...common(task.name, index) }));
  const stance = tasks.find((task) => task.name === "stance");
  if (work.dyads && stance) groups.push(dyadGroup({ task: stance, ...common("dyads", groups.length) }));
  for (const group of groups) {
    group.disputed = Boolean(item.proposals[group.name]);
    group.element.classList.toggle("agreed", work.settles && !group.disputed);
  }
  find("groups").replaceChildren(...groups.map((group) => group.element));
  find("comment").value = draft.comment;
  const text = own(language);
  if (item.comments.length) {
    find("groups").append(make("div", { class: "remarks" }, make("p", { class: "hint" }, text.comments), make("ul", {}, item.comments.map((one) => make("li", {}, one)))));
  }
  show();
}

function show() {
  const text = own(language);
  const article = find("article");
  article.setAttribute("aria-label", text.article);
  const about = [item.source, item.date && new Date(`${item.date}T12:00`).toLocaleDateString(language, { dateStyle: "long" })].filter(Boolean).join(" · ");
  const sentences = item.sentences.map(({ text: said, number }, index) => {
    const state = answered.has(number) ? (answered.get(number) ? "skipped" : "done") : "";
    if (index === item.here) return make("p", { class: "here", "aria-current": "true", lang: "de" }, named());
    const mark = { done: text.wasDone, skipped: text.wasSkipped }[state];
    return make("p", { class: `around ${state}`, lang: "de" }, said, mark ? make("span", { class: "unseen", lang: language }, ` (${mark})`) : null);
  });
  const line = (label, value) => (value ? make("p", { class: "beside" }, make("span", { class: "hint" }, `${label}: `), make("span", { lang: "de" }, value)) : null);
  // The context is the sentence before, which is shown unless it was not drawn.
  const shown = item.here > 0 && item.context.includes(item.sentences[item.here - 1].text);
  article.replaceChildren(...[
    make("p", { class: "hint" }, [place(), about].filter(Boolean).join(" · ")),
    item.headline ? make("h2", { lang: "de" }, item.headline) : null,
    line(text.before, shown ? "" : item.context), ...sentences, line(text.towards, item.target),
  ].filter(Boolean));
  // Scroll the sentence to the upper third, and show all of it if there is room.
  const [box, here] = [article.getBoundingClientRect(), article.querySelector(".here").getBoundingClientRect()];
  const top = here.top - box.top + article.scrollTop;
  article.scrollTop = Math.min(top - 8, Math.max(top - box.height / 3, top + here.height - box.height + 12));
}

// The sentence; its names are buttons if there is a group of dyads.
function named() {
  const dyads = groups.find((group) => group.pick);
  const { text } = item.sentences[item.here];
  return pieces({ text, actors: dyads ? item.actors : [] }).map((piece) =>
    piece.code ? make("button", { type: "button", class: "name", title: piece.code, onclick: () => hasDyads(draft) && dyads.pick(piece.code) }, piece.text) : piece.text);
}

function update() {
  if (groups[active]?.pick && !hasDyads(draft)) active = 0;
  groups.forEach((group, index) => group.update(index === active));
  groups[active]?.element.scrollIntoView({ block: "nearest" });
  const skipped = [...answered.values()].filter(Boolean).length;
  const said = own(language).done(answered.size - skipped, work.numbers.length, skipped);
  find("progress").hidden = false;
  find("bar").max = Math.max(1, work.numbers.length);
  find("bar").value = answered.size - skipped;
  find("bar").setAttribute("aria-label", said);
  find("count").textContent = said;
  find("undo").disabled = find("undo-last").disabled = !answered.size;
  find("article").classList.toggle("picking", asksDyads());
}

function finish() {
  item = draft = null;
  groups = [];
  find("desk").hidden = true;
  find("finished").hidden = false;
  find("again").hidden = firstSkipped() === undefined;
  find("reload").hidden = !work.settles;
  find("result").textContent = work.settles && !work.numbers.length ? own(language).nothingYet : own(language).result(work.file);
  update();
  find("announcement").textContent = `${own(language).finished}. ${find("result").textContent}`;
}

// ---- what a person does

function firstSkipped() {
  return [...answered].find(([, skipped]) => skipped)?.[0];
}

function asksDyads() {
  return groups.some((group) => group.pick) && hasDyads(draft);
}

function ready() {
  return !groups.some((group) => group.open());
}

function activate(index) {
  active = index;
  pending = "";
  update();
}

// Go to the next question; for a judge, to the next one that is disputed or open.
function advance() {
  const next = groups.findIndex((group, index) => index > active && (group.disputed || group.open() || !work.settles) && (hasDyads(draft) || !group.pick));
  if (next > 0) active = next;
  pending = "";
}

function step(by) {
  const shown = groups.flatMap((group, index) => (group.element.hidden ? [] : [index]));
  activate(shown[(shown.indexOf(active) + by + shown.length) % shown.length]);
}

function move(by) {
  const number = work.numbers[work.numbers.indexOf(item.number) + by];
  if (number !== undefined) doing(() => open(number));
}

function save() {
  const open_ = groups.findIndex((group) => group.open());
  if (open_ >= 0) {
    activate(open_);
    find("announcement").textContent = own(language).missing(groups.filter((group) => group.open()).map((group) => group.title).join(", "));
    groups[open_].element.classList.remove("missing");
    requestAnimationFrame(() => groups[open_]?.element.classList.add("missing"));
    return;
  }
  const dyads = groups.find((group) => group.pick);
  // A name that was typed but not yet added counts.
  const typed = asksDyads() ? dyads.field.value.trim() : "";
  if (typed) dyads.pick(typed);
  if (draft.half !== undefined) dyads.pick("");
  const labels = Object.fromEntries(tasksOf(work).map(({ name }) => [name, draft.labels[name] ?? []]));
  const rows = asksDyads() ? draft.dyads.map((dyad) => ({ ...dyad, stance: dyads.stanceOf(dyad) })) : [];
  send({ labels, dyads: rows });
}

function send(answer) {
  doing(async () => {
    const { number } = item;
    await call(`items/${number}`, { ...answer, comment: draft.comment.trim(), seen: item.answer?.time ?? null });
    drafts.delete(number);
    answered.delete(number);
    answered.set(number, !Object.keys(answer.labels).length);
    await go(number);
  });
}

// Turn the last answer back into a draft.
function undo() {
  const last = [...answered.keys()].at(-1);
  if (last === undefined) return;
  doing(async () => {
    const { answer } = await call(`items/${last}`);
    drafts.delete(last);
    if (!answer) return load(); // another window has undone it
    await call(`items/${last}`, { labels: null, seen: answer?.time ?? null });
    answered.delete(last);
    await open(last);
    const labels = Object.fromEntries(tasksOf(work).map(({ name }) => [name, answer[name] ?? undefined]));
    Object.assign(draft, { labels, dyads: dyadsOf(answer), decided: true, comment: answer.comment ?? "" });
    build();
    update();
  });
}

find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
find("undo").addEventListener("click", undo);
find("undo-last").addEventListener("click", undo);
find("pass").addEventListener("click", () => send({ labels: {} }));
find("again").addEventListener("click", () => doing(() => open(firstSkipped())));
find("reload").addEventListener("click", () => doing(load));
find("comment").addEventListener("input", (event) => (draft.comment = event.target.value));
find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(find("key").value);
  doing(load);
});

// After a click, keys go to the page; navigation by Tab keeps the focus.
find("desk").addEventListener("click", (event) => {
  if (event.detail > 0 && event.target.closest("button")) find("main").focus({ preventScroll: true });
});

const ACTIONS = {
  Backspace: undo,
  ArrowLeft: () => move(-1),
  ArrowRight: () => move(1),
  ArrowUp: () => step(-1),
  ArrowDown: () => step(1),
  "-": () => send({ labels: {} }),
  "+": () => find("comment").focus(),
  ".": () => asksDyads() && groups.at(-1).field.focus(),
};

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !work || busy) return;
  if (key === "Escape") return find("main").focus({ preventScroll: true });
  if (target.matches("input, select") || (target.closest("button, a, summary") && (key === "Enter" || key === " "))) return;
  if (target === find("article") && key.startsWith("Arrow") && !["ArrowLeft", "ArrowRight"].includes(key)) return;
  if (!item && key !== "Backspace") return;
  if (key.length === 1 && !find("keys").checked) return;
  const action = key === "Enter" ? save : ACTIONS[key] ?? (key.length === 1 ? () => press(key.toLowerCase()) : null);
  if (!action) return;
  if (key !== " ") event.preventDefault();
  action();
});

function press(key) {
  const { keys } = groups[active];
  const typed = pending + key;
  pending = "";
  if (keys.has(typed)) keys.get(typed)();
  else if ([...keys.keys()].some((code) => code.startsWith(typed))) pending = typed;
  else if (keys.has(key)) keys.get(key)();
}

// ---- language, colours, and what is remembered

function speak(chosen) {
  language = chosen;
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-word]")) {
    element.textContent = own(language)[element.dataset.word] ?? words(language)[element.dataset.word];
  }
  if (!work) return;
  introduce();
  if (item) build();
  update();
}

settings.offer("language", language, speak);
settings.offerThemes();

for (const id of ["keys", "auto"]) {
  find(id).checked = settings.switched(id, find(id).checked);
  find(id).addEventListener("change", () => settings.remember(id, String(find(id).checked)));
}

doing(load);
