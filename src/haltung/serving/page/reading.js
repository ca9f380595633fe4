// The answer as the page reads it: tasks with names, labels of each sentence, counts, and what passes a filter. No document in here.

// The row of the legend under which the sentences stand that the model is not sure of; no label may have a blank in its id.
export const UNSURE = "not sure";

// Nobody, or somebody who is not told.
export const NOBODY = "–";

// What a reader filters by beside the tasks: who acts towards whom. No task may have a blank in its name.
export const TOWARDS = "towards whom";

/** Return the tasks of a model: {name, kind, titles, labels: [{id, de, en, definition}]}, in order. */
export function tasksOf(model) {
  return Object.entries(model?.tasks ?? {}).map(([name, task]) => ({
    name,
    kind: task.kind ?? "single",
    de: task.de ?? name,
    en: task.en ?? name,
    labels: Object.entries(task.labels ?? {}).map(([id, { de = id, en = id, definition = "" } = {}]) => ({ id, de, en, definition })),
  }));
}

/** Return the task that colours the text: `stance` if there is one, else the last. */
export function colouring(tasks) {
  return tasks.find((task) => task.name === "stance") ?? tasks.at(-1);
}

/** Return the precisions that may be wished for, such as [0.8, 0.9]. */
export function precisions(model) {
  return (model?.precisions ?? []).toSorted((one, other) => one - other);
}

/** Return the names of a label; one that the scheme does not have is called by its id. */
export function labelOf(task, id) {
  return task.labels.find((label) => label.id === id) ?? { id, de: id, en: id, definition: "" };
}

/** Return the ids of a segment's labels of a task, the most probable first: one, or any number where the task is multi-label. */
export function idsOf(segment, task) {
  const found = segment[task.name];
  const ids = Array.isArray(found) ? found : found === undefined || found === null ? [] : [found];
  return ids.toSorted((one, other) => (probability(segment, task, other) ?? 0) - (probability(segment, task, one) ?? 0));
}

/** Return the probability of a label, or null where the answer has none. */
export function probability(segment, task, id) {
  return segment.probabilities?.[task.name]?.[id] ?? null;
}

/** Return the most probable labels of a task: [[id, probability], …]. */
export function ranking(segment, task, most) {
  const all = Object.entries(segment.probabilities?.[task.name] ?? {});
  return all.toSorted((one, other) => other[1] - one[1]).slice(0, most);
}

/** Tell whether the model is not sure enough of a task. */
export function unsure(segment, task) {
  return Boolean(segment.abstained?.[task.name]);
}

/** Count the sentences under each label of a task, in the scheme's order: [[id, count], …], with none that is 0; last those not sure. */
export function counts(segments, task) {
  const found = new Map(task.labels.map((label) => [label.id, 0]));
  for (const segment of segments) for (const id of rowsOf(segment, task)) found.set(id, (found.get(id) ?? 0) + 1);
  return [...found].filter(([, count]) => count > 0);
}

/** Tell whether a sentence passes: of each task with rows chosen it has one of them. `filters` is a Map from a task's name to a Set. */
export function passes(segment, tasks, filters) {
  return tasks.every((task) => {
    const chosen = filters.get(task.name);
    return !chosen?.size || rowsOf(segment, task).some((id) => chosen.has(id));
  });
}

/** Return the segments of an answer. Where it has dyads, each has `source_span` and `target_span`, places in the sentence or null. */
export function segmentsOf({ segments, events = [] }) {
  const found = Map.groupBy(events, (event) => event.segment);
  return segments.map((segment) => {
    if (!segment.dyads) return segment;
    const own = found.get(segment.id) ?? [];
    const within = (span) => (span ? [span[0] - segment.start, span[1] - segment.start] : null);
    const dyads = segment.dyads.map((dyad) => {
      const event = own.find(({ source, target, stance }) => source === dyad.source && target === dyad.target && stance === dyad.stance);
      return { ...dyad, plover: event?.plover, source_span: within(event?.source_span), target_span: within(event?.target_span) };
    });
    return { ...segment, dyads, [TOWARDS]: [...new Set(dyads.map(towards))] };
  });
}

/** Write who acts towards whom: "USA → RUS", with a dash for nobody. */
export function towards({ source, target }) {
  return `${source || NOBODY} → ${target || NOBODY}`;
}

/** Return what a reader may filter by: the tasks, and where the segments have dyads, who acts towards whom, the most frequent first. */
export function facets(tasks, segments, title) {
  const found = new Map();
  for (const segment of segments) for (const { source, target } of segment.dyads ?? []) add(found, towards({ source, target }));
  const labels = [...found].toSorted((one, other) => other[1] - one[1]).map(([id]) => ({ id, de: id, en: id, definition: "" }));
  return labels.length ? [...tasks, { name: TOWARDS, kind: "multi", ...title, labels }] : tasks;
}

/**
 * Cut a text into paragraphs, as it was pasted, of pieces that are {segment: index}, {removed: index} or {text}; between paragraphs is a
 * blank line. `removed` has the stretches that were taken out, and `from` is the place that the text begins at.
 */
export function paragraphs(text, segments, removed = [], from = 0) {
  // The server counts characters, JavaScript halves of them.
  const characters = Array.from(text);
  const out = [[]];
  let place = from;
  const between = (piece) => {
    const [first, ...rest] = piece.split(/\n[^\S\n]*\n\s*/);
    if (first) out.at(-1).push({ text: first });
    for (const part of rest) out.push(part ? [{ text: part }] : []);
  };
  const parts = [
    ...segments.map(({ start, end }, index) => ({ start, end, piece: { segment: index } })),
    ...removed.map(({ start, end }, index) => ({ start, end, piece: { removed: index } })),
  ].toSorted((one, other) => one.start - other.start);
  for (const { start, end, piece } of parts) {
    between(characters.slice(place, start).join(""));
    out.at(-1).push(piece);
    place = end;
  }
  between(characters.slice(place).join(""));
  return out.filter((pieces) => pieces.some((piece) => piece.text === undefined || piece.text.trim()));
}

/** Cut a sentence where an actor begins and ends: [{text, start, end, code}, …], with the code undefined between actors. */
export function pieces({ text, actors = [], dyads = [] }) {
  const characters = Array.from(text);
  const ends = dyads.flatMap(({ source, target, source_span, target_span }) => [[source, source_span], [target, target_span]]);
  const named = [
    ...ends.filter(([, span]) => span).map(([code, [start, end]]) => ({ code, start, end })),
    ...actors.map(({ code, start, end }) => ({ code, start, end })),
  ];
  const kept = [];
  for (const one of named) if (!kept.some(({ start, end }) => start < one.end && end > one.start)) kept.push(one);
  const out = [];
  let place = 0;
  const cut = (start, end, code) => {
    if (end > start) out.push({ text: characters.slice(start, end).join(""), start, end, code });
    place = end;
  };
  for (const { start, end, code } of kept.toSorted((one, other) => one.start - other.start)) {
    cut(place, start);
    cut(start, end, code);
  }
  cut(place, characters.length);
  return out;
}

function rowsOf(segment, task) {
  return unsure(segment, task) ? [...idsOf(segment, task), UNSURE] : idsOf(segment, task);
}

function add(counted, id) {
  counted.set(id, (counted.get(id) ?? 0) + 1);
}
