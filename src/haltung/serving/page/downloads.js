// The result as a file. JSON is exact; CSV is for tables.

import { idsOf, probability, unsure } from "./reading.js";

/** Return the whole answer as JSON, with the text and the model that read it. */
export function json({ model, headline, text, answer }) {
  const described = { scheme: model.name ?? null, haltung: model.haltung ?? null, run: model.provenance?.run ?? null };
  return JSON.stringify({ model: described, headline, text, ...answer }, null, 2) + "\n";
}

/** Return a table with a row per sentence (RFC 4180, with a byte order mark, without which Excel takes it for another encoding). */
export function csv({ tasks, answer }) {
  const dyads = answer.segments.some((segment) => segment.dyads);
  const head = ["sentence", "start", "end", "text", ...tasks.flatMap(({ name }) => [name, `${name}_probability`, `${name}_abstained`])];
  const rows = answer.segments.map((segment, index) => [
    index + 1,
    segment.start,
    segment.end,
    plain(segment.text),
    ...tasks.flatMap((task) => {
      const ids = idsOf(segment, task);
      return [ids.join("|"), ids.map((id) => rounded(probability(segment, task, id))).join("|"), unsure(segment, task)];
    }),
    ...(dyads ? [(segment.dyads ?? []).map(({ source, target, stance }) => `${source}>${target}:${stance}`).join("|")] : []),
  ]);
  return table(dyads ? [...head, "dyads"] : head, rows);
}

// The columns of `haltung events table=FILE.csv`, but for article, date and medium, which a pasted text does not have.
const ABOUT = ["source", "target", "plover", "mode", "quad", "intensity", "stance", "topic", "probability"];
const EVENT = [...ABOUT, "sentence", "start", "end", "text"];

/** Return a table with a row per dyad. */
export function dyadsCsv({ answer }) {
  const places = new Map(answer.segments.map((segment, index) => [segment.id, index + 1]));
  const rows = (answer.events ?? []).map((event) => {
    const shown = { ...event, sentence: places.get(event.segment), probability: rounded(event.probability), text: plain(event.text) };
    return EVENT.map((name) => shown[name] ?? "");
  });
  return table(EVENT, rows);
}

/** Hand a text to the person as a file. */
export function save(content, name, type) {
  const url = URL.createObjectURL(new Blob([content], { type: `${type};charset=utf-8` }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function table(head, rows) {
  return "\ufeff" + [head, ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
}

function rounded(value) {
  return value === null || value === undefined ? "" : value.toFixed(4);
}

// A spreadsheet would run a pasted sentence that begins like a formula.
function plain(text) {
  return /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
}

function cell(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
