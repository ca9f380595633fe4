// The answer as the page reads it: tasks with names, labels of each sentence, counts, and what passes a filter. No document in here.

// The row of the legend under which the sentences stand that the model is not sure of; no label may have a blank in its id.
export const UNSURE = "not sure";

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

/** Cut a text into paragraphs, as it was pasted, of pieces that are {segment: index} or {text}; between paragraphs is a blank line. */
export function paragraphs(text, segments) {
  // The server counts characters, JavaScript halves of them.
  const characters = Array.from(text);
  const out = [[]];
  let place = 0;
  const between = (piece) => {
    const [first, ...rest] = piece.split(/\n[^\S\n]*\n\s*/);
    if (first) out.at(-1).push({ text: first });
    for (const part of rest) out.push(part ? [{ text: part }] : []);
  };
  segments.forEach((segment, index) => {
    between(characters.slice(place, segment.start).join(""));
    out.at(-1).push({ segment: index });
    place = segment.end;
  });
  between(characters.slice(place).join(""));
  return out.filter((pieces) => pieces.some((piece) => piece.segment !== undefined || piece.text.trim()));
}

function rowsOf(segment, task) {
  return unsure(segment, task) ? [...idsOf(segment, task), UNSURE] : idsOf(segment, task);
}
