// The legend: what was found, how often, and a filter: the labels of each task, and who acts towards whom. Rows of one task widen the
// choice, rows of two tasks narrow it.

import { paint } from "./colours.js";
import { make, tell } from "./dom.js";
import { UNSURE, counts, labelOf, passes } from "./reading.js";
import { words } from "./words.js";

/** Shows the same `view` as the article; tells `filter` with {task, id}, or null to show everything. */
class HaltungLegend extends HTMLElement {
  #view = null;
  #rows = [];
  #everything = null;
  #shown = null;

  set view(view) {
    this.#view = view;
    this.#rows = [];
    const { language, facets, colouring } = view;
    const text = words(language);
    this.#everything = make("button", { type: "button", class: "plain", onclick: () => tell(this, "filter", null) }, text.everything);
    this.#shown = make("p", { class: "shown", role: "status" });
    const ordered = [colouring, ...facets.filter((task) => task !== colouring)];
    this.replaceChildren(...ordered.map((task) => this.#group(task)), make("div", { class: "row" }, this.#shown, this.#everything));
    this.update();
  }

  update() {
    const { language, facets, segments, filters } = this.#view;
    const filtering = [...filters.values()].some((chosen) => chosen.size);
    for (const { row, task, id } of this.#rows) row.setAttribute("aria-pressed", String(Boolean(filters.get(task.name)?.has(id))));
    const count = segments.filter((segment) => passes(segment, facets, filters)).length;
    this.#shown.textContent = filtering ? words(language).shown(count, segments.length) : "";
    this.#everything.hidden = !filtering;
  }

  #group(task) {
    const { language, segments, colouring } = this.#view;
    const found = counts(segments, task);
    const heading = `legend-${task.name.replaceAll(" ", "-")}`;
    const rows = found.map(([id, count]) => make("li", {}, this.#row(task, id, count)));
    return make(
      "section",
      { class: task === colouring ? "group colours" : "group" },
      make("h3", { id: heading }, capital(task[language])),
      make("ul", { "aria-labelledby": heading }, rows),
    );
  }

  #row(task, id, count) {
    const { language, segments, colouring } = this.#view;
    const name = id === UNSURE ? words(language).unsure : labelOf(task, id)[language];
    const row = make(
      "button",
      { type: "button", class: "entry", onclick: () => tell(this, "filter", { task: task.name, id }) },
      make("span", { class: "name" }, name),
      make("span", { class: "count" }, String(count)),
    );
    row.style.setProperty("--share", String(count / segments.length));
    if (task === colouring) paint(row, task, id);
    else row.classList.add("quiet");
    row.classList.toggle("unsure", id === UNSURE);
    this.#rows.push({ row, task, id });
    return row;
  }
}

/** Names of tasks may be written small, as in "stance"; a heading begins with a capital. */
export function capital(name) {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

customElements.define("haltung-legend", HaltungLegend);
