// The page: takes a text, asks the server, and hands the answer to the elements that show it.

import * as client from "./client.js";
import { paint } from "./colours.js";
import { make } from "./dom.js";
import { csv, dyadsCsv, json, save } from "./downloads.js";
import * as example from "./example.js";
import { colouring, precisions, tasksOf } from "./reading.js";
import { follow, viewOf } from "./result.js";
import * as settings from "./settings.js";
import { explain, percent, translate, words } from "./words.js";

const find = (id) => document.getElementById(id);
const result = follow(find("result"), find("announcement"));

const DEFAULT_PRECISION = 0.9;
const MOST_SAMPLES = 24;

let language = settings.language();
let model = null;
// What is shown, one object that all elements share (see result.js).
let view = null;
let failure = null;
let running = null;
let again = 0;

// ---- showing

function show() {
  result.show(view, language);
  find("result-title").textContent = words(language).sentences(view.segments.length);
  find("save-dyads").hidden = !view.answer.events;
}

function reading(now) {
  find("main").setAttribute("aria-busy", String(now));
  find("composer").classList.toggle("busy", now);
  find("read").textContent = now ? words(language).reading : words(language).read;
}

function editing(now) {
  find("composer").hidden = !now;
  find("intro").classList.toggle("done", !now);
  find("intro").classList.toggle("unseen", !now);
  find("result").hidden = now;
}

function complain(found) {
  failure = found;
  const explained = found && (found.word ? words(language)[found.word] : explain(found, language));
  const said = found?.sentence ? make("p", { class: "said", lang: "en" }, found.sentence) : null;
  find("failure").replaceChildren(...[explained && make("p", {}, explained), said].filter(Boolean));
}

// Outside of the alert, or a screen reader would speak every second.
function countDown() {
  const seconds = Math.ceil((again - Date.now()) / 1000);
  find("read").disabled = seconds > 0;
  find("countdown").hidden = seconds <= 0;
  find("countdown").textContent = seconds > 0 ? words(language).wait(seconds) : "";
  if (seconds > 0) setTimeout(countDown, 250);
  else if (again) {
    again = 0;
    complain(null);
  }
}

// ---- asking

async function describe() {
  if (model) return;
  model = await client.model();
  introduce();
}

// Tell what is served, and show the colours of its labels before there is a text.
function introduce() {
  find("model").textContent = words(language).model(model.name, model.haltung);
  const task = colouring(tasksOf(model));
  find("samples").replaceChildren(...task.labels.map((label) => {
    const sample = make("li", {}, label[language]);
    paint(sample, task, label.id);
    return sample;
  }));
  find("samples").hidden = task.labels.length > MOST_SAMPLES;
  offerPrecisions();
}

function offerPrecisions() {
  const select = find("strictness");
  const offered = precisions(model);
  const kept = select.options.length ? select.value : String(offered.includes(DEFAULT_PRECISION) ? DEFAULT_PRECISION : "");
  const shares = offered.map((value) => make("option", { value }, words(language).sure(percent(value, language))));
  select.replaceChildren(make("option", { value: "" }, words(language).off), ...shares);
  select.value = kept;
  find("strictness-field").hidden = !offered.length;
}

async function read() {
  const text = find("text").value;
  const headline = find("headline").value.trim();
  complain(null);
  if (!text.trim()) {
    complain({ word: "empty" });
    find("text").focus();
    return;
  }
  running?.abort();
  const mine = (running = new AbortController());
  reading(true);
  try {
    client.useKey(find("key").value);
    await describe();
    const abstain = Number(find("strictness").value);
    const answer = await client.article({ text, ...(headline && { headline }), ...(abstain && { abstain }) }, mine.signal);
    view = viewOf({ tasks: tasksOf(model), answer, headline, text });
    if (!answer.segments.length) return complain({ word: "nothing" });
    editing(false);
    show();
    find("announcement").textContent = words(language).ready(answer.segments.length);
    find("result-title").focus({ preventScroll: true });
    scrollTo({ top: 0 });
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof client.Failure)) throw error;
    refused(error);
  } finally {
    if (running === mine) reading(false);
  }
}

function refused(found) {
  complain(found);
  if (found.status === 401) {
    find("key-field").hidden = false;
    find("key").focus();
  }
  if (found.seconds) {
    again = Date.now() + 1000 * found.seconds;
    countDown();
  }
}

// ---- what a person does

find("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!find("read").disabled) read();
});

find("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("composer").requestSubmit();
});

find("example").addEventListener("click", () => {
  find("headline").value = example.HEADLINE;
  find("text").value = example.TEXT;
  find("composer").requestSubmit();
});

find("edit").addEventListener("click", () => {
  editing(true);
  find("text").focus();
});

find("save-json").addEventListener("click", () => save(json({ model, ...view }), "haltung.json", "application/json"));
find("save-csv").addEventListener("click", () => save(csv(view), "haltung.csv", "text/csv"));

find("save-dyads").addEventListener("click", () => save(dyadsCsv(view), "haltung-dyads.csv", "text/csv"));

// ---- language and colours

function speak(chosen) {
  language = chosen;
  document.documentElement.lang = language;
  document.title = `Haltung: ${words(language).title}`;
  translate(document, language);
  if (model) introduce();
  if (view?.segments.length) show();
  if (failure) complain(failure);
}

settings.offer("language", language, speak);
settings.offerThemes();

describe().catch((error) => {
  if (error instanceof client.Failure) refused(error);
  else throw error;
});
