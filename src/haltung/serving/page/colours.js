// Colours by label. The ten known stances have theirs in the stylesheet, chosen so that colour-blind readers can tell them apart; a label
// of another scheme gets a hue by its place, far from its neighbours'.

import { UNSURE } from "./reading.js";

const KNOWN = ["support", "cooperation", "concession", "request", "warning", "threat", "criticism", "rejection", "coercion", "neutral"];
const QUIET = ["neutral", "none", "other"];

// 360 degrees by the golden ratio: however many labels there are, no two that follow one another are close.
const TURN = 137.508;

/** Colour an element as a label of a task; without an id it stays quiet. */
export function paint(element, task, id) {
  if (id === undefined || QUIET.includes(id) || id === UNSURE) element.classList.add("quiet");
  else if (KNOWN.includes(id)) element.classList.add(`is-${id}`);
  else {
    element.classList.add("is-other");
    const place = task.labels.findIndex((label) => label.id === id);
    element.style.setProperty("--hue", String(Math.round((250 + Math.max(place, 0) * TURN) % 360)));
  }
}

/** Tell whether a label says that there is nothing to say. */
export function quiet(id) {
  return id === undefined || QUIET.includes(id);
}
