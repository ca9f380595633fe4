// What a person does in a result: chooses a sentence, filters, walks on. The elements only tell; what they show is decided here.

import "./article_element.js";
import "./course_element.js";
import "./dyads_element.js";
import { spoken } from "./detail_element.js";
import { colouring, facets, segmentsOf } from "./reading.js";
import { words } from "./words.js";

/** Return what the elements show of an answer: one object that they share, with nothing chosen and nothing filtered. */
export function viewOf({ tasks, answer, headline, text, from = 0 }) {
  const { removed = [], notes = [] } = answer;
  const own = { segments: segmentsOf(answer), filters: new Map(), chosen: null };
  return { tasks, colouring: colouring(tasks), headline, text, from, answer, removed, notes, ...own };
}

const SHOWING = ["haltung-course", "haltung-legend", "haltung-article", "haltung-dyads", "haltung-detail"];

/** Let the elements in `root` show a view, and follow what is done there; `announcement` is read out. Returns {show(view, language)}. */
export function follow(root, announcement) {
  const elements = SHOWING.map((name) => root.querySelector(name));
  const article = root.querySelector("haltung-article");
  let view = null;

  const refresh = () => {
    for (const element of elements) element.update();
  };

  root.addEventListener("choose", ({ detail: index }) => {
    const before = view.chosen;
    view.chosen = index;
    refresh();
    announcement.textContent = spoken(view);
    article.reveal(index);
    // The close button is gone with the panel's content: the keyboard goes back to where it came from.
    if (index === null && document.activeElement === document.body) article.reach(before);
  });

  root.addEventListener("filter", ({ detail }) => {
    const all = detail === null;
    if (all) view.filters.clear();
    else {
      const chosen = view.filters.get(detail.task) ?? new Set();
      if (!chosen.delete(detail.id)) chosen.add(detail.id);
      view.filters.set(detail.task, chosen);
    }
    refresh();
    if (all) root.querySelector("haltung-legend .entry")?.focus();
  });

  root.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !view || view.chosen === null) return;
    const before = view.chosen;
    view.chosen = null;
    refresh();
    announcement.textContent = "";
    article.reach(before);
  });

  return {
    show(next, language) {
      view = next;
      view.language = language;
      view.facets = facets(view.tasks, view.segments, { de: words("de").towardsWhom, en: words("en").towardsWhom });
      for (const element of elements) element.view = view;
    },
  };
}
